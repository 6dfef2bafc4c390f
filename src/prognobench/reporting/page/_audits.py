"""What the audit found in the cohorts: for the report's page without a film, and on a page of its own with films."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from prognobench.cohorts import AuditReport, SuspectedPair

from ._made import redacted
from ._parts import (
    Cell,
    Column,
    Exhibit,
    Gallery,
    Heading,
    Part,
    Pointer,
    Prose,
    Section,
    number,
    plural,
    table,
    text,
    with_interval,
    words,
)

_MOST_COLUMNS = 8  # of a task, on the report's page
_NOT_KNOWN = (
    "What the audit found is not known: the study ran before it was kept. To run it again adds it; what is done stays."
)
_RANKED = (
    "ROC-AUC × 100 of predicting the outcome from the column alone, out of fold; 50 is chance, and less is, too. "
    "Clinical columns are no fault if they are known in time."
)


def audits_of_a_study(audits: Mapping[str, AuditReport], href: str) -> list[Part]:
    """Show the findings and what goes with the outcome, and where films are to be looked at; no film is shown."""
    parts: list[Part] = [Heading("What the audit found")]
    if not audits:
        return [*parts, Prose((_NOT_KNOWN,))]
    parts += _findings(audits)
    parts += _confounds(audits, _MOST_COLUMNS)
    suspected = sum(audit.n_pairs for audit in audits.values())
    told = f"{plural(suspected, 'pair')} of films look the same" if suspected else "No two films look the same"
    more = "The page of the audit shows films: treat it as you treat the films." if suspected else ""
    return [*parts, Pointer(f"{told}; every column is ranked in", href, "the page of the audit", more)]


def audit_section(place: int, audit: AuditReport) -> Section:
    """Show all that the audit found in one cohort, with suspected pairs of films."""
    one = {audit.cohort: audit}
    parts = [*_findings(one), *_confounds(one), *_counts(audit), *_pairs(audit)]
    return Section(f"cohort-{place}", f"Audit of {words(audit.cohort)}", tuple(parts))


def leak_doubts(audits: Mapping[str, AuditReport]) -> Iterator[str]:
    """Say in a sentence each what knows the outcome, and which films may be on both sides of a split."""
    for name, audit in audits.items():
        leaks = [finding for finding in audit.findings if finding.is_leak]
        if leaks:
            tasks = ", ".join(dict.fromkeys(words(finding.task) for finding in leaks))
            yield (
                f"The audit of {words(name)} found {plural(len(leaks), 'leak')} of the outcome ({tasks}); "
                "see What the audit found, under Cohorts."
            )
        if audit.n_apart:
            yield (
                f"In {words(name)} {plural(audit.n_apart, 'pair')} of films that look the same are in two groups: a "
                "model may be tested on a film that it has seen; see What the audit found, under Cohorts."
            )


def confound_doubts(audits: Mapping[str, AuditReport], best: Mapping[Any, Any], model: float) -> Iterator[str]:
    """Say in a sentence which column alone predicts the outcome as well as the best model does.

    Only a model of all training films is compared: the column had those of four fifths of the patients. Where centers
    are left out, the center is the same in all that is tested and can predict nothing there.

    Parameters
    ----------
    audits
        By the cohort's name.
    best
        The best model's row.
    model
        Its mean ROC-AUC; NaN where none is known, and then no column reaches it.
    """
    audit = audits.get(best["test_cohort"])
    if audit is None or best["regime"] != "full":
        return
    unable = {"clinical", *(["center"] if str(best["validation"]).startswith("loco") else [])}
    # A clinical column is no confound, and what is read off the pixels has no rank.
    strong = [
        row
        for row in audit.confounds
        if row["task"] == best["task"] and row["rank"] is not None and row["role"] not in unable
        if row["auc"] is not None and row["low"] > 0.5 and row["auc"] >= model
    ]
    if strong:
        first = min(strong, key=lambda row: row["rank"])
        auc, low, high = (f"{100 * first[key]:.1f}" for key in ("auc", "low", "high"))
        level = "patients" if best["level"] == "patient" else "films"
        others = f"; so {'does' if len(strong) == 2 else 'do'} {plural(len(strong) - 1, 'other column')}"
        yield (
            f"The column '{words(first['column'])}' alone predicts this outcome at least as well as the best model: "
            f"ROC-AUC × 100 of {auc} [{low}, {high}], learned from four fifths of all patients of "
            f"{words(best['test_cohort'])} and taken over films, beside {100 * model:.1f}, the mean over folds, taken "
            f"over {level}{others if len(strong) > 1 else ''}; see What the audit found, under Cohorts."
        )


def _findings(audits: Mapping[str, AuditReport]) -> list[Part]:
    rows = [
        {"cohort": name, "severity": one.severity, "check": one.check, "task": one.task, "films": one.films or None,
         "what": redacted(one.what, ()), "remedy": redacted(one.remedy, ())}
        for name, audit in audits.items()
        for one in audit.findings
    ]  # fmt: skip
    clean = [words(name) for name, audit in audits.items() if not audit.findings]
    parts: list[Part] = [Prose((f"The audit found nothing in {', '.join(clean)}.",))] if clean else []
    if rows:
        columns = [
            *_of_cohorts(audits),
            Column("severity", _severity),
            Column("check", text("check")),
            Column("task", text("task")),
            Column("found", text("what", "wrap")),
            Column("what to do", text("remedy", "wrap")),
            Column("films", number("films", 0, 1)),
        ]
        look = {"warning": "doubtful", "error": "doubtful"}
        notes = ["`prognobench cohort check` names the lines of the table."]
        parts.append(
            table("Findings; no interval", columns, rows, notes=notes, look=lambda row: look.get(row["severity"], ""))
        )
    return parts


def _severity(row: Mapping[Any, Any]) -> Cell:
    return Cell(row["severity"], {"error": 0.0, "warning": 1.0}.get(row["severity"], 2.0), "mark")


def _confounds(audits: Mapping[str, AuditReport], most: int | None = None) -> list[Part]:
    rows = [
        {**row, "cohort": name}
        for name, audit in audits.items()
        for task in dict.fromkeys(row["task"] for row in audit.confounds)
        for row in _first([row for row in audit.confounds if row["task"] == task], most)
    ]
    if not rows:
        return []
    columns = [
        *_of_cohorts(audits),
        Column("task", text("task")),
        Column("rank", number("rank", 0, 1)),
        Column("column alone", text("column")),
        Column("role", text("role")),
        Column("ROC-AUC", _auc, "× 100"),
    ]
    caption = "What goes with the outcome and is no disease; 95 % interval: DeLong, patients' films taken together"
    notes = [_RANKED, *([f"The first {most} columns of each task are shown."] if most else [])]
    return [table(caption, columns, rows, notes=notes)]


def _first(rows: Sequence[Mapping[str, Any]], most: int | None) -> Sequence[Mapping[str, Any]]:
    return rows if most is None else rows[:most]


def _auc(row: Mapping[Any, Any]) -> Cell:
    if row["auc"] is None:
        return Cell("too few patients", None, "number quiet")
    if row["auc"] <= 0.5:
        # Below a half, learning from other patients misled, which says as little as a half does.
        return Cell("chance", 50.0, "number quiet")
    return with_interval("auc", "low", "high")(row)


def _of_cohorts(audits: Collection[str]) -> list[Column]:
    return [Column("cohort", text("cohort"))] if len(audits) > 1 else []


def _counts(audit: AuditReport) -> list[Part]:
    if not audit.counts:
        return []
    columns = [
        Column("task", text("task")),
        Column("by", text("by")),
        Column("value", text("value")),
        Column("films", number("films", 0, 1)),
        Column("patients", number("patients", 0, 1)),
        Column("films of each class", lambda row: Cell(_of_classes(row, "films"))),
        Column("patients of each class", lambda row: Cell(_of_classes(row, "patients"))),
    ]
    notes = ["A patient with films of both classes counts in both."]
    return [table("What there is; no interval", columns, list(audit.counts), notes=notes)]


def _of_classes(row: Mapping[Any, Any], what: str) -> str:
    ending = f"_{what}"
    return ", ".join(f"{held:,} {key.removesuffix(ending)}" for key, held in row.items() if key.endswith(ending))


def _pairs(audit: AuditReport) -> list[Part]:
    if not audit.pairs:
        return []
    left = audit.n_pairs - len(audit.pairs)
    verb = "is" if left == 1 else "are"
    more = [Prose((f"{plural(left, 'more pair')} {verb} in what `cohort check --out` writes.",))] if left else []
    return [Heading("Suspected pairs"), Gallery(tuple(map(_exhibit, audit.pairs))), *more]


def _exhibit(pair: SuspectedPair) -> Exhibit:
    kind = "the same bytes" if pair.kind == "identical" else f"likeness {pair.likeness:.3f}"
    together = "one group" if pair.one_group else "in two groups"
    pictures = tuple(
        (f"data:image/png;base64,{picture}", f"film of {patient}")
        for patient, picture in zip(pair.patients, pair.pictures, strict=True)
    )
    caption = f"{' and '.join(dict.fromkeys(pair.patients))}: {kind}, {together}"
    return Exhibit(pictures, caption, "" if pair.one_group else "doubt")
