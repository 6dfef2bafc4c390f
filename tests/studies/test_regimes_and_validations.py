"""Every way to split and every regime from a study file to its numbers; what cannot work is named before it runs."""

import json
import shutil

import pandas as pd
import pytest
from PIL import Image

from prognobench.evaluation import fold_metrics, summarize
from prognobench.frame import InputError
from prognobench.studies import Store, plan_study, read_results, read_study, run_plan

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("in_this_process")]


def plan(path, *overrides):
    return plan_study(read_study(path, overrides))


def run(path, results, *overrides):
    planned = plan(path, *overrides)
    summary = run_plan(planned, results, threads=1)
    assert summary.failed == []
    assert summary.done == len(planned.jobs)
    predictions, jobs = read_results(results)
    return planned, predictions, jobs


def refused(path, *overrides):
    with pytest.raises(InputError) as caught:
        plan(path, *overrides)
    return str(caught.value)


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """Another synthetic cohort, of one center, whose films are darker and harder: a shifted contrast."""
    from prognobench.cohorts import make_phantom

    cohort = make_phantom(tmp_path_factory.mktemp("elsewhere") / "cohort", 12, 5, size=96, centers=1)
    for path in (cohort.parent / "images").iterdir():
        with Image.open(path) as film:
            film.point(lambda level: (level / 255) ** 2 * 200).convert("L").save(path)
    cohort.write_text(cohort.read_text().replace("name: phantom", "name: elsewhere"), encoding="utf-8")
    return cohort


@pytest.fixture(scope="module")
def by_center(tmp_path_factory, phantom):
    """One study of every regime that leaves one center out after another."""
    folder = tmp_path_factory.mktemp("by-center")
    (folder / "study.yaml").write_text(
        f"name: centers\ncohorts: [{phantom}]\n"
        'models: [{"timm:test_vit": {weights: random}}]\nstrategies: [lp]\nprotocol: quick\n'
        "controls: [majority]\nvalidation: {loco: {val: 0.4, stratify: [class, center]}}\n"
        "regimes: [full, {center_few_shot: {shots: 1, draws: 2}}, {few_shot: {shots: [1, 2]}}, "
        "{fraction: {of: 0.5}}, {number: {films: 10}}]\n",
        encoding="utf-8",
    )
    return run(folder / "study.yaml", folder / "results")


def test_loco_tests_every_film_of_each_center_once(by_center, phantom):
    planned, predictions, jobs = by_center
    assert list(jobs["test_center"].unique()) == ["east", "north", "south"]
    table = pd.read_csv(phantom.parent / "labels.csv")
    for job in planned.jobs:
        films = predictions[predictions["job"] == job.key]
        tested = films[films["split"] == "test"]
        assert set(tested["image"]) == set(table.loc[table["center"] == job.test_center, "image"])
        assert job.test_center not in set(films.loc[films["split"] == "val", "center"])
    folds = fold_metrics(predictions, jobs)
    assert len(folds) == len(planned.jobs)
    assert set(summarize(folds, jobs)["validation"]) == {"loco_val0.4_class-center"}


def test_center_few_shot_trains_on_k_films_of_each_class_and_center(by_center):
    planned, _, _ = by_center
    rows = planned.cohorts["phantom"].task("icu").rows
    few = [job for job in planned.jobs if job.regime == "center_few_shot"]
    assert len(few) == 3 * 2 * 2
    for job in few:
        table = planned.splits[job.details["split"]].table.merge(rows[["image", "label", "center"]], on="image")
        learned = table[table["part"] == "train"].groupby(["label", "center"]).size()
        assert job.n_train == len(learned) == 4  # two classes in the two centers that are not tested
        assert job.test_center not in learned.index.get_level_values("center")


