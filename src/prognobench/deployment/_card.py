"""`MODEL_CARD.md`: what a model's records say of it, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._description import Description
from ._evidence import FEWEST_PATIENTS

_NAMES = {
    "mcc": "MCC", "pr_auc": "PR-AUC", "roc_auc": "ROC-AUC", "balanced_accuracy": "balanced accuracy", "f1": "F1",
    "sensitivity": "sensitivity", "specificity": "specificity", "brier": "Brier score",
    "ece": "expected calibration error",
    "ppv": "PPV", "npv": "NPV", "log_loss": "log loss", "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
}  # fmt: skip
_CAUGHT = 0.9  # of altered copies, below which the flag is not to be relied on
# Shown as they are and not × 100: they are no shares.
_UNSCALED = ("log_loss", "calibration_slope", "calibration_intercept")
_NOT_A_DEVICE = (
    "This model is **not a medical device**. It was made for research, no authority has approved it, and no decision "
    "about a patient may rest on it."
)


def card_text(description: Description) -> str:
    """Return the card of a model in Markdown; every number in it is one of `model.json`.

    Scores are shown × 100 to one decimal, as in the report; log loss, calibration slope and intercept as they are, to
    two.
    """
    sections = (
        _head(description),
        _use(description),
        _cohort(description),
        _training(description),
        _scores(description),
        _controls(description),
        _calibration(description),
        _subgroups(description),
        _confounds(description),
        _licenses(description),
        _limits(description),
    )
    return "\n\n".join("\n\n".join(part for part in section if part) for section in sections) + "\n"


def standing(description: Description) -> str:
    """Say in a sentence whether the study's score for a model is above its controls."""
    return _standing(description.evidence)


def number(value: float | None, scale: float = 100.0, digits: int = 1) -> str:
    """Write a number as the card shows it; an en dash where there is none."""
    return "–" if value is None else f"{scale * value:.{digits}f}"


def metric_number(name: str, value: float | None) -> str:
    """Write a value of a metric as the card shows it."""
    return number(value, 1.0, 2) if name in _UNSCALED else number(value)


def _head(one: Description) -> Sequence[str]:
    synthetic = "**SYNTHETIC:** its films show no person; nothing here is about patients." if _synthetic(one) else ""
    return (
        f"# Model card: {_safe(one.outcome.task)}, {one.backbone.card.name} with {one.adaptation.label}",
        _NOT_A_DEVICE,
        synthetic,
        f"**{_standing(one.evidence)}**",
    )


def _standing(evidence: dict[str, Any]) -> str:
    """Say in a sentence whether the score is above its controls, in the report's sense."""
    compared = evidence["compared"]
    above = compared.get("above")
    if above is None:
        why = compared.get("undefined")
        return f"Whether its score is above its controls is not known{f' ({why})' if why else ''}."
    told = (
        f"{number(compared['difference'])} points of MCC × 100 to the control {compared['control']}, 95 % interval "
        f"{number(compared['ci_low'])} to {number(compared['ci_high'])}{_correction(compared, evidence['choice'])}"
    )
    if above:
        return f"Its score is above its controls ({told})."
    return (
        f"Its score is not above its controls ({told}): nothing shows that it reads disease, and not how the film was "
        "taken."
    )


def _correction(compared: dict[str, Any], choice: dict[str, Any]) -> str:
    """Say what becomes of the difference by the choice, or that nothing is corrected for it."""
    count = choice.get("n_candidates")
    if not count or count == 1:
        return ""
    if compared["is_corrected"]:
        return f"; corrected for having been chosen among {count}, {_corrected_difference(choice)}"
    if compared["is_best"]:
        return f"; not corrected for having been chosen among {count}"
    return f"; not corrected for {count} having been tried"


def _corrected_difference(choice: dict[str, Any]) -> str:
    return (
        f"{number(choice['corrected_difference'])}, 95 % interval {number(choice['corrected_difference_ci_low'])} to "
        f"{number(choice['corrected_difference_ci_high'])}"
    )


def _use(one: Description) -> Sequence[str]:
    outcome = one.outcome
    where = "; ".join(f"{_code(column)} is {_either(values)}" for column, values in outcome.where.items())
    rows = [
        ("predicts", f"P({_code(outcome.label)} is {_either(outcome.positive)}), against {_either(outcome.negative)}"),
        ("asked of", f"films where {where}" if where else "every film of the cohort"),
        ("input", "one chest film: gray, as PNG, JPEG, TIFF or DICOM (CR, DX)"),
        ("output", "a calibrated probability, a decision at the threshold, and whether the film looks like its films"),
        ("threshold", f"{one.film.threshold:.4f} of the calibrated probability"),
        ("chosen because", _safe(one.reason)),
    ]
    return (
        "## Intended use",
        "Research on films like those it was trained on: to repeat the study, to test it on others, to compare.",
        _table(("", ""), rows),
    )


