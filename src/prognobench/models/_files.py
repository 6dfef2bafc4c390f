"""Tensors in files: read from those of strangers without running their code, and written."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prognobench.frame import InputError, Problem, Problems

if TYPE_CHECKING:
    from torch import Tensor


# Of a file of weights, in bytes; and how many times smaller a zip archive may make it, which trained numbers never are.
LARGEST = 8 * 10**9
_DENSEST = 100
_CHUNK = 2**20


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or a torch file without running code from it.

    Raises
    ------
    InputError
        When the file is missing, truncated, damaged, holds code, or is no flat mapping of names to tensors.
    """
    return read_safetensors(file.read_bytes(), str(file)) if file.suffix == ".safetensors" else read_torch_file(file)


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file that is as readable as others are; those of `save_file` are their owner's alone.

    Parameters
    ----------
    file
        The file.
    tensors
        Cloned, since two names of one tensor cannot be written.
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    file.write_bytes(content)


def read_safetensors(content: bytes, where: str) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file's bytes; `where` names it in errors."""
    from safetensors.torch import load

    try:
        state: dict[str, Tensor] = load(content)
    except Exception as error:  # damaged bytes fail in many ways, some of them torch's
        raise _refuse(where, f"it is not a whole safetensors file ({error})", "Fetch or copy it again") from None
    return _plain(where, state)


def read_torch_file(file: Path) -> dict[str, Tensor]:
    """Read a state dict that torch saved."""
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text goes on with how to run the code after all.
        reason = str(error).partition("\n")[0].partition(" (1)")[0]
        raise _refuse(
            file, f"it holds more than tensors, and code in it is not run ({reason})", "Save model.state_dict() alone"
        ) from None
    except Exception as error:  # what a damaged pickle asks for may fail in any way
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise _refuse(file, f"it is not a whole torch file ({reason})", "Fetch or copy it again") from None
    if not isinstance(content, dict) or not content:
        raise _refuse(file, "it does not hold a state dict", "Save model.state_dict() alone")
    foreign = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if foreign:
        raise _refuse(file, f"these entries are not tensors: {', '.join(foreign[:5])}", "Save model.state_dict() alone")
    unnamed = [repr(key) for key in content if not isinstance(key, str)]
    if unnamed:
        raise _refuse(file, f"these keys are no names: {', '.join(unnamed[:5])}", "Save model.state_dict() alone")
    return _plain(str(file), content)


def _plain(where: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Refuse tensors that are no plain numbers in memory: sparse, nested, quantized ones and those without values."""
    import torch

    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    wholes = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    problems = Problems()
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_nested:
            odd = f"of the layout {tensor.layout}"
        elif tensor.device.type != "cpu":
            odd = f"on the device {tensor.device}"
        elif tensor.dtype not in (*floats, *wholes):
            odd = f"of the type {tensor.dtype}"
        else:
            continue
        problems.add(where, f"the tensor '{key}' is {odd}", "Save dense float32 tensors of the processor's memory")
    problems.raise_if_any()
    return state


def unzip_weights(archive: Path, suffixes: tuple[str, ...], target: Path) -> Path:
    """Write the one file of weights in a zip archive into `target`.

    Raises
    ------
    InputError
        When the archive is damaged or unpacks to more than weights can be, or holds no file or several with such a
        suffix.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            # macOS puts a shadow of each file beside it.
            members = [name for name in packed.namelist() if not name.startswith("__MACOSX/")]
            found = [name for name in members if Path(name).suffix in suffixes]
            if len(found) != 1:
                listed = ", ".join(found or members[:5])
                what = f"it holds {'several files' if found else 'no file'} of weights: {listed}"
                raise _refuse(archive, what, "Unpack it and give the file that is meant")
            file = unpack_member(packed, found[0], target)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise _refuse(archive, f"it is not a whole zip archive ({error})", "Fetch or copy it again") from None
    return file


def unpack_member(packed: zipfile.ZipFile, member: str, target: Path) -> Path:
    """Write one file of an open zip archive into `target`, and no more of it than the archive declares.

    Raises
    ------
    InputError
        When it is larger than weights are, or a hundred times as large as what it is packed in.
    """
    info = packed.getinfo(member)
    if info.file_size > min(LARGEST, _DENSEST * max(info.compress_size, 1)):
        what = f"'{member}' would unpack to {info.file_size:,} bytes from {info.compress_size:,}"
        remedy = "Weights are not packed so densely; fetch the archive from its authors again"
        raise _refuse(str(packed.filename), what, remedy)
    # Not `extract`: the file's place is ours to choose, whatever its name says.
    file = target / Path(member).name
    with packed.open(info) as source, file.open("wb") as unpacked:
        left = info.file_size
        while left and (chunk := source.read(min(left, _CHUNK))):
            unpacked.write(chunk)
            left -= len(chunk)
        if left or source.read(1):
            raise zipfile.BadZipFile(f"'{member}' is not of the size that the archive declares")
    return file


def _refuse(where: str | Path, what: str, remedy: str) -> InputError:
    return InputError([Problem(str(where), what, remedy)])
