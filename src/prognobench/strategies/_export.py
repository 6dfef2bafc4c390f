"""Adapters for anyone's use: the files that plain HF peft loads onto the timm model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prognobench.frame import folder_in_one_step
from prognobench.models import write_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ._layers import OutputAdapted


def export_peft(module: nn.Module, folder: Path) -> None:
    """Write an adapter as `adapter_config.json` and `adapter_model.safetensors`.

    `peft.PeftModel.from_pretrained(backbone, folder)` onto the timm model with the same weights then computes the
    same. LoRA at slices of a fused matrix is written as the equal LoRA of the whole matrix: with s slices its rank is
    s times as high, A holds the slices' A above one another, and B is block-diagonal.

    Parameters
    ----------
    module
        What `apply` of `lora`, `vera` or `ia3` returned, trained or not.
    folder
        A new folder.

    Raises
    ------
    ValueError
        The module holds no adapter, or one that peft cannot express: VeRA or IA³ at slices of a fused matrix, VeRA on
        convolutions.
    """
    from peft import PeftModel

    config, state = _by_peft(module) if isinstance(module, PeftModel) else _equal_lora(module)
    config.inference_mode = True
    with folder_in_one_step(Path(folder)) as draft:
        config.save_pretrained(draft)
        write_tensors(draft / "adapter_model.safetensors", state)


def _by_peft(module: Any) -> tuple[Any, dict[str, Tensor]]:
    import copy

    from peft import get_peft_model_state_dict

    state = {name: tensor.detach().cpu() for name, tensor in get_peft_model_state_dict(module).items()}
    return copy.copy(module.peft_config["default"]), state


def _equal_lora(module: nn.Module) -> tuple[Any, dict[str, Tensor]]:
    from peft import LoraConfig

    from ._layers import LowRank, own_layers

    layers: dict[str, Any] = dict(own_layers(module))
    if not layers:
        raise ValueError("there is no adapter to export: only lora, vera and ia3 put layers in that peft knows")
    kinds = {type(term).__name__ for layer in layers.values() for term in getattr(layer, "terms", {"": layer}).values()}
    if kinds != {LowRank.__name__}:
        raise ValueError(
            "peft cannot express this adapter: it has LoRA for slices of a fused matrix, as LoRA of a higher rank, but "
            "neither VeRA nor IA³ for slices, nor VeRA for convolutions. Export the merged backbone instead"
        )
    state: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    scale = dropout = 0.0
    for name, layer in layers.items():
        above, blocks, scale, dropout = _whole(layer)
        state[f"base_model.model.{name}.lora_A.weight"] = above
        state[f"base_model.model.{name}.lora_B.weight"] = blocks
        ranks[name] = above.shape[0]
    config = LoraConfig(
        r=max(ranks.values()),
        rank_pattern=ranks,
        lora_alpha=scale * max(ranks.values()),
        alpha_pattern={name: scale * rank for name, rank in ranks.items()},
        lora_dropout=dropout,
        target_modules=list(layers),
        bias="none",
    )
    return config, state


def _whole(layer: OutputAdapted) -> tuple[Tensor, Tensor, float, float]:
    """Return A, B, scale and dropout of the LoRA of the whole matrix that equals those of its slices."""
    import torch

    terms: list[Any] = list(layer.terms.values())
    above = torch.cat([term.lora_A.detach().cpu() for term in terms])
    blocks = torch.zeros(layer.base_layer.weight.shape[0], above.shape[0])
    reached = 0
    for term in terms:
        rank = term.lora_A.shape[0]
        blocks[term.rows[0] : term.rows[1], reached : reached + rank] = term.lora_B.detach().cpu()
        reached += rank
    return above, blocks, float(terms[0].scale), float(terms[0].dropout.p)
