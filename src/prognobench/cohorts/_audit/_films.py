"""Films that show little or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._thumbnails import thumbnails
from ._check import Check, Finding, Subject, count

TINY = 64  # pixels of the shorter side; the smallest that a backbone of the catalog looks at is 224
FLAT = 0.02  # of the range from the darkest to the brightest pixel, within which 98 % of a film lie
WHITE, BLACK = 0.3, 0.6  # share of a film at its white and at its black end; the beam leaves air black around a patient


def _excluded(subject: Subject) -> list[Finding]:
    excluded = subject.cohort.excluded
    excluded = excluded[excluded["kind"] == "unreadable"]
    found = []
    # No reason holds a name; were there one, it would end in files that are shown around.
    reasons = [_unnamed(*told, subject) for told in zip(excluded["reason"], excluded["image"], strict=True)]
    excluded = excluded.assign(reason=pd.Series(reasons, index=excluded.index, dtype=str))
    # One reason with other numbers, such as how many bytes are missing, is one finding.
    for _, part in excluded.groupby(excluded["reason"].str.replace(r"\d+", "", regex=True), sort=True):
        reason = (
            part["reason"].iloc[0] if part["reason"].nunique() == 1 else re.sub(r"\d+", "…", part["reason"].iloc[0])
        )
        # A film of one gray value is refused while it is read; here it has the name of those of nearly one.
        constant = "one gray value" in str(reason)
        found.append(
            Finding(
                "constant film" if constant else "unreadable film",
                "warning",
                f"{count(len(part), 'film')} left out: {reason}",
                "Put the files right, or check that those who are left out are not of one outcome",
                rows=tuple(int(row) for row in part["row"]),
                numbers={"films": len(part)},
            )
        )
    return found


def _unnamed(reason: str, image: str, subject: Subject) -> str:
    folder = subject.cohort.path.parent
    for name in (str(folder.resolve()), str(folder.absolute()), image, PurePosixPath(image).name):
        reason = reason.replace(name, "…")
    return reason


def _tiny(subject: Subject) -> list[Finding]:
    films = subject.cohort.films
    shorter = np.minimum(films["width"].to_numpy(), films["height"].to_numpy())
    what = f"smaller than {TINY} pixels, which is a thumbnail and no film"
    return _told(subject, "tiny film", shorter < TINY, what, "Export these films at their full size")


def _flat(subject: Subject) -> list[Finding]:
    flat = np.array([_is_flat(film) for film in _shown(subject)], dtype=bool)
    what = "of nearly one gray value"
    return _told(subject, "constant film", flat, what, "Look at these films; export them again or remove the rows")


def _saturated(subject: Subject) -> list[Finding]:
    ends = [(float((film >= 65000).mean()), float((film <= 500).mean())) for film in _shown(subject)]
    flat = [_is_flat(film) for film in _shown(subject)]
    burnt = np.array([(w > WHITE or b > BLACK) and not f for (w, b), f in zip(ends, flat, strict=True)], dtype=bool)
    what = f"white over more than {WHITE:.0%} of the area, or black over more than {BLACK:.0%}"
    remedy = "Look at these films: the window was too narrow, or nothing was in the beam; export them again"
    return _told(subject, "saturated film", burnt, what, remedy)


def _is_flat(film: NDArray[np.uint16]) -> bool:
    low, high = np.percentile(film, [1, 99])
    return bool(high - low < FLAT * 65535)


def _shown(subject: Subject) -> Iterator[NDArray[np.uint16]]:
    return thumbnails(subject.cohort, range(len(subject.cohort.films)))


def _told(
    subject: Subject, check: str, which: Sequence[bool] | NDArray[np.bool_], what: str, remedy: str
) -> list[Finding]:
    films = np.flatnonzero(which)
    if not len(films):
        return []
    rows = subject.rows_of(films.tolist())
    told = f"{count(len(films), 'film')} {what}"
    return [Finding(check, "warning", told, remedy, rows=rows, numbers={"films": len(films)})]


CHECKS = (
    Check("unreadable film", 50, _excluded),
    Check("constant film", 51, _flat),
    Check("tiny film", 52, _tiny),
    Check("saturated film", 53, _saturated),
)
