"""The sections on how the numbers were made: cohorts, protocol, machines, holes, and how to make them again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from prognobench.evaluation import CONTROLS
from prognobench.models import model_cards
from prognobench.studies import Provenance

from .._tables import StudyTables
from ._parts import Cell, Column, Heading, Part, Prose, Section, Terms, number, plural, records, table, text, words

_MOST_NAMED = 40
_ENDING = r"\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|gif|webp)"
_FILM = re.compile(rf"[^\s'\"]+{_ENDING}\b", re.IGNORECASE)
# An apostrophe between letters, as in a name, is no quote.
_QUOTED_FILM = re.compile(rf"(?<!\w)(['\"])(?:(?!\1).|(?<=\w)'(?=\w))*{_ENDING}\1", re.IGNORECASE)
_START = r"(?:(?<![\w.])(?:[A-Za-z]:[\\/]|[\\/]{1,2}(?=[^\s\\/]))|(?<!\w)~[\\/])"
# A path may hold blanks: in quotes it goes to the closing one, else to the ending of its file, else to a blank.
_PATH = re.compile(
    rf"(?<=')(?:{_START}).*?(?='(?!\w)|$)|(?<=\")(?:{_START})[^\"]*"
    rf"|{_START}(?:[^'\"<>|\n]*?\.[A-Za-z]\w{{0,7}}(?=\.?(?:$|[\s'\",;:)\]]))|[^\s'\"<>|:;,]+)"
)
_ONE_WORD = re.compile(r"[\w.@+-]+")


def cohort_section(tables: StudyTables, names: Collection[str]) -> Section:
    """Count what the study's tasks hold, without a name."""
    columns = [
        Column("cohort", text("cohort")),
        Column("task", text("task")),
        Column("films", number("n_films", 0, 1)),
        Column("patients", number("n_patients", 0, 1)),
        Column("positive films", number("n_positive_films", 0, 1)),
        Column("positive patients", number("n_positive_patients", 0, 1), "with any positive film"),
        Column("% positive", number("share_positive", 1), "of patients where they have several films, else of films"),
        Column("centers", number("n_centers", 0, 1)),
    ]
    notes = ["Counted where films were validated or tested; training films alone are not."]
    films = int((tables.sizes["n_all_films"] - tables.sizes["n_films"]).sum()) if len(tables.sizes) else 0
    if films:
        notes.append(f"{plural(films, 'more film')} trained and were never tested.")
    parts: list[Part] = [table("Counts; no interval", columns, records(tables.sizes), notes=notes)]
    if len(tables.cohorts):
        shown = [Column(name, text(name)) for name in ("cohort", "task", "class", "center")]
        shown += [Column(name, number(name, 0, 1)) for name in ("films", "patients", "groups")]
        shown.append(Column("not used because", lambda row: Cell(redacted(row["left_out"], names), None, "wrap")))
        notes = [
            "Groups are films that stay together in a split: those of one patient, or of patients who share a film."
        ]
        parts.append(table("All that the cohorts hold; no interval", shown, records(tables.cohorts), notes=notes))
    if tables.synthetic:
        named = ", ".join(map(words, tables.synthetic))
        parts.insert(0, Prose((f"{named}: SYNTHETIC films. Nothing here is about patients.",), look="doubt"))
    return Section("cohorts", "Cohorts", tuple(parts))


