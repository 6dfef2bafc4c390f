"""Whatever is wrong with the input ends in status 2 with file, row and remedy, all of it in one message."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prognobench.cli import app

pytestmark = pytest.mark.torch

STUDY = """\
name: mine
cohorts: [cohort/cohort.yaml]
models: [{"timm:test_vit": {weights: random}}]
strategies: [lp]
validation: {kfold: {folds: 3}}
protocol: quick
controls: [majority]
"""


class Place:
    """A clean cohort and study, to be spoiled."""

    def __init__(self, folder: Path, phantom: Path) -> None:
        shutil.copytree(phantom.parent, folder / "cohort")
        self.folder, self.study = folder, folder / "study.yaml"
        self.cohort, self.table = folder / "cohort" / "cohort.yaml", folder / "cohort" / "labels.csv"
        self.images = folder / "cohort" / "images"
        self.study.write_text(STUDY, encoding="utf-8")

    @property
    def rows(self) -> list[str]:
        return self.table.read_text(encoding="utf-8").splitlines()

    def write_rows(self, rows: list[str]) -> None:
        self.table.write_text("\n".join(rows) + "\n", encoding="utf-8")

    def film(self, row: int) -> Path:
        """The film of a row, counted as an editor does: the header is row 1."""
        return self.images / self.rows[row - 1].split(",")[0]

    def replace(self, path: Path, old: str, new: str) -> None:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def plan(self, *arguments: str):
        result = CliRunner().invoke(app, ["plan", str(self.study), *arguments])
        # A message is wrapped to the terminal; its words are what counts.
        return result.exit_code, " ".join((result.stderr if result.exit_code else result.output).split())


@pytest.fixture
def place(tmp_path, phantom):
    return Place(tmp_path, phantom)


def test_a_clean_study_ends_in_status_0(place):
    code, output = place.plan()
    assert code == 0
    assert "6 jobs under the protocol quick" in output


def unknown_key_in_study(place):
    place.replace(place.study, "strategies:", "strategy:")
    return "study.yaml, row 4: unknown key 'strategy'. Did you mean 'strategies'"


def unknown_key_in_cohort(place):
    place.replace(place.cohort, "columns:", "column:")
    return "unknown key 'column'. Did you mean 'columns'"


def unknown_model(place):
    place.replace(place.study, '{"timm:test_vit": {weights: random}}', "dinov2_xs")
    return "dinov2_xs"


def unknown_strategy(place):
    place.replace(place.study, "[lp]", "[loraa]")
    return "study.yaml, row 4: in 'strategies': unknown strategy 'loraa'. Did you mean 'lora'"


def missing_column(place):
    place.replace(place.cohort, "view: view", "view: viewpoint")
    return "'viewpoint'"


def missing_image(place):
    place.film(4).unlink()
    return "labels.csv, row 4:"


def truncated_image(place):
    path = place.film(5)
    path.write_bytes(path.read_bytes()[:-200])
    return "labels.csv, row 5:"


def unreadable_image(place):
    place.film(3).write_bytes(b"not an image")
    return "labels.csv, row 3:"


def path_out_of_the_root(place):
    rows = place.rows
    rows[5] = ",".join(["../labels.csv", *rows[5].split(",")[1:]])
    place.write_rows(rows)
    return "labels.csv, row 6:"


def link_out_of_the_root(place):
    outside = place.folder / "secret.png"
    place.film(2).rename(outside)
    place.film(2).symlink_to(outside)
    return "labels.csv, row 2:"


def one_image_twice(place):
    place.write_rows([*place.rows, place.rows[1]])
    return f"labels.csv, row {len(place.rows)}:"


def one_class(place):
    place.write_rows([place.rows[0], *(row for row in place.rows[1:] if ",no," in row)])
    return "positive"


def fewer_groups_than_folds(place):
    place.replace(place.study, "folds: 3", "folds: 50")
    return "50 folds need at least 50 groups of patients, there are 24. Use at most 24 folds"


def too_few_of_a_class(place):
    place.replace(place.study, "folds: 3", "folds: 20")
    return "Use fewer folds or add patients of that class"


def empty_table(place):
    place.write_rows(place.rows[:1])
    return "labels.csv"


def undecodable_table(place):
    place.table.write_bytes(place.table.read_bytes().replace(b",yes,", b",\xe9s,", 1))
    return "UTF-8"


def python_object_in_study(place):
    place.replace(place.study, "name: mine", "name: !!python/object/apply:os.system [id]")
    return "study.yaml, row 1: the tag 'tag:yaml.org,2002:python/object/apply:os.system' would build an object"


def python_object_in_cohort(place):
    place.replace(place.cohort, "manifest: labels.csv", "manifest: !!python/name:os.system")
    return "would build an object"


def missing_cohort(place):
    place.replace(place.study, "cohort/cohort.yaml", "elsewhere/cohort.yaml")
    return "cannot be read (No such file or directory)"


def unknown_task(place):
    place.replace(place.study, "[cohort/cohort.yaml]", "[{path: cohort/cohort.yaml, tasks: [icuu]}]")
    return "Did you mean 'icu'"


def one_model_under_two_names(place):
    text = '{"timm:test_vit": {weights: random}}, {"timm:test_vit": {weights: "random:0"}}'
    place.replace(place.study, '{"timm:test_vit": {weights: random}}', text)
    return "is the same as"


def one_cohort_twice(place):
    place.replace(place.study, "[cohort/cohort.yaml]", "[cohort/cohort.yaml, cohort/../cohort/cohort.yaml]")
    return "the cohort 'phantom' is listed twice"


def one_patient_in_two_unicode_forms(place):
    rows = place.rows
    for row, patient in ((1, "caf\u00e9"), (2, "cafe\u0301")):
        cells = rows[row].split(",")
        rows[row] = ",".join([cells[0], patient, *cells[2:]])
    place.write_rows(rows)
    return "labels.csv, row 3: the patient id"


def a_line_break_in_a_patient(place):
    rows = place.rows
    cells = rows[3].split(",")
    rows[3] = ",".join([cells[0], '"a\rb"', *cells[2:]])
    place.write_rows(rows)
    return "holds a control character"


def a_path_that_is_too_long(place):
    place.replace(place.cohort, "images: images", f"images: {'x' * 3000}")
    return "File name too long"


def more_shots_than_a_class_has(place):
    place.replace(place.study, "protocol: quick", "protocol: quick\nregimes: [{few_shot: {shots: 99, val: full}}]")
    return "nothing is left of task 'icu' of cohort 'phantom' under the regime few_shot_full_val with 99 shots"


def one_center(place):
    place.replace(place.study, "{kfold: {folds: 3}}", "loco")
    for name in ("south", "east"):
        place.table.write_text(place.table.read_text().replace(f",{name},", ",north,"))
    return "at least 2 centers, there is 'north' alone"


def with_a_column_of_parts(place, *parts):
    place.replace(place.study, "{kfold: {folds: 3}}", "{predefined: {column: part}}")
    header, *rows = place.rows
    told = [f"{row},{parts[number % len(parts)]}" for number, row in enumerate(rows)]
    place.write_rows([f"{header},part", *told])


def a_patient_in_two_parts(place):
    with_a_column_of_parts(place, "train", "val", "test")
    return "stands in"


def a_fourth_part(place):
    with_a_column_of_parts(place, "train", "dev")
    return "labels.csv, row 3: the part is 'dev'. Use train, val, test"


def with_a_split_file(place, *lines):
    place.replace(place.study, "{kfold: {folds: 3}}", "{predefined: {files: mine.csv}}")
    (place.folder / "mine.csv").write_text("\n".join(["image,part", *lines]) + "\n")


def a_split_file_with_an_unknown_image(place):
    with_a_split_file(place, f"{place.film(2).name},train", "else.png,test")
    return "mine.csv, row 3: the cohort has no film 'else.png'"


def a_split_file_with_an_overlap(place):
    with_a_split_file(place, f"{place.film(2).name},train", f"{place.film(2).name},test")
    return "mine.csv, row 3: the image"


def an_external_cohort_without_the_task(place):
    shutil.copytree(place.folder / "cohort", place.folder / "other")
    other = place.folder / "other" / "cohort.yaml"
    place.replace(other, "  icu:", "  ward:")
    place.replace(place.study, "{kfold: {folds: 3}}", "{external: {test: other/cohort.yaml}}")
    return "there is no task 'icu'. "


SPOILERS = [
    unknown_key_in_study, unknown_key_in_cohort, unknown_model, unknown_strategy, missing_column, missing_image,
    truncated_image, unreadable_image, path_out_of_the_root, link_out_of_the_root, one_image_twice, one_class,
    fewer_groups_than_folds, too_few_of_a_class, empty_table, undecodable_table, python_object_in_study,
    python_object_in_cohort, missing_cohort, unknown_task, one_model_under_two_names, one_cohort_twice,
    one_patient_in_two_unicode_forms, a_line_break_in_a_patient, a_path_that_is_too_long,
    more_shots_than_a_class_has, one_center, a_patient_in_two_parts, a_fourth_part, a_split_file_with_an_unknown_image,
    a_split_file_with_an_overlap, an_external_cohort_without_the_task,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_bad_input_is_named(place, spoil):
    expected = spoil(place)
    code, message = place.plan()
    assert code == 2
    assert expected in message
    assert "problem" in message.split(" in the input:")[0]
    # Every problem ends in a remedy: a second sentence.
    assert message.rstrip(".").count(". ") >= 1


def test_all_problems_of_the_input_come_in_one_message(place):
    expected = [spoil(place) for spoil in (missing_image, truncated_image, unreadable_image, unknown_model)]
    code, message = place.plan()
    assert code == 2
    assert all(text in message for text in expected)
    assert message.startswith("4 problems in the input:")


def test_bad_films_are_left_out_and_counted_where_the_cohort_says_so(place):
    for spoil in (missing_image, truncated_image, unreadable_image):
        spoil(place)
    place.cohort.write_text(place.cohort.read_text() + "on_bad_image: exclude\n", encoding="utf-8")
    code, output = place.plan()
    assert code == 0
    assert "3 bad films are left out" in output


def test_run_refuses_as_plan_does_and_writes_nothing(place):
    truncated_image(place)
    results = place.folder / "results"
    result = CliRunner().invoke(app, ["run", str(place.study), "--results", str(results)])
    assert result.exit_code == 2
    assert not results.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["report", "nowhere"], "there are no results of a study in this folder"),
        (["status", "nowhere"], "there are no results of a study in this folder"),
        (["plan", "nowhere.yaml"], "nowhere.yaml: the file cannot be read"),
        (["cohort", "check", "nowhere.yaml"], "nowhere.yaml"),
        (["weights", "fetch", "dinov3"], "dinov3"),
        (["weights", "fetch", "dinov2_s", "--from", "hubb"], "Did you mean 'hub'"),
        (["weights", "add", "resnet18", "nowhere.pt"], "nowhere.pt"),
        (["cohort", "phantom", "x", "--patients", "1"], "patients"),
        (["cohort", "phantom", "/dev/null/x"], "Check the name, the permissions"),
    ],
)
def test_every_verb_names_what_is_wrong(arguments, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())


def test_hostile_names_neither_break_nor_color_what_is_printed(place):
    place.replace(place.cohort, "  icu:", '  "[/x] [red]y":')
    for arguments in (["plan", place.study], ["cohort", "check", place.cohort]):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        assert "[/x]" in result.output
        assert "[red]y" in " ".join(result.output.split())


@pytest.mark.parametrize("name", ['"\\e[31mred"', '"a\\nb"'])
def test_names_with_control_codes_are_refused(place, name):
    place.replace(place.cohort, "name: phantom", f"name: {name}")
    assert place.plan()[0] == 2


def test_a_cache_folder_that_cannot_be_made_is_named(place, monkeypatch):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(place.study))
    code, message = place.plan()
    assert code == 2
    assert "Set PROGNOBENCH_HOME to a folder that you can write" in message