def test_every_regime_is_a_row_of_its_own_and_draws_are_averaged_within_a_fold(by_center):
    planned, predictions, jobs = by_center
    assert len(planned.jobs) == 2 * 3 * 7
    summary = summarize(fold_metrics(predictions, jobs), jobs)
    told = set(zip(summary["regime"], summary["shots"].fillna(0), strict=True))
    drawn = {("center_few_shot", 1), ("few_shot", 1), ("few_shot", 2), ("fraction_0.5", 0), ("number_10", 0)}
    assert told == {("full", 0), *drawn}
    assert (summary["n_folds"] == 3).all()
    assert (summary["n_missing"] == 0).all()
    trained = jobs.groupby("regime")["n_train"].agg(set)
    assert (trained["few_shot"], trained["number_10"]) == ({2, 4}, {10})


def test_external_trains_once_and_tests_every_other_cohort(study_file, phantom, elsewhere, tmp_path):
    third = tmp_path / "third" / "cohort.yaml"
    shutil.copytree(elsewhere.parent, third.parent)
    third.write_text(third.read_text().replace("name: elsewhere", "name: third"), encoding="utf-8")
    validation = f"validation={{external: {{test: [{elsewhere}, third/cohort.yaml]}}}}"
    planned, predictions, jobs = run(study_file, tmp_path / "results", validation)
    assert len(planned.jobs) == 3  # majority, lp, lora: each trained once
    assert len(jobs) == 6
    assert set(jobs["test_cohort"]) == {"elsewhere", "third"}
    films = {name: set(planned.cohorts[name].films["image"]) for name in ("phantom", "elsewhere", "third")}
    for job in planned.jobs:
        of_job = predictions[predictions["job"] == job.key]
        validated, tested = (of_job[of_job["split"] == part] for part in ("val", "test"))
        assert set(validated["cohort"]) == {"phantom"}
        assert set(planned.splits[job.details["split"]].table["part"]) == {"train", "val"}
        for name in ("elsewhere", "third"):
            assert set(tested.loc[tested["cohort"] == name, "image"]) == films[name]
        assert job.n_test == len(tested) == len(films["elsewhere"]) + len(films["third"])
        # The same films in two cohorts get the same scores.
        by_cohort = tested.pivot(index="image", columns="cohort", values="y_score")
        assert (by_cohort["elsewhere"] == by_cohort["third"]).all()
    folds = fold_metrics(predictions, jobs)
    assert len(folds) == 6
    assert set(folds["validation"]) == {"external"}
    record = next(
        r for r in map(Store(tmp_path / "results").read, (job.key for job in planned.jobs)) if r.cost["shared"]
    )
    assert record.cost["shared"]["films"] == len(films["phantom"]) + 2 * len(films["elsewhere"])


def test_the_films_of_a_tested_cohort_are_part_of_the_key(study_file, elsewhere, tmp_path):
    shutil.copytree(elsewhere.parent, tmp_path / "other")
    override = "validation={external: {test: other/cohort.yaml}}"
    before = {job.key for job in plan(study_file, override).jobs}
    table = tmp_path / "other" / "labels.csv"
    table.write_text(table.read_text().replace(",no,", ",unknown,", 1))
    assert not before & {job.key for job in plan(study_file, override).jobs}


def test_an_external_cohort_that_does_not_fit_is_named(study_file, phantom, elsewhere, tmp_path):
    assert "cannot be read" in refused(study_file, "validation={external: {test: none.yaml}}")
    assert "would be trained on and tested" in refused(study_file, f"validation={{external: {{test: {phantom}}}}}")
    other = tmp_path / "other" / "cohort.yaml"
    shutil.copytree(elsewhere.parent, other.parent)
    text = other.read_text()
    other.write_text(text.replace("  icu:", "  ward:"), encoding="utf-8")
    message = refused(study_file, "validation={external: {test: other/cohort.yaml}}")
    assert "there is no task 'icu'" in message
    assert "other/cohort.yaml" in message
    other.write_text(text, encoding="utf-8")
    film = next((phantom.parent / "images").iterdir())
    (twin,) = sorted((other.parent / "images").iterdir())[:1]
    shutil.copy(film, twin)
    message = refused(study_file, "validation={external: {test: other/cohort.yaml}}")
    assert "of its films are also in the training cohort 'phantom': " in message
    assert "all films of these patients" in message
    assert f"'{twin.name}' is its '{film.name}'" in message


