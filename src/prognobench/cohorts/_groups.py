"""Which films must stay together in a split."""

from __future__ import annotations

from collections.abc import Sequence


def group_films(patients: Sequence[str], contents: Sequence[str | None]) -> list[str]:
    """Return the group of each film, named after the smallest patient in it.

    Parameters
    ----------
    patients
        The patient of each film.
    contents
        What each film shows; patients who share one are one group. None joins nobody.

    Examples
    --------
    >>> group_films(["b", "a", "c"], ["x", "x", "y"])
    ['a', 'a', 'c']
    """
    parent = {patient: patient for patient in patients}

    def root(patient: str) -> str:
        while parent[patient] != patient:
            parent[patient] = parent[parent[patient]]
            patient = parent[patient]
        return patient

    first_owner: dict[str, str] = {}
    for patient, content in zip(patients, contents, strict=True):
        if content is None:
            continue
        one, other = root(patient), root(first_owner.setdefault(content, patient))
        # The smaller name becomes the root, so the root of a group is its name.
        parent[max(one, other)] = min(one, other)
    return [root(patient) for patient in patients]
