"""Groups of films, put in an order that only their names decide, and dealt to folds and parts by it."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

Stratum = tuple[int | str, ...]


@dataclass(frozen=True)
class Group:
    """Films that stay together in a split.

    Attributes
    ----------
    name
        The group's name.
    label
        The highest label of its films.
    center
        The center of most of its films; the first by name of several with as many. Empty where nothing is known.
    films
        How many they are.
    """

    name: str
    label: int
    center: str
    films: int


def groups_of(rows: pd.DataFrame) -> list[Group]:
    """List the groups of films with columns `group`, `label` and, where centers are known, `center`."""
    centers = rows["center"].tolist() if "center" in rows else [""] * len(rows)
    labels: dict[str, list[int]] = defaultdict(list)
    places: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label, center in zip(rows["group"].astype(str).tolist(), rows["label"].tolist(), centers, strict=True):
        labels[group].append(int(label))
        places[group][str(center)] += 1
    return [
        Group(name, max(found), min(places[name], key=lambda c: (-places[name][c], c)), len(found))
        for name, found in labels.items()
    ]


def refuse_without_centers(rows: pd.DataFrame, what: str) -> None:
    """Raise ValueError where a film's center is not known."""
    unknown = len(rows) if "center" not in rows else int((rows["center"].astype(str).str.strip() == "").sum())
    if unknown == len(rows):
        raise ValueError(f"{what} needs centers, and the cohort names none. Give `columns: {{center: …}}`")
    if unknown:
        raise ValueError(f"{what} needs centers, and {unknown} films have none. Fill the column of centers")


def shuffled(salt: str, name: str) -> str:
    """Return what a name is sorted by instead of drawing it: a SHA-256, the same on every platform for ever.

    A generator's stream may change with the version of its library; a hash does not, and it does not depend on the
    order or the number of the other names.
    """
    return hashlib.sha256(f"{salt}:{name}".encode()).hexdigest()


def deal(groups: Sequence[Group], folds: int, stratify: Sequence[str], salt: str) -> dict[str, int]:
    """Give each group a fold: even group counts within a stratum first, then even totals, then even film counts."""
    fold_of: dict[str, int] = {}
    totals, films = Counter[int](), Counter[int]()
    of_class: dict[int, Counter[int]] = defaultdict(Counter)
    for _, stratum in sorted(_strata(groups, stratify).items()):
        in_stratum, films_in_stratum = Counter[int](), Counter[int]()
        # Patients with many films are dealt first, while the others can still level them out.
        for group in sorted(stratum, key=lambda g: (-g.films, shuffled(salt, g.name))):
            in_class = of_class[group.label]
            fold = min(
                range(folds),
                key=lambda f: (in_stratum[f], in_class[f], films_in_stratum[f], totals[f], films[f], f),
            )
            fold_of[group.name] = fold
            for counter, amount in (
                (in_stratum, 1), (in_class, 1), (totals, 1), (films, group.films), (films_in_stratum, group.films),
            ):  # fmt: skip
                counter[fold] += amount
    return fold_of


def share_of(groups: Sequence[Group], share: float, stratify: Sequence[str], salt: str) -> set[str]:
    """Choose about a share of the groups by name, in every stratum as near to it as whole groups allow.

    Where classes are strata, each class of two groups or more has at least one group on either side.
    """
    strata = {
        key: sorted(found, key=lambda g: shuffled(salt, g.name)) for key, found in _strata(groups, stratify).items()
    }
    counts = _quotas({key: len(found) for key, found in strata.items()}, share)
    if "class" in stratify:
        _leave_no_class_out(strata, counts)
    return {group.name for key, found in strata.items() for group in found[: counts[key]]}


def _strata(groups: Iterable[Group], stratify: Sequence[str]) -> dict[Stratum, list[Group]]:
    strata: dict[Stratum, list[Group]] = defaultdict(list)
    for group in groups:
        # The class comes first however it was asked for, so that the words' order changes no split.
        key: Stratum = (group.label,) if "class" in stratify else ()
        strata[(*key, group.center) if "center" in stratify else key].append(group)
    return strata


def _quotas(sizes: Mapping[Stratum, int], share: float) -> dict[Stratum, int]:
    """Share out whole numbers by largest remainder; the total is the share of all, rounded, one at least."""
    total = max(1, math.floor(share * sum(sizes.values()) + 0.5))
    ideal = {key: share * size for key, size in sizes.items()}
    counts = {key: math.floor(value) for key, value in ideal.items()}
    by_rest = sorted(sizes, key=lambda key: (counts[key] - ideal[key], key))
    for key in by_rest[: max(0, total - sum(counts.values()))]:
        counts[key] += 1
    return counts


def _leave_no_class_out(strata: Mapping[Stratum, list[Group]], counts: dict[Stratum, int]) -> None:
    by_class: dict[int | str, list[Stratum]] = defaultdict(list)
    for key in sorted(strata):
        by_class[key[0]].append(key)
    for keys in by_class.values():
        size, chosen = sum(len(strata[key]) for key in keys), sum(counts[key] for key in keys)
        largest = max(keys, key=lambda key: len(strata[key]))
        if size >= 2 and chosen == 0:
            counts[largest] += 1
        elif size >= 2 and chosen == size:
            counts[largest] -= 1