def test_common_ids_are_refused_where_the_study_says_that_they_are_one_patient(study_file, elsewhere):
    # Both phantoms count their patients from 1.
    lines = [f"validation={{external: {{test: {elsewhere}, same_ids_same_patient: {told}}}}}" for told in ("no", "yes")]
    assert plan(study_file, lines[0]).jobs
    message = refused(study_file, lines[1])
    assert "12 of its patients are also in the training cohort 'phantom' by their ids: 'p0000'" in message
    assert "and 7 more" in message
    assert "`same_ids_same_patient: false`" in message


def test_a_predefined_column_and_its_file_give_the_same_jobs(study_file, phantom, tmp_path):
    table = pd.read_csv(phantom.parent / "labels.csv")
    number = table["patient"].str[1:].astype(int)
    table["part"] = (number % 4).map({0: "test", 1: "val"}).fillna("train")
    shutil.copytree(phantom.parent, tmp_path / "cohort")
    table.to_csv(tmp_path / "cohort" / "labels.csv", index=False)
    table[["image", "part"]].to_csv(tmp_path / "theirs.csv", index=False)
    place = ["cohorts=[cohort/cohort.yaml]"]
    column = plan(study_file, *place, "validation={predefined: {column: part}}")
    file = plan(study_file, *place, "validation={predefined: {files: theirs.csv}}")
    assert [job.key for job in column.jobs] == [job.key for job in file.jobs]
    assert {job.validation for job in column.jobs} == {"predefined"}
    # One film of a patient elsewhere, and a fourth word.
    table.loc[table.index[0], "part"] = "val" if table["part"][0] != "val" else "test"
    table.loc[table.index[5], "part"] = "exam"
    table.to_csv(tmp_path / "cohort" / "labels.csv", index=False)
    message = refused(study_file, *place, "validation={predefined: {column: part}}")
    assert "labels.csv, row 7: the part is 'exam'. Use train, val, test" in message


def test_folds_with_too_few_films_are_left_out_with_the_reason_and_counted(study_file):
    study = plan(study_file, "regimes=[full, {few_shot: {shots: [2, 4], val: full}}]")
    assert len(study.jobs) == 27
    assert study.left_out == ()
    # The smallest training part of a class lies between: some folds have as many films and others have not.
    rows = study.cohorts["phantom"].task("icu").rows
    label = rows.set_index("image")["label"]
    whole = {job.details["split"] for job in study.jobs if job.regime == "full"}
    per_fold = []
    for split in whole:
        table = study.splits[split].table
        per_fold.append(int(label[table.loc[table["part"] == "train", "image"]].value_counts().min()))
    assert len(set(per_fold)) > 1
    k = max(per_fold)
    enough = sum(count >= k for count in per_fold)
    study = plan(study_file, f"regimes=[{{few_shot: {{shots: {k}, val: full, draws: 2}}}}]")
    assert len(study.jobs) == 2 * 3 * enough
    assert sum(pair.jobs for pair in study.left_out) == 2 * 3 * (3 - enough)
    assert all(f"and {k} are asked for" in pair.reason for pair in study.left_out)
    assert {pair.strategy for pair in study.left_out} == {f"few_shot_full_val with {k} shots"}
    json.dumps(study.to_json())
    message = refused(study_file, f"regimes=[{{few_shot: {{shots: {k + 1}, val: full, draws: 2}}}}]")
    assert "nothing is left of task 'icu' of cohort 'phantom'" in message
    assert f"and {k + 1} are asked for. Use at most {min(per_fold)}, which every fold has." in message
    assert message.count("nothing is left") == 1
    # Sparing the validation part is no way out where the training part has too few.
    assert "set `val: full`" not in refused(study_file, f"regimes=[{{few_shot: {{shots: {k + 1}}}}}]")


def test_one_center_cannot_be_left_out(study_file, elsewhere):
    place = f"cohorts=[{elsewhere}]"
    assert "at least 2 centers" in refused(study_file, place, "validation=loco")
    message = refused(study_file, place, "regimes=[{center_few_shot: {shots: [1, 2], draws: 3}}]")
    assert message.count("center_few_shot needs at least 2 centers") == 1
