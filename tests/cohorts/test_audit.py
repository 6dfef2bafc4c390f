"""The audit finds every fault that was planted, and invents none."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prognobench.cohorts import Finding, audit, load_cohort, make_phantom
from prognobench.cohorts._audit import _run
from prognobench.frame import InputError, home

FAULTS = (
    "identical copy",
    "encoded again",
    "resized",
    "brightened",
    "cropped",
    "one patient, two names",
    "one gray value",
    "nearly one gray value",
    "tiny",
    "saturated",
    "truncated file",
    "name in a tag of the file",
    "two outcomes of one patient",
    "center of one class",
    "names",
    "scanner that goes with the outcome",
    "outcome in another column",
    "column filled in for one outcome",
    "days to the outcome",
    "films after the outcome",
)


@pytest.fixture(autouse=True)
def _own_home(home_of_module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROGNOBENCH_HOME", str(home_of_module))


@pytest.fixture(scope="module")
def home_of_module(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Path:
    return make_phantom(tmp_path_factory.mktemp("faulty") / "cohort", 64, 3, size=160, faults=True)


@pytest.fixture(scope="module")
def planted(faulty: Path) -> dict[str, dict]:
    return {one["fault"]: one for one in json.loads((faulty.parent / "planted.json").read_text())}


def found_in(path: Path, **settings) -> tuple[Finding, ...]:
    return audit(load_cohort(path), **settings).findings


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_named(faulty: Path, planted, fault: str) -> None:
    one = planted[fault]
    fitting = [finding for finding in found_in(faulty) if finding.check == one["check"]]
    fitting = [finding for finding in fitting if set(one["rows"]) <= set(finding.rows)]
    assert [f for f in fitting if not one["columns"] or list(f.columns) == one["columns"]], fault


def test_every_fault_that_is_planted_has_a_test(planted) -> None:
    assert tuple(planted) == FAULTS


def test_nothing_is_found_besides_what_was_planted(faulty: Path, planted) -> None:
    found = audit(load_cohort(faulty))
    pairs = {(pair["kind"], *pair["rows"]) for pair in found.tables["duplicates"]}
    kinds = {"identical duplicate": "identical", "near duplicate": "near"}
    expected = {(kinds[one["check"]], *one["rows"]) for one in planted.values() if one["check"] in kinds}
    assert pairs == expected
    assert all(pair["one_group"] for pair in found.tables["duplicates"])
    columns = {column for one in planted.values() for column in one["columns"]}
    # The center of one class goes with the outcome, too.
    assert {column for finding in found.findings for column in finding.columns} <= columns | {"icu"}
    assert {finding.check for finding in found.findings} == {one["check"] for one in planted.values()}
    for check in ("tiny film", "saturated film", "unreadable film", "label conflict", "film after the outcome"):
        rows = {row for finding in found.findings if finding.check == check for row in finding.rows}
        assert rows == {row for one in planted.values() if one["check"] == check for row in one["rows"]}, check


def test_no_finding_names_a_film_or_a_patient(faulty: Path) -> None:
    cohort = load_cohort(faulty)
    told = json.dumps(audit(cohort).to_json())
    names = {*cohort.films["image"], *cohort.films["patient"], *cohort.table["contact"]}
    assert not [name for name in names if name in told]


def test_no_reason_names_a_link_in_a_circle(tmp_path: Path) -> None:
    path = make_phantom(tmp_path / "cohort", 12, 0, size=96)
    image = load_cohort(path).films["image"][3]
    path.write_text(path.read_text() + "on_bad_image: exclude\n")
    film = path.parent / "images" / image
    film.unlink()
    film.symlink_to(film.name)
    cohort = load_cohort(path)
    assert cohort.excluded["image"].tolist() == [image]
    (found,) = [one for one in audit(cohort).findings if one.check == "unreadable film"]
    assert str(tmp_path) not in found.what and image not in found.what
    assert not any(str(tmp_path) in reason or image in reason for reason in cohort.excluded["reason"])


def test_a_reason_that_holds_a_name_all_the_same_loses_it(faulty: Path) -> None:
    cohort = load_cohort(faulty)
    cohort.excluded.loc[0, "reason"] = f"no such file: {faulty.parent / cohort.excluded.loc[0, 'image']}"
    assert "1 film left out: no such file: …/…" in [finding.what for finding in audit(cohort).findings]


def test_nothing_is_invented_on_a_clean_phantom(tmp_path: Path) -> None:
    cohort = load_cohort(make_phantom(tmp_path / "cohort", 150, 11, size=96))
    assert len(cohort.films) > 280
    assert audit(cohort).findings == ()
    assert cohort.films["group"].tolist() == cohort.films["patient"].tolist()


@pytest.mark.slow
def test_nothing_is_invented_on_a_clean_phantom_of_2000_films(tmp_path: Path) -> None:
    cohort = load_cohort(make_phantom(tmp_path / "cohort", 1040, 5, size=128))
    assert len(cohort.films) >= 2000
    assert audit(cohort).findings == ()


def test_the_view_is_the_first_confound_of_the_real_films(hannover: Path) -> None:
    cohort = load_cohort(hannover)
    found = audit(cohort)
    (first,) = [row for row in found.tables["confounds"] if row["task"] == "icu" and row["rank"] == 1]
    assert first["column"] == "view"
    assert 0.8 < first["auc"] < 0.9
    confounds = [f for f in found.findings if (f.check, f.task) == ("confound", "icu")]
    assert confounds[0].columns == ("view",)
    # The README of the films: 139 of 186 films of these patients were taken in the ICU.
    late = [f for f in found.findings if (f.check, f.task) == ("film after the outcome", "icu")]
    assert late[0].columns == ("days_to_icu_admission",)
    assert late[0].numbers["films"] >= 139
    assert len(found.tables["duplicates"]) <= 2
    assert cohort.films["group"].nunique() == 71


def test_days_to_the_outcome_are_a_leak_of_the_real_films_without_their_role(hannover: Path, tmp_path: Path) -> None:
    text = hannover.read_text(encoding="utf-8")
    assert "days_to_icu_admission, " in text
    spoiled = text.replace("days_to_icu_admission, ", "").replace("labels.csv", str(hannover.parent / "labels.csv"))
    path = tmp_path / "cohort.yaml"
    path.write_text(spoiled.replace("images: images", f"images: {hannover.parent / 'images'}"), encoding="utf-8")
    leaks = [finding for finding in found_in(path) if finding.check == "outcome leak"]
    assert ("days_to_icu_admission", "icu") in {(leak.columns[0], leak.task) for leak in leaks}
    (leak,) = [leak for leak in leaks if leak.task == "icu"]
    assert leak.numbers["by"] == "being filled in"
    assert not [finding for finding in found_in(hannover) if finding.check == "outcome leak"]


class TestTable:
    """Checks of the table alone, on films of noise."""

    @pytest.fixture
    def cohort(self, tmp_path: Path):
        rng = np.random.default_rng(0)
        (tmp_path / "images").mkdir()
        for number in range(24):
            Image.fromarray(rng.integers(0, 256, (70, 80), dtype=np.uint8)).save(tmp_path / "images" / f"{number}.png")

        def write(columns: dict[str, list[str]], roles: str = "", more: str = "") -> Path:
            cells = {
                "image": [f"{number}.png" for number in range(24)],
                "who": [f"P{number}" for number in range(24)],
                "ill": ["yes" if number % 2 else "no" for number in range(24)],
            } | columns
            lines = [",".join(cells), *(",".join(row) for row in zip(*cells.values(), strict=True))]
            (tmp_path / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (tmp_path / "cohort.yaml").write_text(
                "name: noise\nmanifest: table.csv\nimages: images\ncolumns: {image: image, patient: who}\n"
                f"roles: {{{roles}}}\ntasks:\n  ill: {{label: ill, positive: ['yes'], negative: ['no']}}\n{more}",
                encoding="utf-8",
            )
            return tmp_path / "cohort.yaml"

        return write

    def test_dates_tell_that_a_film_is_later_than_its_outcome(self, cohort) -> None:
        films = [f"2020-03-{number + 1:02d}" for number in range(24)]
        came = ["2020-03-10" if number % 2 else "" for number in range(24)]
        found = found_in(cohort({"film_date": films, "event": came}, "outcome: [event]"))
        (late,) = [finding for finding in found if finding.check == "film after the outcome"]
        assert late.columns == ("film_date", "event")
        assert late.rows == tuple(row for row in range(2, 26) if (row - 2) % 2 and row - 1 > 10)
        assert {finding.columns for finding in found if finding.check == "identifier"} == {("film_date",), ("event",)}

    def test_centers_with_too_few_of_a_class_to_be_left_out_are_told(self, cohort) -> None:
        where = ["A" if number < 12 else "B" if number < 18 else "C" for number in range(24)]
        path = cohort({"where": where})
        path.write_text(path.read_text().replace("patient: who", "patient: who, center: where"))
        (few,) = [finding for finding in found_in(path, folds=2) if finding.check == "few positives"]
        assert (few.severity, few.columns, few.numbers) == ("note", ("where",), {"centers": 2, "least": 3})
        assert "'B' (3), 'C' (3)" in few.what

    @pytest.mark.parametrize("separator", ["/", "-"])
    def test_day_and_month_are_told_by_all_columns_together(self, cohort, separator) -> None:
        """Films of November, the day written first; the outcome came on 5 December or on 5 March."""
        films = [f"{13 + number % 12:02d}{separator}11{separator}2020" for number in range(24)]
        for came, late in (("05", []), ("03", list(range(1, 24, 2)))):
            month = "12" if came == "05" else "03"
            events = [f"05{separator}{month}{separator}2020" if number % 2 else "" for number in range(24)]
            found = found_in(cohort({"film_date": films, "event": events}, "outcome: [event]"))
            rows = [finding.rows for finding in found if finding.check == "film after the outcome"]
            assert rows == ([tuple(number + 2 for number in late)] if late else [])

    def test_where_nothing_tells_day_from_month_a_film_is_late_in_either_order(self, cohort) -> None:
        def late(film: str, came: str) -> bool:
            columns = {"film_date": [film] * 24, "event": [came if number % 2 else "" for number in range(24)]}
            found = found_in(cohort(columns, "outcome: [event]"))
            return "film after the outcome" in {finding.check for finding in found}

        assert late("07/08/2020", "06/05/2020")
        assert not late("03/05/2020", "05/03/2020")
        assert not late("05/03/2020", "03/05/2020")

    @pytest.mark.parametrize(
        ("column", "late"),
        [
            ("days_to_icu", -1),
            ("days_until_icu", -1),
            ("days_before_icu", -1),
            ("days_from_film_to_icu", -1),
            ("days_since_film", -1),
            ("days_since_icu_admission", 1),
            ("hours_post_intubation", 1),
            ("days_after_icu", 1),
            ("days_from_icu_to_film", 1),
            ("days_before_film", 1),
            ("icu_offset", None),
            ("days_from_admission_to_icu", None),
        ],
    )
    def test_days_are_read_in_the_direction_that_their_name_says(self, cohort, column: str, late: int | None) -> None:
        cells = [str((-1) ** (number // 2) * number) if number % 2 else "" for number in range(24)]
        found = found_in(cohort({column: cells}, f"outcome: [{column}]"))
        (one,) = [finding for finding in found if finding.check == "film after the outcome"]
        assert one.columns == (column,)
        if late is None:
            assert (one.severity, one.rows) == ("note", ())
        else:
            assert one.rows == tuple(row for row, cell in enumerate(cells, start=2) if cell and late * int(cell) > 0)

    def test_what_came_on_the_day_of_the_film_is_not_before_it(self, cohort) -> None:
        def late(film: str, came: str) -> bool:
            columns = {"film_date": [film] * 24, "event": [came if number % 2 else "" for number in range(24)]}
            found = found_in(cohort(columns, "outcome: [event]"))
            return "film after the outcome" in {finding.check for finding in found}

        assert not late("2020-03-10 08:00", "2020-03-10")
        assert not late("2020-03-10 08:00", "2020-03-10 00:00:00")
        assert late("2020-03-11 08:00", "2020-03-10")
        assert late("2020-03-10 08:00", "2020-03-10 07:59")

    def test_a_cell_that_is_no_date_hides_no_column_of_dates(self, cohort) -> None:
        films = [f"2020-03-{number + 1:02d}" for number in range(24)]
        came = ["2020-03-10" if number % 2 else "" for number in range(24)]
        came[1] = "unknown"
        found = found_in(cohort({"film_date": films, "event": came}, "outcome: [event]"))
        (late,) = [finding for finding in found if finding.check == "film after the outcome"]
        assert late.rows == tuple(row for row in range(2, 26) if (row - 2) % 2 and row - 1 > 10)
        assert ("event",) in {finding.columns for finding in found if finding.check == "identifier"}

    def test_copies_that_are_left_out_are_no_unreadable_films(self, cohort) -> None:
        path = cohort({}, more="on_duplicate: keep_first\n")
        for number in (3, 5, 8):
            (path.parent / "images" / f"{number}.png").write_bytes((path.parent / "images" / "0.png").read_bytes())
        found = [finding for finding in found_in(path, folds=2) if finding.check != "few positives"]
        assert [(f.check, f.severity, f.rows) for f in found] == [("identical duplicate", "note", (5, 7, 10))]

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_one_reason_with_several_numbers_is_one_finding(self, cohort) -> None:
        path = cohort({}, more="on_bad_image: exclude\n")
        for number in (3, 5):
            Image.new("L", (9000 + number, 9999)).save(path.parent / "images" / f"{number}.png")
        found = [finding for finding in found_in(path, folds=2) if finding.check == "unreadable film"]
        assert [finding.rows for finding in found] == [(5, 7)], found

    def test_a_clinical_column_that_is_known_later_is_a_leak_and_an_acquisition_is_a_confound(self, cohort) -> None:
        told = ["ventilated" if number % 2 else "none" for number in range(24)]
        found = found_in(cohort({"support": told}, "clinical: [support]"))
        assert ("outcome leak", ("support",)) in {(finding.check, finding.columns) for finding in found}
        found = found_in(cohort({"support": told}, "acquisition: [support]"))
        assert ("outcome leak", ("support",)) not in {(finding.check, finding.columns) for finding in found}
        assert ("confound", ("support",)) in {(finding.check, finding.columns) for finding in found}

    def test_what_is_declared_as_outcome_is_no_leak(self, cohort) -> None:
        told = ["later" if number % 2 else "" for number in range(24)]
        assert [f.check for f in found_in(cohort({"x": told}))] == ["outcome leak", "few positives"]
        assert [f.check for f in found_in(cohort({"x": told}, "outcome: [x]"))] == ["few positives"]

    def test_a_column_that_only_some_of_the_ill_have_is_a_leak(self, cohort) -> None:
        for some, expected in ((range(1, 24, 2), 1), (range(1, 21, 2), 1), (range(1, 19, 2), 0), (range(20), 0)):
            path = cohort({"tube_day": ["3" if number in some else "" for number in range(24)]})
            leaks = [finding for finding in found_in(path, folds=2) if finding.check == "outcome leak"]
            assert len(leaks) == expected, some

    def test_too_few_positive_patients_for_the_folds_are_told_with_what_they_cost(self, cohort) -> None:
        assert found_in(cohort({}), folds=2) == ()
        (few,) = found_in(cohort({}), folds=4)
        assert few.check == "few positives"
        assert "3 in the smallest: one patient moves its patient-level rate by up to 33 points" in few.what
        (none,) = found_in(cohort({}), folds=13)
        assert "cannot be tested" in none.what

    @pytest.mark.parametrize(
        ("column", "cell", "what"),
        [
            ("patient_name", "x{}", "a name"),
            ("gender_concept_name", "x{}", None),
            ("file_name", "x{}", None),
            ("DOB", "{}", "a date of birth"),
            ("dateOfBirth", "{}", "a date of birth"),
            ("MRN", "{}", "a record number"),
            ("zip", "{}", "an address"),
            ("image_name", "x{}", None),
            ("procedure_name", "x{}", None),
            ("birth_weight", "{}", None),
            ("mobile", "yes", None),
            ("mobile", "0176 12345{:02d}", "a telephone number"),
            ("a", "DOE JANE{capitals}", "a name"),
            ("a", "McDonald Jane{letters}", "a name"),
            ("a", "small Effusion{letters}", None),
            ("a", "person{}@example.org", "an e-mail address"),
            ("a", "Doe{}^Jane", "a name"),
            ("a", "Jane Doe{letters}", "a name"),
            ("a", "Pleural Effusion", None),
            ("a", "01.02.19{:02d}", "a date of a person"),
            ("a", "19{:02d}", None),
            ("a", "{:02d}", None),
            ("a", "+49 511 1234{:02d}", "a telephone number"),
            ("a", "(212) 555-01{:02d}", "a telephone number"),
            ("a", "12.34{:02d}567", None),
            ("a", "123456{:02d}", "a record number"),
            ("a", "sha{}", None),
        ],
    )
    def test_identifiers_are_told_by_name_or_by_look(self, cohort, column: str, cell: str, what: str | None) -> None:
        cells = [cell.format(n, letters=chr(97 + n), capitals=chr(65 + n)) for n in range(24)]
        found = [finding for finding in found_in(cohort({column: cells})) if finding.check == "identifier"]
        if what is None:
            assert found == []
        else:
            assert [finding.columns for finding in found] == [(column,)]
            assert what in found[0].what


def test_a_cohort_is_audited_once_and_again_when_it_changes(faulty: Path, monkeypatch, caplog) -> None:
    cohort = load_cohort(faulty)
    first = audit(cohort)
    with monkeypatch.context() as patch:
        patch.setattr(_run, "_checks", lambda: pytest.fail("the checks ran again"))
        assert audit(cohort) == first
    assert audit(cohort, folds=4).folds == 4
    changed = load_cohort(faulty)
    changed.table.loc[0, "sex"] = "X"
    calls: Counter[str] = Counter()
    with monkeypatch.context() as patch:
        patch.setattr(_run, "_checks", lambda: (calls.update(["ran"]), ())[1])
        audit(changed)
    assert calls["ran"]
    for place in (home() / "audits").glob("*.json"):
        place.write_text(place.read_text().replace("warning", "note", 1))
    with caplog.at_level(logging.WARNING):
        assert audit(cohort) == first
    assert "audited again" in caplog.text


@pytest.mark.parametrize(
    ("argument", "what"),
    [
        ({"patients": 30}, "too few"),
        ({"size": 96}, "too small"),
        ({"films_per_patient": (1, 1)}, "two films"),
    ],
)
def test_faults_need_room(tmp_path: Path, argument: dict, what: str) -> None:
    with pytest.raises(InputError, match=what):
        make_phantom(tmp_path / "cohort", **({"patients": 64, "seed": 1, "faults": True} | argument))
