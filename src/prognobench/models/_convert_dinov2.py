"""DINOv2 in the layout of Hugging Face transformers, plain or inside an ONNX graph, to timm's keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prognobench.frame import InputError, Problem, Problems

from ._cards import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = "backbone."


def from_onnx(file: Path, card: ModelCard) -> dict[str, Tensor]:
    """Read the backbone of an ONNX graph that was exported with a decoder behind it.

    The export folds the matrices of linear layers into nameless constants; the nodes that use them have kept the
    names of their layers. Every constant outside the decoder has to find its place.

    Raises
    ------
    InputError
        When the file is no ONNX graph, or its backbone lacks a tensor, or holds one too many; all at once.
    """
    import torch

    graph = _read(file)
    arrays = _arrays(graph, file)
    named = {name.removeprefix(_PREFIX): name for name in arrays if name.startswith(_PREFIX)}
    state = {key: torch.from_numpy(arrays[name].copy()) for key, name in named.items()}
    used = set(named.values())
    positions: dict[str, Tensor] = {}
    for node in graph.node:
        path = node.name.strip("/").replace("/", ".")
        if not path.startswith(_PREFIX):
            continue
        for name in node.input:
            if name not in arrays or name in named.values():
                continue
            tensor = torch.from_numpy(arrays[name].copy())
            used.add(name)
            if node.op_type == "MatMul":
                state[path.removeprefix(_PREFIX).removesuffix(".MatMul") + ".weight"] = tensor.T.contiguous()
            elif path.startswith(f"{_PREFIX}embeddings.") and node.op_type in ("Concat", "Reshape"):
                positions[node.op_type] = tensor
            else:
                used.discard(name)
    problems = Problems()
    for name in sorted(name for name in arrays if name not in used and not name.startswith("decoder.")):
        problems.add(file.name, f"the constant '{name}' has no place in {card.name}", "Fetch the file again")
    if positions.keys() == {"Concat", "Reshape"}:
        state["embeddings.position_embeddings"] = torch.cat([positions["Concat"], positions["Reshape"]], dim=1)
    return _from_transformers(state, file, problems)


def _read(file: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(str(file), load_external_data=False).graph
    except (DecodeError, OSError) as error:
        raise InputError([_unreadable(file, str(error))]) from None
    if not graph.node:
        raise InputError([_unreadable(file, "it holds no graph")])
    return graph


def _arrays(graph: Any, file: Path) -> dict[str, Any]:
    from onnx import numpy_helper

    try:
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    except (ValueError, TypeError) as error:
        raise InputError([_unreadable(file, str(error))]) from None


def _unreadable(file: Path, why: str) -> Problem:
    return Problem(file.name, f"it is not a whole ONNX file ({why})", "Fetch the file again")


_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
_QKV = re.compile(r"attention\.attention\.(query|key|value)\.(weight|bias)")
_PLACES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_LAYER_PLACES = {
    "attention.output.dense": "attn.proj",
    "norm1": "norm1",
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def _from_transformers(state: dict[str, Tensor], file: Path, problems: Problems) -> dict[str, Tensor]:
    import torch

    result: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        layer = _LAYER.fullmatch(key)
        third = _QKV.fullmatch(layer[2]) if layer else None
        if layer and third:
            thirds.setdefault(f"blocks.{layer[1]}.attn.qkv.{third[2]}", {})[third[1]] = tensor
        elif place := _place_in_layer(layer) if layer else _PLACES.get(key):
            result[place] = tensor
        else:
            problems.add(file.name, f"the tensor '{key}' has no place in timm's DINOv2", "Fetch the file again")
    for place, parts in thirds.items():
        if missing := [part for part in ("query", "key", "value") if part not in parts]:
            problems.add(file.name, f"'{place}' lacks its {' and '.join(missing)}", "Fetch the file again")
            continue
        result[place] = torch.cat([parts["query"], parts["key"], parts["value"]])
    problems.raise_if_any()
    return result


def _place_in_layer(layer: re.Match[str]) -> str | None:
    block, rest = f"blocks.{layer[1]}", layer[2]
    if scale := re.fullmatch(r"layer_scale([12])\.lambda1", rest):
        return f"{block}.ls{scale[1]}.gamma"
    module, _, kind = rest.rpartition(".")
    return f"{block}.{_LAYER_PLACES[module]}.{kind}" if module in _LAYER_PLACES else None
