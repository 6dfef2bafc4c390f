"""The controls of a study: which jobs they are, what their keys hold, and what they compute."""

import shutil

import numpy as np
import pandas as pd
import pytest

from prognobench.cohorts import make_phantom
from prognobench.evaluation import compare_with_controls
from prognobench.studies import Store, plan_study, read_results, read_study, run_plan

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("in_this_process")]
STUDY = """\
name: controls
cohorts: [{path: cohort/cohort.yaml, tasks: [icu]}]
models: [{"timm:test_vit": {weights: "random:2"}}]
strategies: [lp]
validation: {kfold: {folds: 3}}
protocol: quick
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study beside films of its own, so that no other test has computed their features."""
    folder = tmp_path_factory.mktemp("controls")
    make_phantom(folder / "cohort", 24, 9, size=96)
    (folder / "study.yaml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def records(place):
    summary = run_plan(plan_study(read_study(place / "study.yaml")), place / "results", threads=1)
    assert (summary.done, summary.failed) == (3 + 3 + 9 + 3, [])
    store = Store(place / "results")
    return [store.read(key) for key in store.record_keys()]


def planned(folder, *overrides):
    return plan_study(read_study(folder / "study.yaml", overrides)).jobs


def keys(folder, *overrides):
    found = {}
    for job in planned(folder, *overrides):
        found.setdefault(job.strategy, []).append(job.key)
    return found


def changed(one, other):
    return {name for name in one if one[name] != other[name]}


def test_all_three_are_in_every_study_unless_switched_off(place):
    jobs = planned(place)
    assert [job.strategy for job in jobs] == ["majority"] * 3 + ["metadata"] * 3 + ["random"] * 9 + ["lp"] * 3
    assert {job.model for job in jobs if job.strategy == "random"} == {"timm:test_vit"}
    assert sorted({job.seed for job in jobs if job.strategy == "random"}) == [0, 1, 2]
    assert {job.strategy for job in planned(place, "controls=[]")} == {"lp"}


def test_weights_of_one_architecture_share_its_random_control(place):
    two = 'models=[{"timm:test_vit": {weights: "random:7"}}, {"timm:test_vit": {weights: "random:8"}}]'
    jobs = planned(place, two)
    assert sum(job.strategy == "random" for job in jobs) == 9
    assert {job.architecture for job in jobs if job.weights} == {"timm:test_vit"}
    both = 'models=[{"timm:test_vit": {weights: random}}, {"timm:test_efficientnet": {weights: random}}]'
    assert sum(job.strategy == "random" for job in planned(place, both)) == 18


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("split_seed=1", {"majority", "metadata", "random", "lp"}),
        ("seeds=[1]", set()),
        ('models=[{"timm:test_vit": {weights: "random:9"}}]', {"lp"}),
        ('models=[{"timm:test_efficientnet": {weights: "random:2"}}]', {"random", "lp"}),
        ("protocol={base: quick, probe: {penalties: [1]}}", {"metadata", "random", "lp"}),
        ("protocol={base: quick, class_weights: none}", {"metadata", "random", "lp"}),
        ("protocol={base: quick, epochs: 3}", set()),
        ("protocol={base: quick, head: {blocks: 2}}", {"lp"}),
    ],
)
def test_a_key_changes_where_the_result_does(place, override, expected):
    assert changed(keys(place), keys(place, override)) == expected


@pytest.mark.parametrize(
    ("column", "expected"), [("view", {"metadata"}), ("age", {"metadata"}), ("day", set()), ("severity", set())]
)
def test_the_cells_that_metadata_reads_are_in_its_key(place, tmp_path, column, expected):
    shutil.copytree(place, tmp_path / "copy")
    table = pd.read_csv(tmp_path / "copy" / "cohort" / "labels.csv", dtype=str)
    table.loc[3, column] = "7"
    table.to_csv(tmp_path / "copy" / "cohort" / "labels.csv", index=False)
    assert changed(keys(place), keys(tmp_path / "copy")) == expected


