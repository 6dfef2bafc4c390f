"""The store of weights: a folder an id, with `model.safetensors` and `source.json`; it needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from prognobench.frame import InputError, Problem, home, nearest, sha256_file

from ._cards import ModelCard, WeightsSource
from ._registry import model_cards

RANDOM = "random"
FILE, RECORD = "model.safetensors", "source.json"


@dataclass(frozen=True)
class Weights:
    """Weights that are here, ready for `load_backbone`.

    Parameters
    ----------
    id, model
        Name in the store, and the card that they belong to.
    path
        The safetensors file; None for random weights.
    sha256
        Of that file; `random:<seed>` for random weights.
    source, license, note
        Where they come from, their terms, and what a reader should know.
    """

    id: str
    model: str
    path: Path | None
    sha256: str
    source: str
    license: str
    note: str = ""


@dataclass(frozen=True)
class WeightsRow:
    """One line of `weights list` and `weights verify`.

    Parameters
    ----------
    id, model, kind
        Name, card, and `hub`, `wheel`, `manual` or `added`.
    state
        `present`, `absent` or `damaged`; after hashing `verified` or `altered`.
    detail
        What is wrong with damaged and altered ones, or how to get absent ones; of repackaged ones that are verified,
        how far they are from those of the hub, where these are here, too.
    size
        Bytes of the file; None where there is none.
    source, license, note, sha256, path
        As in `Weights`; the last two are None where there is no file.
    """

    id: str
    model: str
    kind: Literal["hub", "wheel", "manual", "added"]
    state: Literal["present", "absent", "damaged", "verified", "altered"]
    detail: str
    size: int | None
    source: str
    license: str
    note: str
    sha256: str | None
    path: Path | None

    @property
    def present(self) -> bool:
        """Whether the file is there, sound or not."""
        return self.path is not None


class Record(BaseModel):
    """The content of `source.json`: where a stored file comes from.

    `download_sha256` is of what was fetched, `sha256` of what is stored; `license_found` is what the package itself
    says; `layout` is that of the file, by its keys; `versions` are those of the libraries that converted it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    id: str
    model: str
    kind: Literal["hub", "wheel", "added"]
    location: str
    revision: str | None
    file: str
    download_sha256: str
    sha256: str
    size: int
    license: str
    license_found: str | None
    note: str
    converter: str | None
    layout: str | None = None
    stored_at: str
    versions: dict[str, str]


def find_weights(card: ModelCard, weights_id: str | None = None) -> Weights:
    """Find weights in the store, without torch and without a download.

    The file is not hashed here; `load_backbone` does that on the bytes it loads.

    Parameters
    ----------
    card
        The model.
    weights_id
        An id of the store; `random` or `random:SEED` for random weights (seed 0 where none is given); None for the
        first that is present in the card's order, then those that the user added.

    Returns
    -------
    Weights
        Of this card, also where a card that shares the source brought them.

    Raises
    ------
    InputError
        When they are not there (with the command that fetches them), damaged, of another model, or when several were
        added and none is named.
    """
    if weights_id is not None and weights_id.partition(":")[0] == RANDOM:
        return _random(card, weights_id)
    if weights_id is not None:
        return _by_id(card, weights_id)
    for source in card.weights:
        if folder(source.id).is_dir():
            return _from_record(_of_card(read_record(source.id), card))
    added = [record for record in _added() if record.model == card.id]
    if len(added) > 1:
        names = ", ".join(record.id for record in added)
        raise _refuse(card.id, f"several weights were added for it: {names}", "Name the one that is meant")
    if added:
        return _from_record(added[0])
    raise _refuse(card.id, "its weights are not here", _ways(card))


def list_weights() -> list[WeightsRow]:
    """List the weights that cards know and those that were added, whether they are here or not; nothing is hashed.

    Returns
    -------
    list of WeightsRow
        State `present`, `absent` or `damaged`; those of cards first.

    Raises
    ------
    InputError
        When an installed package offers models that are none.
    """
    cards = model_cards()
    known = {source.id: _row(source.id, card, source) for card in cards.values() for source in card.weights}
    others = {name: _row(name, None, None) for name in _stored() if name not in known}
    return [*known.values(), *others.values()]


def verify_weights(weights_id: str | None = None) -> list[WeightsRow]:
    """Hash stored weights again.

    Parameters
    ----------
    weights_id
        One id, or None for all that are here.

    Returns
    -------
    list of WeightsRow
        State `verified`, `altered` (the file is not the one that was stored) or `damaged` (a file is missing or
        unreadable); `detail` says what.

    Raises
    ------
    InputError
        When the id is not in the store.
    """
    rows = {row.id: row for row in list_weights()}
    if weights_id is None:
        return [_verify(row) for row in rows.values() if row.state != "absent"]
    if weights_id not in rows:
        raise _refuse(weights_id, "no such weights are known", nearest(weights_id, list(rows)))
    row = rows[weights_id]
    if row.state == "absent":
        raise _refuse(weights_id, "these weights are not here", row.detail)
    return [_verify(row)]


