"""Which modules of a backbone a strategy changes: chosen by role, down to slices of a fused matrix."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prognobench.models import in_catalog

from ._layer_faults import layer_faults, on_meta

if TYPE_CHECKING:
    from torch import nn

    from prognobench.models import ModelCard

VIT_ROLES = ("attention.qkv", "mlp.fc1", "mlp.fc2")
_PARTS = ("q", "k", "v")
# VeRA, whose modules are the fewest, takes the attention-in matrices of transformers: a fifth to a quarter of them.
_LEAST_SHARE = 0.1
_SLICE = re.compile(r"(?P<role>[\w.]+)\[(?P<part>\w+)\]")


@dataclass(frozen=True)
class Site:
    """A layer, or some output rows of it, that plays one of the roles asked for.

    Attributes
    ----------
    name
        Of the module in the timm model.
    role
        As it was asked for: `mlp.fc1`, `attention.qkv[k]`, …
    layer
        The linear map or convolution.
    rows
        First output row and the one behind the last, for a slice; None for the whole layer.
    """

    name: str
    role: str
    layer: nn.Linear | nn.Conv2d
    rows: tuple[int, int] | None

    @property
    def inputs(self) -> int:
        """Numbers that one output is computed from."""
        return self.layer.weight[0].numel()

    @property
    def outputs(self) -> int:
        """Output rows or channels."""
        return self.layer.weight.shape[0] if self.rows is None else self.rows[1] - self.rows[0]


def sites(backbone: nn.Module, card: ModelCard, roles: Sequence[str], title: str) -> list[Site]:
    """Find all places of some roles, in the model's order.

    Grouped convolutions are left out: each of their kernels sees one group of channels only.

    Raises
    ------
    ValueError
        A role has no place, or fewer than the transformer has blocks; a block has no place, or all places together
        hold less than a tenth of the weights.
    """
    from torch import nn

    found: list[Site] = []
    for name, module in backbone.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d) or getattr(module, "groups", 1) != 1:
            continue
        for role in roles:
            match = _SLICE.fullmatch(role)
            if _plays(card, name, match["role"] if match else role):
                rows = _rows(card, match["role"], match["part"], module.weight.shape[0]) if match else None
                found.append(Site(name, role, module, rows))
    for role in roles:
        count = sum(site.role == role for site in found)
        at_least = card.blocks if card.family in ("vit", "swin") and card.blocks and role != "conv" else 1
        if count < at_least:
            raise ValueError(f"{title} finds {count} modules of the role {role} in {card.id}, not {at_least}")
    if missed := _missed(backbone, card, {site.name for site in found}):
        raise ValueError(f"{title} would adapt little of {card.id}: {missed}")
    return found


def default_roles(card: ModelCard, on_vit: tuple[str, ...]) -> tuple[str, ...]:
    """Return a transformer's roles where all its blocks have them, else all dense convolutions and linear maps."""
    if all(role.partition("[")[0] in card.roles for role in on_vit) and _in_every_block(card, on_vit):
        return on_vit
    return tuple(role for role in ("conv", "linear") if role in card.roles)


def paper_roles(card: ModelCard, strategy: str, on_vit: tuple[str, ...]) -> tuple[str, ...]:
    """Return the list of the benchmark's authors for a model, or what they use on plain ViTs where they name none."""
    if card.paper:
        return card.paper.get(strategy, ())
    fits = card.family in ("vit", "swin") and all(role in card.roles for role in on_vit)
    return on_vit if fits else ()


def refuses_roles(card: ModelCard, roles: tuple[str, ...], on_vit: tuple[str, ...]) -> str | None:
    """Say why a strategy cannot work at some roles of a model, or None."""
    if not roles:
        wanted = sorted({role.partition("[")[0] for role in on_vit})
        return f"the card of {card.id} names neither {', '.join(wanted)} nor conv or linear"
    if in_catalog(card):
        return None  # proved; a plan of many models need not build each of them
    asked = {role.partition("[")[0] for role in roles}
    try:
        faults = layer_faults(card)
    except ValueError as error:
        return f"{card.id} cannot be tried: {error}"
    return next((fault for name, fault in faults.items() if any(_plays(card, name, r) for r in asked)), None)


def _plays(card: ModelCard, name: str, role: str) -> bool:
    """Tell whether a module is of a role; it may be of several, such as `mlp.fc1` and `linear`."""
    pattern = card.roles.get(role)
    return pattern is not None and re.fullmatch(pattern, name) is not None


def _in_every_block(card: ModelCard, roles: tuple[str, ...]) -> bool:
    """Tell whether each block of a model has a linear map of each role: mixed networks have some in some blocks."""
    from torch import nn

    if card.family in ("vit", "swin"):
        return True  # by definition; whoever plans on such a model counts them
    backbone = on_meta(card)
    linear = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    blocks = _blocks(backbone, card)
    return bool(blocks) and all(
        not _blocks_without(blocks, {name for name in linear if _plays(card, name, role.partition("[")[0])})
        for role in roles
    )


def _missed(backbone: nn.Module, card: ModelCard, adapted: set[str]) -> str | None:
    """Say what of a model an adapter would leave out, where that is too much to be called by its name."""
    from torch import nn

    layers = {name: part for name, part in backbone.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    # Blocks of depthwise convolutions and norms alone have nothing to adapt.
    dense = {name for name, layer in layers.items() if getattr(layer, "groups", 1) == 1}
    blocks = [block for block in _blocks(backbone, card) if not _blocks_without([block], dense)]
    if without := _blocks_without(blocks, adapted):
        return f"nothing in {len(without)} of its {len(blocks)} blocks, first {without[0]}"
    behind_stem = [name for name in layers if not any(_plays(card, name, role) for role in ("stem", "patch_embed"))]
    whole = sum(layers[name].weight.numel() for name in behind_stem)
    share = sum(layers[name].weight.numel() for name in adapted) / max(whole, 1)
    return (
        None if share >= _LEAST_SHARE else f"modules with {share:.1%} of its weights, the least is {_LEAST_SHARE:.0%}"
    )


def _blocks(backbone: nn.Module, card: ModelCard) -> list[str]:
    return [name for name, _ in backbone.named_modules() if _plays(card, name, "block")]


def _blocks_without(blocks: list[str], names: set[str]) -> list[str]:
    return [block for block in blocks if not any(name == block or name.startswith(f"{block}.") for name in names)]


def _rows(card: ModelCard, role: str, part: str, outputs: int) -> tuple[int, int]:
    if part in card.fused.get(role, {}):
        return card.fused_rows(role, part, outputs)
    # A card that is read off a timm model of several widths has no rows; timm keeps q, k, v in this order, of one size.
    if role == "attention.qkv" and part in _PARTS and outputs % len(_PARTS) == 0:
        size = outputs // len(_PARTS)
        index = _PARTS.index(part)
        return index * size, (index + 1) * size
    raise ValueError(f"the card of {card.id} does not say which rows of {role} are {part}")
