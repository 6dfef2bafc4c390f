"""What is known about a film without looking at what it shows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pandas as pd

from ._cohort import Cohort


def film_metadata(cohort: Cohort, columns: Sequence[Hashable] | None = None) -> pd.DataFrame:
    """Return the cells that the control `metadata` predicts from.

    Parameters
    ----------
    cohort
        A checked cohort.
    columns
        Those of the cohort that was trained on; one that this cohort lacks is blank. By default its own.

    Returns
    -------
    pandas.DataFrame
        One row a film of `cohort.films`, in its order; all cells are text, an empty one is blank. Columns:

        - `view`, `sex`, `age`, `center`, where `columns` of the cohort file names them; the center is known when the
          film is taken, and a model can read it off the film;
        - `table.NAME` for every other column of role acquisition or demographic;
        - `film.width`, `film.height` (pixels) and `film.brightness` (mean of the film scaled to [0, 1]).
    """
    key = cohort.spec.columns
    names = {key.view: "view", key.sex: "sex", key.age: "age", key.center: "center"}
    used = [*cohort.columns_of("acquisition"), *cohort.columns_of("demographic")]
    used += [key.center] if key.center is not None else []
    told = {names.get(column, f"table.{column}"): cohort.table[column].astype(str) for column in used}
    # `repr` reads back as the same number.
    seen = {f"film.{fact}": cohort.films[fact].map(repr) for fact in ("width", "height", "brightness")}
    cells = pd.DataFrame(told | seen, index=cohort.films.index)
    return cells if columns is None else cells.reindex(columns=list(columns), fill_value="")