def folder(weights_id: str) -> Path:
    """Return the place of weights in the store, whether they are there or not."""
    return store() / weights_id


def store() -> Path:
    """Return the folder of all weights."""
    return home() / "weights"


def read_record(weights_id: str) -> Record:
    """Read `source.json` and make sure that the file stands beside it with its size."""
    place = folder(weights_id)
    again = f"Remove {place} and fetch or add the weights again"
    try:
        record = Record.model_validate_json((place / RECORD).read_bytes())
        size = (place / FILE).stat().st_size
    except OSError as error:
        raise InputError([Problem(str(error.filename), f"it cannot be read ({error.strerror})", again)]) from None
    except ValidationError:
        raise InputError([Problem(str(place / RECORD), "it is not a record of weights", again)]) from None
    if size != record.size or record.id != weights_id:
        what = f"it has {size} bytes, {record.size} were stored" if size != record.size else f"it is of {record.id}"
        raise InputError([Problem(str(place / FILE), what, again)])
    return record


def held_to_record(source: WeightsSource) -> WeightsSource:
    """Pin a source to the commit and the hash of what was fetched from it before, where the store remembers."""
    try:
        record = Record.model_validate_json((folder(source.id) / RECORD).read_bytes())
    except (OSError, ValidationError):
        return source
    before = (record.id, record.kind, record.location, record.file)
    if before != (source.id, source.kind, source.location, source.file) or is_pinned(source):
        return source
    return source.model_copy(update={"revision": record.revision, "sha256": record.download_sha256})


def is_pinned(source: WeightsSource) -> bool:
    """Tell whether the card itself says which file is meant: by its hash, or by a commit."""
    return source.sha256 is not None or re.fullmatch(r"[0-9a-f]{40}", source.revision) is not None


def fetch_command(card: ModelCard, weights_id: str) -> str:
    """Return the command that brings these weights into the store."""
    source = next((source for source in card.weights if source.id == weights_id), None)
    if source is None:
        return f"prognobench weights add {card.id} PATH"
    if source.kind == "manual":
        return f"prognobench weights add {card.id} PATH --id {source.id}"
    return f"prognobench weights fetch {card.id} --from {source.kind}"


def how_to_get(card: ModelCard, weights_id: str) -> str:
    """Say what a user does to have these weights."""
    source = next((source for source in card.weights if source.id == weights_id), None)
    command = fetch_command(card, weights_id)
    if source is not None and source.kind == "manual":
        return f"Get {source.location} and give the file: {command}"
    return f"Fetch them: {command}"


_UNPINNED = (
    "; the catalog does not say which file that is: what {revision} holds then is taken, checked by the hub's own "
    "sha256, and recorded with its commit"
)


def _ways(card: ModelCard) -> str:
    ways = [how_to_get(card, source.id) for source in card.weights]
    return ", or: ".join([*ways, f"prognobench weights add {card.id} PATH"]).replace("or: Fetch them: ", "or: ")


def _random(card: ModelCard, weights_id: str) -> Weights:
    match = re.fullmatch(rf"{RANDOM}(?::(\d+))?", weights_id)
    if not match:
        raise _refuse(weights_id, "the seed of random weights is not a whole number", "Write, for example, random:1")
    return Weights(
        id=weights_id,
        model=card.id,
        path=None,
        sha256=f"{RANDOM}:{int(match[1] or 0)}",
        source="timm's initialization, every scale that starts near 0 set to 1",
        license="none",
        note="random weights: a control, not a pretrained model",
    )


def _by_id(card: ModelCard, weights_id: str) -> Weights:
    if not (valid_id(weights_id) and folder(weights_id).is_dir()):
        own = [source.id for source in card.weights]
        if weights_id in own:
            raise _refuse(weights_id, "these weights are not here", how_to_get(card, weights_id))
        own += [record.id for record in _added() if record.model == card.id]
        raise _refuse(weights_id, f"no such weights of {card.id} are known", nearest(weights_id, [*own, RANDOM]))
    return _from_record(_of_card(read_record(weights_id), card))


def _of_card(record: Record, card: ModelCard) -> Record:
    """Refuse weights of another model; a variant of a card shares the sources of that card, and so what they left.

    Whether their keys fit the variant is for `load_backbone` to tell.
    """
    if record.model == card.id:
        return record
    shared = next((source for source in card.weights if source.id == record.id), None)
    if shared is None:
        raise _refuse(record.id, f"these weights are of {record.model}, not of {card.id}", "Name others")
    if (shared.location, shared.file) != (record.location, record.file if record.kind != "added" else shared.file):
        what = f"those in the store are from {record.location}, the weights of {card.id} are from {shared.location}"
        raise _refuse(record.id, what, "Give the source of the card an id of its own")
    return record.model_copy(update={"model": card.id})


