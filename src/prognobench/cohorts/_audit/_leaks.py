"""Columns that give the outcome away: what they say, or that they say anything, is known only later."""

from __future__ import annotations

from ._check import Check, Finding, Subject
from ._columns import power, undeclared

GIVES_AWAY, AT_LEAST = 0.9, 0.6  # the AUC, and the lower end of its interval


def _find(subject: Subject) -> list[Finding]:
    cohort, found = subject.cohort, []
    # What is of role acquisition or demographic is known when the film is taken: see the confounds.
    roles = dict.fromkeys(undeclared(cohort), "no role") | dict.fromkeys(
        cohort.columns_of("clinical"), "the role clinical"
    )
    for task in cohort.tasks.values():
        for column, role in roles.items():
            cells = cohort.table[column].tolist()
            filled = power(task, ["" if not cell.strip() else "filled in" for cell in cells])
            said = power(task, cells)
            by_filling = filled.auc >= GIVES_AWAY and filled.low >= AT_LEAST
            one = filled if by_filling else said
            if not (one.auc >= GIVES_AWAY and one.low >= AT_LEAST):
                continue
            how = "being filled in" if by_filling else "its value"
            found.append(
                Finding(
                    "outcome leak",
                    "warning",
                    f"'{column}' (of {role}) gives the outcome away by {how}: AUC {one.auc:.2f} "
                    f"({one.low:.2f} to {one.high:.2f})",
                    "If it is known only later, add it to `outcome` under `roles`; it must never be a predictor",
                    task.name,
                    (column,),
                    numbers={"auc": round(one.auc, 4), "low": round(one.low, 4), "high": round(one.high, 4), "by": how},
                )
            )
    return found


CHECKS = (Check("outcome leak", 16, _find),)
