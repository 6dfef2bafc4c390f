"""The made studies' truth, and that the recorded simulation is what the program finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prognobench.evaluation import _simulated, _simulation
from prognobench.evaluation._made_studies import made_studies, shared_task_differences, threshold_of_equal_mcc
from prognobench.evaluation._simulated import (
    COVERAGE_HOLDS,
    FEWEST_FOLDS,
    PREFERENCE,
    TRUTHS,
    default_interval,
    simulated,
)
from prognobench.evaluation._weighted import WEIGHTED, fold_values

LARGE = [
    replace(_simulation.DESIGNS[0], sizes=(4000,) * 5, effects=(1.6, 1.0)),
    replace(_simulation.DESIGNS[3], sizes=(4000,) * 5),
    replace(_simulation.DESIGNS[7], sizes=(4000,) * 4),
]


@pytest.mark.parametrize("design", LARGE, ids=lambda design: f"{design.validation}-{design.level}")
def test_large_folds_come_near_the_truth(design):
    (study,) = made_studies(design, 1, 2, 0)
    values = fold_values(study.block.folds, len(study.block.cells))
    for metric in WEIGHTED:
        np.testing.assert_allclose(values[metric], study.truth[metric], atol=0.06)
        assert abs((values[metric] - study.truth[metric]).mean()) < 0.02, metric


def test_given_models_of_two_thresholds_have_one_mcc():
    _, design = _simulation.NULLS[-1]
    design = replace(design, thresholds=(*design.thresholds, threshold_of_equal_mcc(design)))
    (study,) = made_studies(design, 1, 2, 0)
    one, two = study.truth["mcc"][0]
    assert one == pytest.approx(two, abs=1e-9)
    assert abs(study.truth["sensitivity"][0, 0] - study.truth["sensitivity"][0, 1]) > 0.1


def test_the_same_seed_makes_the_same_differences_and_none_is_favored():
    differences = shared_task_differences(2, True, 400, 3)
    assert differences.shape == (10, 400)
    np.testing.assert_array_equal(differences, shared_task_differences(2, True, 400, 3))
    assert abs(differences.mean()) < 0.03


def test_defaults_are_the_first_that_held_in_every_design_of_their_kind():
    for validation in ("kfold", "holdout", "loco"):
        designs = [d for d in simulated()["designs"] if d["validation"] == validation and not d["extreme"]]
        assert designs
        for metric in WEIGHTED:
            held = [
                method
                for method in PREFERENCE
                if all(
                    COVERAGE_HOLDS[0]
                    <= d["coverage"][metric].get(method, {}).get(TRUTHS[method], 0)
                    <= COVERAGE_HOLDS[1]
                    for d in designs
                )
            ]
            assert default_interval(f"{validation}5", metric) == (held[0] if held else "")
    assert default_interval("predefined", "mcc") == ""
    assert default_interval("kfold5", "mcc", "few_shot") == default_interval("holdout", "pr_auc", "few_shot", 10) == ""


def test_an_interval_over_fewer_folds_than_simulated_is_no_default():
    assert default_interval("loco", "mcc", "full", 6) == default_interval("loco", "mcc") == "t"
    assert default_interval("loco", "mcc", "full", 5) == "bootstrap"
    assert default_interval("holdout", "pr_auc", "full", 10) == "nadeau_bengio"
    assert default_interval("holdout", "pr_auc", "full", 9) == ""
    folds = {"kfold": [], "holdout": [], "loco": []}
    for design in _simulation.DESIGNS:
        folds[design.validation].append(design.repeats * (1 if design.validation == "holdout" else len(design.sizes)))
    assert {kind: min(counts) for kind, counts in folds.items()} == FEWEST_FOLDS


def test_every_design_is_recorded():
    found = simulated()
    assert [d["name"] for d in found["designs"]] == [d.name for d in _simulation.DESIGNS]
    assert [t["null"] for t in found["tests"]] == [null for null, _ in _simulation.NULLS]
    assert [t["name"] for t in found["tasks"]] == [name for name, _, _ in _simulation.TASKS]
    assert len(found["choices"]) == len(_simulation.CHOICES)
    assert found["studies"] == 10_000


def test_what_is_written_is_what_was_found(tmp_path):
    found = {"studies": 3, "designs": []}
    _simulation.write_simulated(found, tmp_path / "simulated.json")
    assert _simulated.json.loads((tmp_path / "simulated.json").read_text()) == found


def near(share, recorded, studies):
    """Within four standard errors, and what a fixed set of resamples may add."""
    return abs(share - recorded) <= 4 * np.sqrt(max(recorded * (1 - recorded), 0.01) / studies) + 0.005


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(_simulation.DESIGNS)))
def test_a_short_simulation_covers_as_recorded(place):
    recorded, found = simulated()["designs"][place], _simulation.coverage(_simulation.DESIGNS[place], 300)
    for metric in WEIGHTED:
        for method, shares in found["coverage"][metric].items():
            for truth, share in shares.items():
                assert near(share, recorded["coverage"][metric][method][truth], 300), (metric, method, truth)


@pytest.mark.slow
def test_short_simulations_err_as_recorded():
    for (null, design), recorded in zip(_simulation.NULLS, simulated()["tests"], strict=True):
        for test, error in _simulation.errors(null, design, 300)["error"].items():
            assert near(error, recorded["error"][test], 300), (null, design.name, test)
    for found, recorded in zip(_simulation._tasks(1000), simulated()["tasks"], strict=True):
        assert near(found["error"], recorded["error"], 1000)
    for found, recorded in zip(_simulation._choices(500), simulated()["choices"], strict=True):
        for which in ("naive", "corrected"):
            assert near(found["coverage"][which], recorded["coverage"][which], 100)
            assert abs(found["bias"][which] - recorded["bias"][which]) < 0.04
