"""Texts inside the image files that may say who a patient is."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ._check import Check, Finding, Number, Subject, count


def _find(subject: Subject) -> list[Finding]:
    films = subject.cohort.films
    if "tags" not in films:
        return []
    held = [[tag for tag in tags.split(", ") if tag] for tags in films["tags"]]
    chosen = np.flatnonzero([bool(tags) for tags in held]).tolist()
    if not chosen:
        return []
    # Names and counts, never what the texts say.
    counts = Counter(tag for tags in held for tag in tags)
    named = ", ".join(f"{tag} ({films:,})" for tag, films in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
    numbers: dict[str, Number] = {"films": len(chosen), **counts}
    return [
        Finding(
            "identifier",
            "warning",
            f"the files of {count(len(chosen), 'film')} carry texts that may say whose film it is: {named}",
            "Look at these tags and write the files without them; prognobench needs none and passes none on",
            rows=subject.rows_of(chosen),
            numbers=numbers,
        )
    ]


CHECKS = (Check("identifier", 19, _find),)
