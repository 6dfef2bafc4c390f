"""The same film under two names or two patients."""

from __future__ import annotations

from typing import Any

from ._check import Check, Finding, Subject, count


def _table(subject: Subject) -> list[dict[str, Any]]:
    """Return the suspected pairs by the lines of the table."""
    films = subject.cohort.films
    rows, patients, groups = films["row"].tolist(), films["patient"].tolist(), films["group"].tolist()
    pairs: list[dict[str, Any]] = []
    first: dict[str, int] = {}
    for place, content in enumerate(films["sha256"].tolist()):
        if first.setdefault(content, place) != place:
            pairs.append({"kind": "identical", "film": first[content], "other": place, "likeness": 1.0})
    for film, other, likeness in subject.cohort.near_duplicates.itertuples(index=False):
        pairs.append({"kind": "near", "film": int(film), "other": int(other), "likeness": float(likeness)})
    return [
        {
            "kind": pair["kind"],
            "rows": [rows[pair["film"]], rows[pair["other"]]],
            "one_patient": patients[pair["film"]] == patients[pair["other"]],
            "one_group": groups[pair["film"]] == groups[pair["other"]],
            "likeness": pair["likeness"],
        }
        for pair in pairs
    ]


def _find(subject: Subject) -> list[Finding]:
    pairs, found = _table(subject), []
    for kind, shown in (("identical", "the same bytes"), ("near", "the same film, encoded or cut otherwise,")):
        for one_patient, whose in ((False, "two patients"), (True, "two names")):
            chosen = [pair for pair in pairs if (pair["kind"], pair["one_patient"]) == (kind, one_patient)]
            if not chosen:
                continue
            apart = sum(not pair["one_group"] for pair in chosen)
            remedy = "Find out whose film it is; whoever it is, these patients stay together in every split"
            if apart:
                remedy = (
                    "Set `on_duplicate: group` and `near_duplicates: group`, or a model is tested on a film it has seen"
                )
            elif one_patient:
                remedy = "Keep one row of each, or a patient counts twice"
            found.append(
                Finding(
                    f"{'identical' if kind == 'identical' else 'near'} duplicate",
                    "warning",
                    f"{shown} under {whose}: {count(len(chosen), 'pair')}",
                    remedy,
                    rows=tuple(sorted({row for pair in chosen for row in pair["rows"]})),
                    numbers={"pairs": len(chosen), "least_likeness": min(pair["likeness"] for pair in chosen)},
                )
            )
    dropped = subject.cohort.excluded
    dropped = dropped[dropped["kind"] == "duplicate"]
    if len(dropped):
        found.append(
            Finding(
                "identical duplicate",
                "note",
                f"{count(len(dropped), 'film')} left out: another row has the same bytes",
                "Nothing is to be done: `on_duplicate: keep_first` asks for it",
                rows=tuple(int(row) for row in dropped["row"]),
                numbers={"films": len(dropped)},
            )
        )
    return found


CHECKS = (Check("duplicates", 15, _find, _table),)