def test_random_weights_predict_as_lp_on_the_same_weights(records):
    """The study's model has the random weights of seed 2, so the control of that seed is its linear probe."""
    probe = {r.job.fold: r.predictions for r in records if r.job.strategy == "lp"}
    for seed in (0, 1, 2):
        for record in records:
            if (record.job.strategy, record.job.seed) == ("random", seed):
                same = np.array_equal(record.predictions["y_score"], probe[record.job.fold]["y_score"])
                assert same == (seed == 2)
                assert record.environment["weights"] == {"id": f"random:{seed}", "sha256": f"random:{seed}"}


def test_random_weights_look_at_each_film_once_a_seed(records, place):
    films = sum(1 for _ in (place / "cohort" / "images").iterdir())
    shared = [r.cost["shared"] for r in records if r.job.strategy in ("random", "lp")]
    # Of seeds 0, 1 and 2; the study's model is that of seed 2 and reads its features.
    assert sum(cost["forwards_here"] for cost in shared) == 3 * films
    assert sorted(cost["jobs"] for cost in shared) == [3] * 6 + [6] * 6
    assert all(r.cost["gflops"] > 0 for r in records if r.job.strategy == "random")


def test_metadata_looks_at_no_pixel_and_says_what_it_learned(records):
    found = [r for r in records if r.job.strategy == "metadata"]
    assert len(found) == 3
    for record in found:
        assert record.cost["shared"] == {}
        assert record.environment["weights"] is None
        assert record.history["chosen"].sum() == 1
        # View, sex and center as words; age, width, height and brightness as a number and a mark of blanks each.
        assert record.cost["trainable_parameters"] == 2 * (2 + 2 + 3 + 4 * 2 + 1)


def test_every_result_is_compared_with_the_best_of_them(place, records):
    predictions, jobs = read_results(place / "results")
    table = compare_with_controls(predictions, jobs)
    assert len(table) == 1
    assert table["undefined"].tolist() == [""]
    assert table["control"].item() in ("majority", "metadata", "random")


def test_controls_are_tested_on_other_cohorts_by_the_columns_of_their_own(place):
    """The other cohort names no age and no center, and has a column more: blank cells, and nobody reads the column."""
    other = make_phantom(place / "other", 12, 5, size=96)
    text = other.read_text().replace("name: phantom", "name: other").replace(", age: age", "")
    text = text.replace("center: center, ", "").replace("demographic: [sex, age]", "demographic: [sex, day]")
    other.write_text(text.replace("clinical: [day]", "clinical: []"))
    plan = plan_study(read_study(place / "study.yaml", ["validation={external: {test: other/cohort.yaml}}"]))
    assert run_plan(plan, place / "external", threads=1).failed == []
    predictions, jobs = read_results(place / "external")
    assert set(jobs["test_cohort"]) == {"other"}
    (compared,) = compare_with_controls(predictions, jobs).to_dict("records")
    assert (compared["test_cohort"], compared["undefined"]) == ("other", "")
    before = [job.key for job in plan.jobs if job.strategy == "metadata"]
    table = other.parent / "labels.csv"
    table.write_text(table.read_text().replace(",AP,", ",lateral,", 1))
    after = plan_study(read_study(place / "study.yaml", ["validation={external: {test: other/cohort.yaml}}"])).jobs
    assert before != [job.key for job in after if job.strategy == "metadata"]


def test_blocks_of_several_protocols_and_seeds_share_the_controls_that_neither_changes(place):
    text = STUDY.replace("protocol: quick\n", "")
    blocks = "blocks:\n  - {protocol: quick}\n  - {protocol: {base: quick, epochs: 3}, strategies: [fft], seeds: [7]}\n"
    (place / "blocks.yaml").write_text(text + blocks)
    jobs = plan_study(read_study(place / "blocks.yaml")).jobs
    assert sorted({job.strategy for job in jobs}) == ["fft", "lp", "majority", "metadata", "random"]
    assert sum(job.kind == "control" for job in jobs) == 3 + 3 + 9
