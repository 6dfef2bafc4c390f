"""What is known about a film without looking at what it shows."""

from __future__ import annotations

import pandas as pd

from ._cohort import Cohort


def film_metadata(cohort: Cohort) -> pd.DataFrame:
    """Return the cells that the control `metadata` predicts from.

    Parameters
    ----------
    cohort
        A checked cohort.

    Returns
    -------
    pandas.DataFrame
        One row a film of `cohort.films`, in its order; all cells are text, an empty one is blank. Columns:

        - `view`, `sex`, `age`, `center`, where `columns` of the cohort file names them; the center is known when the
          film is taken, and a model can read it off the film;
        - `table.NAME` for every other column of role acquisition or demographic;
        - `film.width`, `film.height` (pixels) and `film.brightness` (mean of the film scaled to [0, 1]).
    """
    columns = cohort.spec.columns
    names = {columns.view: "view", columns.sex: "sex", columns.age: "age", columns.center: "center"}
    used = [*cohort.columns_of("acquisition"), *cohort.columns_of("demographic")]
    used += [columns.center] if columns.center is not None else []
    told = {names.get(column, f"table.{column}"): cohort.table[column].astype(str) for column in used}
    # `repr` reads back as the same number.
    seen = {f"film.{fact}": cohort.films[fact].map(repr) for fact in ("width", "height", "brightness")}
    return pd.DataFrame(told | seen, index=cohort.films.index)
