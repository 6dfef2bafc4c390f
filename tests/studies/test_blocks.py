"""Several grids in one study: none loses its controls, and none of their rows is taken for another's."""

import pandas as pd
import pytest

from prognobench.frame import InputError
from prognobench.studies import plan_study, read_study

pytestmark = pytest.mark.torch


def plan(study_file, *blocks):
    text = "".join(line for line in study_file.read_text().splitlines(True) if not line.startswith("validation"))
    study_file.write_text(text + "blocks:\n" + "".join(f"  - {block}\n" for block in blocks), encoding="utf-8")
    return plan_study(read_study(study_file))


def folds_of(planned, strategy):
    return {(job.validation, job.repeat, job.fold) for job in planned.jobs if job.strategy == strategy}


def test_more_repeats_in_another_block_have_their_controls(study_file):
    planned = plan(
        study_file,
        "validation: {holdout: {test: 0.3}}",
        "validation: {holdout: {test: 0.3, repeats: 3}}\n    strategies: [bitfit]",
    )
    assert folds_of(planned, "majority") >= folds_of(planned, "bitfit") | folds_of(planned, "lp")


def test_splits_that_no_table_could_tell_apart_are_refused_before_anything_trains(study_file):
    same = "validation: {kfold: {folds: 3}}\n    split_seed: "
    with pytest.raises(InputError, match="on different splits, which no table could tell apart"):
        plan(study_file, f"{same}1", f"{same}2")


def test_a_cohort_that_the_study_does_not_name_is_no_place_for_it(study_file, tmp_path):
    with pytest.raises(InputError, match=r"names no cohort 'phantm'"):
        read_study(study_file, cohorts=[f"phantm={tmp_path}"])
    text = study_file.read_text()
    path = text[text.index("path: ") + 6 : text.index(", tasks")]
    study_file.write_text(text.replace(f"path: {path}", "name: mine"), encoding="utf-8")
    found = plan_study(read_study(study_file, cohorts=[f"mine={path}"]))
    assert pd.Series([job.cohort for job in found.jobs]).unique().tolist() == ["phantom"]


def test_what_two_protocols_do_alike_is_asked_for_once(study_file):
    with pytest.raises(InputError, match=r"lp .* is the same under quick and quick\[epochs=3\]"):
        plan(
            study_file,
            "validation: {kfold: {folds: 3}}\n    strategies: [lp]\n    protocol: quick",
            "validation: {kfold: {folds: 3}}\n    strategies: [lp, bitfit]\n    protocol: {base: quick, epochs: 3}",
        )