def _cohort(one: Description) -> Sequence[str]:
    cohort = one.evidence["cohort"]
    task = cohort["task"]
    rows = [
        ("cohort", _safe(cohort["name"])),
        ("films, patients", f"{cohort['films']}, {cohort['patients']}"),
        ("left out as unreadable or duplicate", str(cohort["excluded"])),
        ("films, patients of the task", f"{task['films']}, {task['patients']}"),
    ]
    rows += [
        (f"of them {name}", f"{counted['films']} films, {counted['patients']} patients")
        for name, counted in task["classes"].items()
    ]
    rows += [
        (f"center {_safe(center)}", ", ".join(f"{count} {name}" for name, count in counts.items()))
        for center, counts in task["centers"].items()
        if center
    ]
    rows += [(f"not in the task: {_safe(reason)}", f"{count} films") for reason, count in task["left_out"].items()]
    return "## Cohort", _table(("", ""), rows)


def _training(one: Description) -> Sequence[str]:
    training, cell = one.training, one.cell
    long = f"{training['epochs']} epochs" if training["epochs"] else "solved to convergence, without epochs"
    elsewhere = "" if cell["test_cohort"] == cell["cohort"] else f", tested on {_safe(str(cell['test_cohort']))}"
    head = (
        f"the last {one.head.blocks} blocks' class tokens" if one.head.blocks > 1 else "the backbone's feature vector"
    )
    rows = [
        ("backbone", f"{one.backbone.card.name} (`{one.backbone.card.id}`, {one.backbone.card.architecture})"),
        ("strategy", f"{one.adaptation.label}, {training['trained_parameters']:,} trained numbers with the head"),
        ("protocol", _safe(str(cell["protocol"]))),
        ("validated by", _safe(str(cell["validation"])) + elsewhere),
        ("trained on", f"all {training['films']} films of {training['patients']} patients"),
        ("head", f"{head}{' and the mean patch token' if one.head.patch_mean else ''}"),
        ("how long", long),
        ("study", _safe(one.study)),
    ]
    return (
        "## Training",
        f"Head and length of training are what validation chose over the {training['jobs']} trainings of the study: "
        "the head with the lowest mean validation loss, and the median of its best epochs. No film was held out of the "
        "last training, so this model itself was tested on none.",
        _table(("", ""), rows),
    )


def _scores(one: Description) -> Sequence[str]:
    about, choice = one.evidence, one.evidence["choice"]
    unit = "patients (the mean score of a patient's films)" if about["level"] == "patient" else "films"
    rows = [
        (
            _NAMES.get(row["metric"], row["metric"]),
            metric_number(row["metric"], row["mean"]),
            metric_number(row["metric"], row["std"]),
            f"{metric_number(row['metric'], row['ci_low'])} to {metric_number(row['metric'], row['ci_high'])}"
            if row["ci_low"] is not None
            else "–",
            str(row["n"]),
        )
        for row in about["metrics"]
    ]
    return (
        "## Scores",
        f"Of the study's models on films that they did not see: means over {about['folds']} test folds, of {unit}, "
        "uncalibrated, at a threshold of 0.5. `predict` calibrates them and decides at another threshold; "
        "how good that is stands under Calibration. × 100, but for log loss and calibration slope and intercept.",
        _table(("metric", "mean", "std", "95 % interval", "folds"), rows),
        f"Kind of interval: {_safe(about['interval'])}." if about["interval"] else "No metric has an interval.",
        f"{about['missing_jobs']} jobs of the result are not done." if about["missing_jobs"] else "",
        _chosen(choice),
        f"Doubts: {_safe(about['doubts'])}" if about.get("doubts") else "",
    )


