"""Patients whose outcome is not the same on all of their films."""

from __future__ import annotations

from ._check import Check, Finding, Subject, count


def _find(subject: Subject) -> list[Finding]:
    found = []
    for task in subject.cohort.tasks.values():
        kinds = task.rows.groupby("patient")["label"].transform("nunique")
        torn = task.rows[kinds > 1]
        if len(torn):
            patients = int(torn["patient"].nunique())
            found.append(
                Finding(
                    "label conflict",
                    "warning",
                    f"the outcome differs between films of one patient, for {count(patients, 'patient')}",
                    "Check these rows; if the outcome belongs to the film, it is right as it is",
                    task.name,
                    (subject.cohort.spec.tasks[task.name].label,),
                    subject.rows_of(torn["film"].tolist()),
                    {"patients": patients, "films": len(torn)},
                )
            )
    return found


CHECKS = (Check("label conflict", 20, _find),)
