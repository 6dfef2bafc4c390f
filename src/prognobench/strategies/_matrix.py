"""The matrix of all backbones and strategies: what each pair trains, or why it cannot work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from prognobench.frame import write_in_one_step
from prognobench.models import ModelCard, model_card, model_cards

from ._layer_faults import on_meta
from ._proof import look_at
from ._proof import prove as prove_pair
from ._registry import parse_strategies, strategy_families
from ._strategy import Strategy

RANKS = (4, 8, 16)
PROVED = Path(__file__).with_name("proved.json")


def matrix_rows(prove: bool = False, models: list[str] | None = None) -> list[dict[str, Any]]:
    """Go through all backbones and strategies.

    Parameters
    ----------
    prove
        Put each pair through the proof, at full size with random weights, which takes minutes; without it numbers are
        counted on the meta device, which needs no weights and takes seconds.
    models
        Ids of the backbones or their other names, `timm:NAME` among them; all of `model_cards` by default.

    Returns
    -------
    list of dict
        One row for each backbone, strategy, variant and rank of 4, 8, 16: `model, strategy, rank, variant,
        trainable_params, status, reason, proved`. Strategies without rank or variant have None there. Numbers are
        those of the backbone without the head; `status` is `ok`, `refused` with the reason that a plan gives, or
        `failed` with what the proof found. `proved` tells whether the proof was passed with as many numbers: now, or
        without `prove` when the package's own record of it was written, which the slow tests check. A plug-in's pair
        is not in that record.

    Raises
    ------
    InputError
        A model is not known, or an installed package offers a model or a strategy that is none.
    """
    recorded = proved_pairs()
    rows = []
    for card in model_cards().values() if models is None else map(model_card, models):
        if prove:
            rows += proved_rows(card, matrix_strategies())
            continue
        for strategy in matrix_strategies():
            row = _row(strategy, card)
            known = recorded.get(card.id, {}).get(_pair(row))
            rows.append(row | {"proved": known is not None and known == row["trainable_params"]})
    return rows


def proved_pairs() -> dict[str, dict[str, int]]:
    """Return the recorded proofs: model to strategy, variant and rank to the numbers that were trained."""
    found: dict[str, dict[str, int]] = json.loads(PROVED.read_text(encoding="utf-8"))
    return found


def write_proved_pairs(rows: Sequence[Mapping[str, Any]], path: Path = PROVED) -> None:
    """Record the proofs of some models' rows in place of those that are recorded for these models."""
    pairs = {model: pairs for model, pairs in proved_pairs().items() if model in model_cards()}
    pairs |= {model: {} for model in {row["model"] for row in rows}}
    for row in rows:
        if row["proved"]:
            pairs[row["model"]][_pair(row)] = row["trainable_params"]
    text = json.dumps(dict(sorted(pairs.items())), indent=1)
    write_in_one_step(path, text + "\n")


def matrix_lines(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Put the ranks of a pair on one line: `model, strategy, variant, trained, status, reason, proved` (yes or no).

    Examples
    --------
    >>> row = {"model": "m", "strategy": "lora", "variant": "paper", "status": "ok", "reason": "", "proved": True}
    >>> rows = [row | {"rank": 4, "trainable_params": 1000}, row | {"rank": 8, "trainable_params": 2000}]
    >>> matrix_lines(rows)[0]["trained"]
    '1,000 / 2,000'
    """
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        proved = "" if row["status"] == "refused" else "yes" if row["proved"] else "no"
        words = (row["model"], row["strategy"], row["variant"] or "", row["status"], row["reason"], proved)
        trained = row["trainable_params"]
        lines.setdefault(words, []).extend([] if trained is None else [f"{trained:,}"])
    keys = ("model", "strategy", "variant", "status", "reason", "proved")
    return [dict(zip(keys, words, strict=True)) | {"trained": " / ".join(numbers)} for words, numbers in lines.items()]


def _pair(row: Mapping[str, Any]) -> str:
    return " ".join(str(row[key]) for key in ("strategy", "variant", "rank") if row[key] is not None)


def matrix_strategies() -> list[Strategy]:
    """Return every strategy with its variants, and with the ranks of the matrix where it has one."""
    return [strategy for name, family in strategy_families().items() for strategy in _settings_of(name, family)]


def _settings_of(name: str, family: type[Strategy]) -> Iterator[Strategy]:
    fields = family.Settings.model_fields
    axes: dict[str, list[Any]] = {"rank": list(RANKS)} if "rank" in fields else {}
    variants = get_args(fields["variant"].annotation) if "variant" in fields else ()
    axes = {"variant": list(variants), **axes} if variants else axes
    yield from parse_strategies([{name: axes}])


def proved_rows(card: ModelCard, strategies: Sequence[Strategy]) -> list[dict[str, Any]]:
    """Prove strategies on one backbone: what one leaves is what the next one gets, as in a worker."""
    from prognobench.models import find_weights, load_backbone

    rows = []
    backbone = before = None
    for strategy in strategies:
        row = _row(strategy, card)
        if row["status"] == "ok":
            if backbone is None:
                backbone = load_backbone(card, find_weights(card, "random"))
                before = look_at(backbone, card, images=1)
            proof = prove_pair(strategy, backbone, card, before=before)
            reason = "; ".join(proof.failures())
            row |= {"trainable_params": proof.plan.trainable, "status": "failed" if reason else "ok", "reason": reason}
            # Nobody knows what a strategy without proof leaves.
            backbone = None if reason else backbone
        rows.append(row | {"proved": row["status"] == "ok"})
    return rows


def _row(strategy: Strategy, card: ModelCard) -> dict[str, Any]:
    row = {
        "model": card.id,
        "strategy": strategy.card.name,
        "rank": getattr(strategy.settings, "rank", None),
        "variant": getattr(strategy.settings, "variant", None),
        "trainable_params": None,
        "status": "refused",
        "reason": strategy.refuses(card) or "",
    }
    if row["reason"]:
        return row
    try:
        plan = strategy.plan(on_meta(card), card)
    except Exception as error:  # a plug-in's plan may fail in any way that its `refuses` did not foresee
        return row | {"reason": str(error) or repr(error)}
    return row | {"trainable_params": plan.trainable, "status": "ok"}