def _chosen(choice: dict[str, Any]) -> str:
    count = choice.get("n_candidates")
    if not count or choice.get("corrected") is None:
        why = choice.get("undefined")
        return f"A correction for choosing the best of several is not known{f' ({_safe(why)})' if why else ''}."
    if count == 1:
        return "It was the only result of its kind, so nothing is to be corrected for having been chosen."
    over = ""
    if choice.get("corrected_difference") is not None:
        over = f" Over its best control ({_safe(choice['control'])}) that is {_corrected_difference(choice)}."
    return (
        f"The best of the {count} results it stands among ({_safe(choice['model'])} {_safe(choice['strategy'])}) has a "
        f"mean MCC × 100 of {number(choice['naive'])}; corrected for having been chosen as the best, "
        f"{number(choice['corrected'])} (95 % interval {number(choice['corrected_ci_low'])} to "
        f"{number(choice['corrected_ci_high'])}).{over}"
    )


def _controls(one: Description) -> Sequence[str]:
    rows = [
        (
            _safe(row["strategy"]) + ("" if row["model"] in (None, "none") else f" ({_safe(row['model'])})"),
            number(row["mcc_mean"]),
            number(row["mcc_std"]),
            number(row["pr_auc_mean"]),
        )
        for row in one.evidence["controls"]
    ]
    own = next(row for row in one.evidence["metrics"] if row["metric"] == "mcc")
    ranked = next(row for row in one.evidence["metrics"] if row["metric"] == "pr_auc")
    rows.append(("**this model's kind**", number(own["mean"]), number(own["std"]), number(ranked["mean"])))
    return (
        "## Controls",
        "What needs no learned image content: the majority class, a regression on how and of whom the film was taken "
        "(metadata), and a network with random weights. × 100.",
        _table(("", "MCC", "std", "PR-AUC"), rows),
        _standing(one.evidence),
    )


def _calibration(one: Description) -> Sequence[str]:
    before = {row["metric"]: row for row in one.evidence["metrics"]}
    rows = [
        (
            _NAMES.get(row["metric"], row["metric"]),
            metric_number(row["metric"], before[row["metric"]]["mean"]),
            metric_number(row["metric"], row["mean"]),
        )
        for row in one.evidence["recalibrated"]
    ]
    lines = [
        (
            level,
            f"{found.slope:.4f}",
            f"{found.intercept:.4f}",
            f"{found.threshold:.4f}",
            f"{found.n} ({found.n_positive} positive)",
            *(number(found.at_threshold.get(name)) for name in ("mcc", "sensitivity", "specificity", "ppv", "npv")),
        )
        for level, found in one.calibration.items()
    ]
    wrong = one.film.slope <= 0
    return (
        "## Calibration",
        "In the study, before and after Platt's regression on each fold's validation films (means over folds):",
        _table(("", "before", "after"), rows),
        f"Of this model, from all out-of-fold predictions of {_safe(one.film.cohort)}"
        f"{_elsewhere(one)}: probability = 1 / (1 + exp(−(slope × logit(score) + "
        "intercept))), and the threshold with the highest MCC on them. What is told at the threshold (× 100) was "
        "measured where the threshold was chosen, and is a little too good.",
        _table(
            ("level", "slope", "intercept", "threshold", "cases", "MCC", "sensitivity", "specificity", "PPV", "NPV"),
            lines,
        ),
        "**The slope is not positive: out of fold its scores order the films the wrong way round.**" if wrong else "",
    )


def _elsewhere(one: Description) -> str:
    """Say that the calibration rests on other films than the training."""
    if one.film.cohort == str(one.cell["cohort"]):
        return ""
    return ", which it is tested on and not trained on, so that line and threshold know its films and labels"


def _subgroups(one: Description) -> Sequence[str]:
    rows = [
        (
            _safe(row["attribute"]),
            _safe(row["value"]),
            str(row["n_patients"]),
            str(row["n_positive"]),
            number(row["mcc"]),
            f"{number(row['mcc_ci_low'])} to {number(row['mcc_ci_high'])}" if row["mcc_ci_low"] is not None else "–",
            number(row["roc_auc"]),
            number(row["sensitivity"]),
            number(row["specificity"]),
        )
        for row in one.evidence["subgroups"]
    ]
    few = one.evidence["n_small_subgroups"]
    small = f"Not told: {few} of fewer than {FEWEST_PATIENTS} patients." if few else ""
    if not rows:
        return "## Subgroups", small or "The study knows no view, center, sex or age of its films."
    columns = ("", "", "patients", "positive", "MCC", "95 % interval", "ROC-AUC", "sensitivity", "specificity")
    return "## Subgroups", "× 100, of the study's models.", _table(columns, rows), small


