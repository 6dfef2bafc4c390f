"""The matrix of all backbones and strategies: what each pair trains, or why it cannot work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from prognobench.models import ModelCard, model_cards

from ._layer_faults import on_meta
from ._proof import prove as prove_pair
from ._registry import parse_strategies, strategy_families
from ._strategy import Strategy

if TYPE_CHECKING:
    from torch import nn

RANKS = (4, 8, 16)


def matrix_rows(prove: bool = False, models: list[str] | None = None) -> list[dict[str, Any]]:
    """Go through all backbones and strategies.

    Parameters
    ----------
    prove
        Put each pair through the proof, at full size with random weights; without it numbers are counted on the
        meta device, which needs no weights and takes seconds.
    models
        Ids of the backbones; all by default.

    Returns
    -------
    list of dict
        One row for each backbone, strategy, variant and rank of 4, 8, 16: `model, strategy, rank, variant,
        trainable_params, status, reason`. Strategies without rank or variant have None there. Numbers are those of
        the backbone without the head; `status` is `ok`, `refused` with the reason that a plan gives, or `failed`
        with what the proof found.
    """
    from prognobench.models import find_weights, load_backbone

    rows = []
    for card in model_cards().values():
        if models is not None and card.id not in models:
            continue
        backbone = load_backbone(card, find_weights(card, "random")) if prove else None
        rows += [_row(strategy, backbone, card) for strategy in matrix_strategies()]
    return rows


def matrix_lines(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Put the ranks of a pair on one line, as people read it: `model, strategy, variant, trained, status, reason`.

    Examples
    --------
    >>> row = {"model": "m", "strategy": "lora", "variant": "paper", "status": "ok", "reason": ""}
    >>> rows = [row | {"rank": 4, "trainable_params": 1000}, row | {"rank": 8, "trainable_params": 2000}]
    >>> matrix_lines(rows)[0]["trained"]
    '1,000 / 2,000'
    """
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        words = (row["model"], row["strategy"], row["variant"] or "", row["status"], row["reason"])
        trained = row["trainable_params"]
        lines.setdefault(words, []).extend([] if trained is None else [f"{trained:,}"])
    keys = ("model", "strategy", "variant", "status", "reason")
    return [dict(zip(keys, words, strict=True)) | {"trained": " / ".join(numbers)} for words, numbers in lines.items()]


def matrix_strategies() -> list[Strategy]:
    """Return every strategy with its variants, and with the ranks of the matrix where it has one."""
    return [strategy for name, family in strategy_families().items() for strategy in _settings_of(name, family)]


def _settings_of(name: str, family: type[Strategy]) -> Iterator[Strategy]:
    fields = family.Settings.model_fields
    axes: dict[str, list[Any]] = {"rank": list(RANKS)} if "rank" in fields else {}
    variants = get_args(fields["variant"].annotation) if "variant" in fields else ()
    axes = {"variant": list(variants), **axes} if variants else axes
    yield from parse_strategies([{name: axes}])


def _row(strategy: Strategy, backbone: nn.Module | None, card: ModelCard) -> dict[str, Any]:
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
    if backbone is None:
        try:
            plan = strategy.plan(on_meta(card), card)
        except Exception as error:  # a plug-in's plan may fail in any way that its `refuses` did not foresee
            return row | {"reason": str(error) or repr(error)}
        return row | {"trainable_params": plan.trainable, "status": "ok"}
    proof = prove_pair(strategy, backbone, card, images=1)
    reason = "; ".join(proof.failures())
    return row | {"trainable_params": proof.plan.trainable, "status": "failed" if reason else "ok", "reason": reason}