def protocol_section(made: Provenance) -> Section:
    """Show every resolved value of the study."""
    parts: list[Part] = []
    if made.overrides:
        parts.append(Prose(tuple(f"Laid over the study file: {redacted(one, ())}" for one in made.overrides)))
    seeds = ", ".join(str(seed) for seed in made.seeds) or "none"
    parts.append(Prose((f"{plural(made.splits, 'split')}; seeds of training: {seeds}.",)))
    for recipe in made.recipes:
        labels = ", ".join(words(label) for label in recipe["strategies"])
        title = f"{words(recipe['protocol'])} for {labels} ({plural(recipe['jobs'], 'job')})"
        parts.append(Terms(flat(recipe["settings"]) or (("settings", "none: nothing is trained"),), title, folded=True))
    for strategy in made.strategies:
        on = f" on {', '.join(map(words, strategy['targets']))}" if strategy.get("targets") else ""
        title = f"Strategy {words(strategy['strategy'])}{on} ({plural(strategy['jobs'], 'job')})"
        parts.append(Terms(flat(strategy["settings"]), title, folded=True))
    for pixels in made.preprocessing:
        title = f"From film to pixels, {pixels['settings'].get('size')} a side ({plural(pixels['jobs'], 'job')})"
        parts.append(Terms(flat(pixels["settings"]), title, folded=True))
    for task in made.tasks:
        classes = ", ".join(words(name) for name in task["classes"] or ())
        parts.append(Terms((("classes", classes),), f"Task {words(task['task'])} of {words(task['cohort'])}"))
    return Section("protocol", "Protocol", tuple(parts))


def flat(settings: Mapping[str, Any], before: str = "") -> tuple[tuple[str, str], ...]:
    """Return nested settings as dotted names with their values."""
    pairs: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{before}{name}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            for place, one in enumerate(value, start=1):
                shown = one if isinstance(one, Mapping) else {"value": one}
                pairs += flat(shown, f"{before}{name} {place}.")
        else:
            pairs.append(
                (words(f"{before}{name}"), redacted(value if isinstance(value, str) else json.dumps(value), ()))
            )
    return tuple(pairs)


def environment_section(made: Provenance) -> Section:
    """Show versions, hardware and weights."""
    parts: list[Part] = []
    for place, one in enumerate(made.environments, start=1):
        several = f" {place} of {len(made.environments)}" if len(made.environments) > 1 else ""
        title = f"Machine and versions{several} ({plural(one['jobs'], 'job')})"
        parts.append(Terms(flat({**(one["device"] or {}), **(one["versions"] or {})}), title))
    columns = [
        Column("model", text("model")),
        Column("weights", text("weights")),
        Column("licence", text("licence")),
        Column("pretraining", text("pretraining", "wrap")),
        Column("SHA-256", text("sha256", "hash")),
    ]
    rows = [one | _card(one) for one in made.models]
    parts.append(table("Weights of the models; no interval", columns, rows))
    return Section("environment", "Environment", tuple(parts))


def _card(model: Mapping[str, Any]) -> dict[str, str]:
    if str(model["weights"]).startswith("random"):
        return {"licence": "none", "pretraining": "none: random weights"}
    card = model_cards().get(str(model["model"]).partition("@")[0])
    if card is None:
        return {"licence": "see timm", "pretraining": "no card"}
    license = next((one.license for one in card.weights if one.id == model["weights"]), card.license)
    return {"licence": license, "pretraining": card.pretraining}


def holes_section(made: Provenance, names: Collection[str]) -> Section:
    """Show what is not done, what failed with which error, and what was left out at planning."""
    status = made.status
    parts: list[Part] = [Prose((f"{status.done:,} of {plural(status.planned, 'planned job')} are done.",))]
    if status.failed:
        columns = [Column("job", text("job", "wrap")), Column("tries", number("tries", 0, 1)),
                   Column("error", text("error", "wrap")), Column("key", text("key", "hash"))]  # fmt: skip
        rows = [
            {"job": job.title, "tries": attempts, "error": redacted(error, names), "key": job.key[:16]}
            for job, error, attempts in status.failed
        ]
        parts += [Heading("Failed"), table("Failed jobs; paths and names of films are masked", columns, rows)]
    if status.missing:
        listed = [job.title for job in status.missing[:_MOST_NAMED]]
        more = len(status.missing) - len(listed)
        parts += [Heading("Not run yet"), Prose((*listed, *([f"and {more:,} more"] if more else [])), points=True)]
    if status.left_out:
        columns = [Column(name, text(name)) for name in ("cohort", "task", "model", "strategy")]
        columns += [Column("jobs", number("jobs", 0, 1)), Column("why", text("reason", "wrap"))]
        blank = dict.fromkeys(("cohort", "task", "model", "strategy", "reason"), "") | {"jobs": None}
        left = [blank | pair | {"reason": redacted(pair.get("reason", ""), names)} for pair in status.left_out]
        parts += [Heading("Left out at planning"), table("Pairs that cannot work, with the reason", columns, left)]
    return Section("holes", "Holes and failures", tuple(parts))