def valid_id(weights_id: str) -> bool:
    """Tell whether an id can be a folder of the store on every system."""
    # A name in a folder has at most 255 letters, and drafts and locks are longer than their id.
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", weights_id) is not None and weights_id != RANDOM


def _from_record(record: Record) -> Weights:
    return Weights(
        id=record.id,
        model=record.model,
        path=folder(record.id) / FILE,
        sha256=record.sha256,
        source=_origin(record),
        license=record.license,
        note=record.note,
    )


def _origin(source: Record | WeightsSource) -> str:
    at = {"hub": "@", "wheel": "=="}.get(source.kind)
    return f"{source.kind}: {source.location}{at}{source.revision}" if at else f"{source.kind}: {source.location}"


def _stored() -> Iterator[str]:
    if store().is_dir():
        yield from sorted(place.name for place in store().iterdir() if place.is_dir() and valid_id(place.name))


def _added() -> Iterator[Record]:
    """Yield what was added by hand; what is damaged is for `verify` to tell."""
    for name in _stored():
        try:
            record = read_record(name)
        except InputError:
            continue
        if record.kind == "added":
            yield record


def _row(weights_id: str, card: ModelCard | None, source: WeightsSource | None) -> WeightsRow:
    known: dict[str, Any] = {"id": weights_id, "model": card.id if card else "?", "kind": "added"}
    known |= {"source": "?", "license": "?", "note": "", "size": None, "sha256": None, "path": None}
    if source:
        known |= {"kind": source.kind, "source": _origin(source), "license": source.license, "note": source.note}
    if not folder(weights_id).is_dir():
        detail = how_to_get(card, weights_id) if card else ""
        if source and source.kind == "hub" and not is_pinned(source):
            detail += _UNPINNED.format(revision=source.revision)
        return WeightsRow(**known, state="absent", detail=detail)
    try:
        record = read_record(weights_id)
    except InputError as error:
        file = folder(weights_id) / FILE
        known |= {"path": file, "size": file.stat().st_size} if file.is_file() else {}
        return WeightsRow(**known, state="damaged", detail=str(error))
    known |= {"model": record.model, "kind": record.kind, "source": _origin(record), "license": record.license}
    known |= {"note": record.note, "size": record.size, "sha256": record.sha256, "path": folder(weights_id) / FILE}
    return WeightsRow(**known, state="present", detail="")


def _verify(row: WeightsRow) -> WeightsRow:
    if row.state == "damaged" or row.path is None:
        return row
    found = sha256_file(row.path)
    if found == row.sha256:
        return replace(row, state="verified", detail=_compared(row))
    again = f"Remove {row.path.parent} and fetch or add the weights again"
    return replace(row, state="altered", detail=f"sha256 {found}, recorded {row.sha256}. {again}.")


def _compared(row: WeightsRow) -> str:
    """Say how far repackaged weights are from those of the hub, where these are here and sound."""
    card = model_cards().get(row.model)
    if card is None or row.kind != "wheel" or row.path is None:
        return ""
    for source in card.weights:
        if source.kind == "hub" and folder(source.id).is_dir():
            path = folder(source.id) / FILE
            try:
                sound = sha256_file(path) == read_record(source.id).sha256
            except (InputError, OSError):
                sound = False
            if not sound:
                return f"Not compared with {source.id}, which was altered or damaged"
            return f"Compared with {source.id}: {_difference(card, row.path, path)}"
    return ""


def _difference(card: ModelCard, ours: Path, theirs: Path) -> str:
    """Compare two files under timm's keys, each tensor by its largest difference over its largest value."""
    import numpy as np
    from safetensors.numpy import load_file

    a, b = ({k: v for k, v in load_file(file).items() if not card.is_classifier(k)} for file in (ours, theirs))
    apart = [key for key in sorted(a.keys() | b.keys()) if key not in a or key not in b or a[key].shape != b[key].shape]
    if apart:
        return f"these tensors are not in both, or not of one shape: {', '.join(apart)}"
    # Counters of batches tell of the training and change no feature.
    values = {key: np.asarray(b[key], dtype=np.float64) for key in b if not key.endswith(".num_batches_tracked")}
    largest, where = 0.0, ""
    for key, value in values.items():
        difference = float(np.abs(a[key] - value).max() / max(float(np.abs(value).max()), np.finfo(np.float32).tiny))
        if difference >= largest:
            largest, where = difference, key
    return f"the largest relative difference is {largest:.1e} (in '{where}')"


def _refuse(subject: str, what: str, remedy: str) -> InputError:
    return InputError([Problem(f"weights of '{subject}'", what, remedy)])
