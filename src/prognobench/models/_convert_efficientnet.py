"""EfficientNet under the names of the `efficientnet-pytorch` package, to timm's keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from prognobench.frame import Problems

from ._cards import ModelCard
from ._files import read_torch_file

if TYPE_CHECKING:
    from torch import Tensor

_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
# A block that does not expand has no first pair, and timm counts from the first that is there.
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_KEY = re.compile(r"(?:_blocks\.(\d+)\.)?(\w+)\.(weight|bias|running_mean|running_var|num_batches_tracked)")


def from_pytorch(file: Path, card: ModelCard) -> dict[str, Tensor]:
    """Read a state dict with `_blocks.0._depthwise_conv.weight`-style names; the blocks are numbered throughout.

    Raises
    ------
    InputError
        When the file is not a plain state dict, or holds names that this layout does not have; all at once.
    """
    from ._build import expected_tensors

    stages = sorted(
        {(int(m[1]), int(m[2])) for key in expected_tensors(card) if (m := re.match(r"blocks\.(\d+)\.(\d+)\.", key))}
    )
    state = read_torch_file(file)
    expanding = {int(m[2]) for key in state if (m := re.match(r"(_blocks\.(\d+))\._expand_conv\.", key))}
    result: dict[str, Tensor] = {}
    problems = Problems()
    for key, tensor in state.items():
        match = _KEY.fullmatch(key)
        place = None
        if match and match[1] is None:
            place = _ENDS.get(match[2])
        elif match and int(match[1]) < len(stages):
            stage, block = stages[int(match[1])]
            module = (_EXPANDING if int(match[1]) in expanding else _PLAIN).get(match[2])
            place = module and f"blocks.{stage}.{block}.{module}"
        if match is None or place is None:
            problems.add(file.name, f"the tensor '{key}' has no place in {card.name}", "Fetch the file again")
            continue
        result[f"{place}.{match[3]}"] = tensor
    problems.raise_if_any()
    return result