def _confounds(one: Description) -> Sequence[str]:
    rows = [
        (
            _safe(row["column"]),
            row["role"],
            number(row["auc"]),
            f"{number(row['low'])} to {number(row['high'])}" if row["low"] is not None else "–",
        )
        for row in one.evidence["confounds"]
    ]
    found = [f"- {one['severity']}: {_safe(one['what'])}. {_safe(one['remedy'])}." for one in one.evidence["findings"]]
    return (
        "## Confounds found",
        "How well a column of the table alone predicts the outcome (ROC-AUC × 100, out of fold). A model can read such "
        "things off the film, and be right for the wrong reason.",
        _table(("column", "role", "ROC-AUC", "95 % interval"), rows) if rows else "No column predicts the outcome.",
        f"These are the {len(rows)} strongest of {count}."
        if (count := one.evidence["n_confounds"]) > len(rows)
        else "",
        "The audit of the cohort warns:" if found else "The audit of the cohort gives no warning; it may have notes.",
        "\n".join(found),
    )


def _licenses(one: Description) -> Sequence[str]:
    card = one.backbone.card
    rows = [
        ("weights", f"`{one.backbone.weights}`, {_safe(one.backbone.license)}"),
        ("their source", _safe(one.backbone.source)),
        ("their SHA-256", f"`{one.backbone.sha256}`"),
        ("pretraining", _safe(card.pretraining)),
        ("cite", _safe(card.citation)),
        ("made with", ", ".join(f"{name} {number}" for name, number in one.versions.items())),
    ]
    return (
        "## Licence of the weights",
        "The backbone's terms hold for what is derived from it, this model included.",
        _table(("", ""), rows),
    )


def _limits(one: Description) -> Sequence[str]:
    return (
        "## Limits",
        "\n".join(
            (
                f"- It knows the films of {_known(one)} alone. Elsewhere, machines, views, "
                "patients and the share of the positive differ; test it there first, and calibrate it anew.",
                f"- A film is called unlike where its features lie farther from those of the training films than "
                f"{100 * one.limit.share:.0f} % of {'held-out ones' if one.limit.held_out else 'themselves'} "
                f"({one.limit.films} films). {_caught(one)}What is not called so may "
                "still be unlike in ways that the features do not tell.",
                f"- {_made(one)}",
                "- It computes in float32, whatever precision it was trained in.",
                "- Films of one patient are scored one by one; a patient's probability is that of their mean score.",
            )
        ),
        _NOT_A_DEVICE,
    )


def _caught(one: Description) -> str:
    """Say which altered copies of training films the limit told from films."""
    caught = one.limit.caught
    if not caught:
        return "Whether that flags a film that is turned or inverted was not tried. "
    told = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in caught.items())
    missed = [kind for kind, share in caught.items() if share < _CAUGHT]
    doubt = f"**Do not rely on it for films of the kind: {', '.join(missed)}.** " if missed else ""
    return f"Of altered copies of training films it flags: {told}. {doubt}"


def _known(one: Description) -> str:
    trained = _safe(one.evidence["cohort"]["name"])
    return f"{trained} and, by its calibration, of {_safe(one.film.cohort)}" if _elsewhere(one) else trained


def _made(one: Description) -> str:
    """Say what raw films go through before they are films like those of the training."""
    if one.built is None:
        return (
            "How its training films were made from raw ones is not recorded. DICOM is read by the recipe `standard`; a "
            "picture is taken as it is."
        )
    steps = ", ".join(step.step for step in one.built.steps)
    dicom = (
        "A single DICOM file cannot go through it, since it has no table"
        if one.built.steps[0].step == "crop"
        else "DICOM goes through it, too"
    )
    return (
        f"Its training films were built from raw ones by the recipe {_code(one.built.name)} ({one.built.contrast} "
        f"contrast, {steps}, {one.built.bits} bits) before the study's preprocessing. {dicom}; a picture is taken for "
        "a film that was built already: build raw ones by the same recipe first (`prognobench cohort build`)."
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _either(values: Sequence[str]) -> str:
    return " or ".join(_code(value) for value in values)


def _code(text: str) -> str:
    """Return a text from outside as code, in which Markdown acts on two signs alone."""
    plain = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`"


def _synthetic(one: Description) -> bool:
    return bool(one.evidence["cohort"]["synthetic"])


def _safe(text: Any) -> str:
    """Return a text from outside on one line, with nothing that Markdown or HTML would act on."""
    plain = " ".join(str(text).split())
    for sign in ("\\", "|", "<", ">", "`", "*", "_", "[", "]"):
        plain = plain.replace(sign, f"\\{sign}" if sign not in "<>`" else {"<": "&lt;", ">": "&gt;", "`": "'"}[sign])
    return plain