def redacted(told: Any, names: Collection[str]) -> str:
    """Return a text from outside without paths and without names of films and patients.

    Parameters
    ----------
    told
        The text.
    names
        The names of the study's films and patients.

    Examples
    --------
    >>> redacted("the film 'a/b c.png' of P12 and Doe, John in /data/my films/x.csv is gone", {"P12", "Doe, John"})
    "the film '…' of … and … in … is gone"
    """
    shown = words(told)
    for name, pattern in _of_several_words(frozenset(names)):
        if name in shown:
            shown = pattern.sub("…", shown)
    shown = _QUOTED_FILM.sub("'…'", shown)
    shown = _FILM.sub("…", _PATH.sub("…", shown))
    return _ONE_WORD.sub(lambda found: "…" if found[0] in names or found[0].rstrip(".") in names else found[0], shown)


@lru_cache(maxsize=4)
def _of_several_words(names: frozenset[str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return the names that are more than one word, the longest first, with patterns that keep to their ends."""
    shown = {words(name) for name in names}
    odd = sorted((name for name in shown if not _ONE_WORD.fullmatch(name)), key=lambda name: (-len(name), name))
    return tuple(
        (name, re.compile(rf"{_edge(name[0], '<')}{re.escape(name)}{_edge(name[-1], '')}"))
        for name in odd
        # What holds no letter and no digit names nobody.
        if re.search(r"\w", name)
    )


def _edge(sign: str, behind: str) -> str:
    return rf"(?{behind}!\w)" if re.match(r"\w", sign) else ""


_WHERE = {
    "fold_metrics": ("fold_metrics", "one job: every metric of its test fold; job is the record's key"),
    "summary": ("summarize", "mean, std and interval over folds of each model and strategy"),
    "intervals": ("intervals", "the three intervals of each mean"),
    "controls": ("compare_with_controls", "difference to the best control"),
    "pairwise_tests": ("pairwise_tests", "every pair within a block"),
    "task_tests": ("task_tests", "pairs over tasks and folds"),
    "ranking": ("ranking", "ranks, their intervals, groups of ties"),
    "selection": ("selection", "the winner, naive and corrected"),
    "subgroups": ("subgroups", "metrics within view, center, sex, age"),
    "reliability": ("reliability", "bins of the reliability diagram"),
    "decision": ("decision_map", "which strategy, on which evidence"),
    "conclusions": ("conclusions", "the published conclusions"),
    "sizes": ("task_sizes", "films, patients and positives of each task"),
}


def reproduce_section(tables: StudyTables, made: Provenance) -> Section:
    """Say how each number is made again."""
    overrides = "".join(f" {shlex.quote(redacted(one, ()))}" for one in made.overrides)
    done = tables.jobs.loc[tables.jobs["state"] == "done", "job"]
    key = str(done.iloc[0]) if len(done) else "<job key>"
    steps = (
        f"Run the study again into the same folder: `prognobench run STUDY.yaml --results DIR{overrides}`; "
        "what is done is kept.",
        f"Compute every table and figure again: `prognobench report DIR --study {words(tables.study)} --out OUT`.",
        "Follow one number down: its row in the CSV below, its jobs by the keys in fold_metrics.csv (column `job`), "
        f"and the record `DIR/runs/{key[:12]}…/` with predictions, spec, cost and environment, each sealed by SHA-256.",
        "Tables in a paper's form (MCC × 100, mean ± std) are in the folder tables, as CSV, Markdown and LaTeX.",
        "In Python: `predictions, jobs = prognobench.studies.read_results(DIR)`, then the function named below.",
    )
    columns = [
        Column("file", lambda row: Cell(f"{row['name']}.csv", row["name"], "hash")),
        Column("rows", number("rows", 0, 1)),
        Column("what a row is", text("told", "wrap")),
        Column("function of prognobench.evaluation", lambda row: Cell(row["function"], row["function"], "hash")),
    ]
    rows = [
        {"name": name, "rows": len(frame), "told": _WHERE[name][1], "function": _WHERE[name][0]}
        for name, frame in tables.files()
        if name in _WHERE
    ]
    return Section("reproduce", "How to make each number again", (
        Prose(steps, points=True),
        table("Tables beside this page; their columns stand in docs/results.md", columns, rows),
    ))  # fmt: skip


GLOSSARY = (
    ("film, patient level", "Numbers count films, or patients with the mean score of their films. Where patients have "
     "several films the patient is what counts, and the tables say so."),
    ("MCC", "Matthews' correlation of prediction and truth, shown × 100: 100 is always right, 0 no better than chance, "
     "below 0 worse. It does not reward calling everyone healthy."),
    ("PR-AUC, ROC-AUC", "How well the scores put the sick before the healthy, over all thresholds, × 100. By chance "
     "ROC-AUC is 50, and PR-AUC the share of the sick."),
    ("sensitivity, specificity", "The share of the sick that are called sick, and of the healthy that are called "
     "healthy, × 100."),
    ("fold", "The patients are dealt into parts; each part is tested once by a model trained on the others. Numbers "
     "are means over these test folds, never of patients that a model was trained on."),
    ("kfold k", "Validation by k folds: every patient is tested exactly once."),
    ("std, ±", "Standard deviation: how far the folds lie from their mean. It is no interval of the mean."),
    ("control", "A prediction that needs no learned image content: the majority class, a regression on view, center, "
     "age, sex and image size (metadata), or a network with random weights. A model that is not above its controls may "
     "have learned nothing of disease."),
    ("95 % interval", "The range in which the true value lies in 95 of 100 studies like this one, if its assumptions "
     "hold. Each table's title says which interval it shows."),
    ("bootstrap", "Patients are drawn again and again, with repeats, and the number is computed on each draw; an "
     "interval shows how far it moves when other patients of the same kind are tested."),
    ("cannot be told apart", "With these patients the difference could be chance. It does not mean equal."),
    ("top group", "The best model and all that cannot be told apart from it: among those choose the cheapest."),
    ("naive, corrected", "The best of many on the same patients looks better than it is: naive is the score it shows "
     "on them, corrected what it would show on new ones. A lone candidate was not chosen, and both are the same."),
    ("strategy", "How a pretrained network is adapted: lp trains only a last layer, fft all of it, lora, vera, ia3 and "
     "bitfit (PEFT) a few added or chosen numbers."),
    ("protocol", "How training is done: epochs, rates, batch size. The protocol quick trains briefly, for a first "
     "look; standard is for results to report."),
    ("seed", "The number that starts the chance in training: order of films, first weights. The same seed gives the "
     "same run; several show how much of a difference is such chance."),
    ("regime", "full: all training films; few_shot k: k films of each class."),
)  # fmt: skip


def unused_controls(tables: StudyTables) -> Sequence[str]:
    """Return the controls that were not run."""
    return [name for name in CONTROLS if name not in set(tables.summary["strategy"])]


def with_stems(names: Iterable[str]) -> frozenset[str]:
    """Return names of films and patients, and of those that are paths the last part with and without its ending."""
    known: set[str] = set()
    for name in names:
        last = re.split(r"[\\/]", name)[-1]
        known |= {name, name.rpartition(".")[0], last, last.rpartition(".")[0]}
    return frozenset(name for name in known if name)
