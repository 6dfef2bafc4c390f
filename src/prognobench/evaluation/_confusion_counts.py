"""How many of each class each job calls what."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from ._folds import patient_samples, samples_of_done
from ._threshold import best_thresholds

_COUNTS = ["true_positives", "false_negatives", "false_positives", "true_negatives"]
_COLUMNS = ["job", "test_cohort", "level", "chosen_on", "threshold", *_COUNTS]


def confusion_counts(
    predictions: pd.DataFrame, jobs: pd.DataFrame, *, level: Literal["film", "patient"] = "film"
) -> pd.DataFrame:
    """Count right and wrong predictions of every done job on its test films.

    Parameters
    ----------
    predictions, jobs
        As `fold_metrics` takes them.
    level
        `film`, or `patient` for the mean scores of patients.

    Returns
    -------
    pandas.DataFrame
        Two rows a done job and tested cohort: `job, test_cohort, level`, `chosen_on` (`nothing` for the threshold 0.5,
        `validation` for that of `best_threshold`), `threshold`, and the counts `true_positives, false_negatives,
        false_positives, true_negatives`. Where validation holds one class its threshold and counts are missing.

    Raises
    ------
    InputError
        When the tables do not fit each other.
    """
    done, (test, test_patient), (validation, patient) = samples_of_done(predictions, jobs)
    if level == "patient":
        test, validation = patient_samples(test, test_patient), patient_samples(validation, patient)
    tables = []
    for chosen_on, threshold in (("nothing", np.full(len(done), 0.5)), ("validation", best_thresholds(validation))):
        known = ~np.isnan(threshold)
        at = test.at(np.where(known, threshold, np.inf))
        counts = [
            at.true_positives, at.positives - at.true_positives, at.false_positives, at.negatives - at.false_positives,
        ]  # fmt: skip
        told = {name: pd.array(np.where(known, count, np.nan)).astype("Int64") for name, count in
                zip(_COUNTS, counts, strict=True)}  # fmt: skip
        tables.append(
            done[["job", "test_cohort"]].assign(level=level, chosen_on=chosen_on, threshold=threshold, **told)
        )
    table = pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)
    return table[_COLUMNS].astype({"level": "string", "chosen_on": "string"})
