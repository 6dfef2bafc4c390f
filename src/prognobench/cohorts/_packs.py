"""Films as a model reads them: one memory-mapped file for a set of films and a preprocessing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import PIL
from numpy.lib import format as npy
from numpy.typing import NDArray

from prognobench.frame import file_lock, home, sha256_json

from ._preprocessing import Preprocessing

_LOG = logging.getLogger(__name__)
_CHUNK = 1 << 22  # bytes read at once to check a pack

_checked: dict[Path, tuple[int, int, int]] = {}  # packs that this process has found sound, with what tells a change


class Pixels:
    """The films of a cohort under one preprocessing.

    Parameters
    ----------
    key
        Names the pixels: the SHA-256 of the set of films and the preprocessing.
    array
        Shape (distinct films, size, size), 16-bit integers (65535 is 1.0), memory-mapped and read-only.
    films
        The SHA-256 of each film's file, in the order of `array`.
    """

    def __init__(self, key: str, array: NDArray[np.uint16], films: Sequence[str]) -> None:
        self.key, self.array = key, array
        self._place = {content: place for place, content in enumerate(films)}

    def positions(self, sha256s: Sequence[str]) -> NDArray[np.int64]:
        """Return where in `array` the films of these SHA-256 are.

        Raises
        ------
        KeyError
            When one of them is no film of the cohort.
        """
        return np.array([self._place[content] for content in sha256s], dtype=np.int64)


def images_folder() -> Path:
    """Return the folder of everything that is kept about films."""
    return home() / "images"


def pack_key(contents: Iterable[str], preprocessing: Preprocessing) -> str:
    """Return the name of the pack of a set of films, whatever their order.

    Pillow decodes and resizes; another version may do so with other last bits.
    """
    films = sorted(set(contents))
    return sha256_json({"films": films, "preprocessing": preprocessing.key, "pillow": PIL.__version__})


def open_pack(contents: Iterable[str], preprocessing: Preprocessing) -> Pixels | None:
    """Open a pack, or return None where it is absent or damaged; the latter is logged.

    The data are checked against their SHA-256 once in a process.
    """
    films = sorted(set(contents))
    key = pack_key(films, preprocessing)
    folder = images_folder() / "packs" / key
    if not folder.exists():
        return None
    try:
        _check(folder, films, preprocessing)
        array = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("the image cache %s is damaged (%s); it is built again", folder, error)
        return None
    return Pixels(key, array, films)


def kept_pixels(key: str) -> Pixels | None:
    """Open a pack by its key, or return None where it is absent or damaged; what is no key is absent."""
    if re.fullmatch("[0-9a-f]{64}", key) is None:
        return None
    folder = images_folder() / "packs" / key
    try:
        about = json.loads((folder / "pack.json").read_bytes())
        recipe = Preprocessing(name=about["preprocessing"]["name"], size=about["preprocessing"]["size"])
        films = list(about["films"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return open_pack(films, recipe) if pack_key(films, recipe) == key else None


def _check(folder: Path, films: list[str], preprocessing: Preprocessing) -> None:
    data = folder / "pixels.npy"
    state = data.stat()
    print_of = (state.st_ino, state.st_size, state.st_mtime_ns)
    if _checked.get(folder) == print_of:
        return
    about = json.loads((folder / "pack.json").read_bytes())
    if about["films"] != films:
        raise ValueError("its list of films is not the one it is named after")
    expected = (len(films), preprocessing.size, preprocessing.size)
    with data.open("rb") as stream:
        npy.read_magic(stream)
        shape, fortran, dtype = npy.read_array_header_1_0(stream)
        if shape != expected or fortran or dtype != np.uint16:
            raise ValueError(f"it holds {dtype} of shape {shape} where uint16 of shape {expected} belongs")
        digest = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != about["sha256"]:
        raise ValueError("its pixels do not match their SHA-256")
    _checked[folder] = print_of


class PackDraft:
    """A pack while it is filled, film after film, beside those that are finished; leaving the block removes it.

    Parameters
    ----------
    folder
        Where to write; it must not be there.
    preprocessing
        The recipe of the films that are added.
    """

    def __init__(self, folder: Path, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self._folder, self._films, self._digest = folder, list[str](), hashlib.sha256()

    def __enter__(self) -> PackDraft:
        self._folder.mkdir(parents=True)
        self._stream = (self._folder / "pixels.npy").open("wb")
        self._header_size = self._write_header()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, content: str, square: NDArray[np.uint16]) -> None:
        """Append one film; films come in the order of their SHA-256."""
        data = np.ascontiguousarray(square, dtype="<u2").tobytes()
        self._stream.write(data)
        self._digest.update(data)
        self._films.append(content)

    def finish(self) -> None:
        """Put the pack in its place, unless a sound one is there by now."""
        if self._films != sorted(self._films):
            raise AssertionError("films were added out of order")
        self._stream.seek(0)
        if self._write_header() != self._header_size:
            raise AssertionError("the header of the array has changed its length")
        _to_disk(self._stream)
        about = {
            "films": self._films,
            "preprocessing": self.preprocessing.spec(),
            "pillow": PIL.__version__,
            "sha256": self._digest.hexdigest(),
        }
        with (self._folder / "pack.json").open("wb") as stream:
            stream.write(json.dumps(about).encode("ascii"))
            _to_disk(stream)
        self._stream.close()
        key = pack_key(self._films, self.preprocessing)
        final = images_folder() / "packs" / key
        with file_lock(images_folder() / "locks" / f"pack-{key}.lock"):
            if open_pack(self._films, self.preprocessing) is None:
                final.parent.mkdir(parents=True, exist_ok=True)
                if final.exists():
                    # It leaves to where the drafts are and goes with them; readers keep what they have mapped.
                    final.rename(self._folder.with_name(self._folder.name + ".damaged"))
                self._folder.rename(final)

    def _write_header(self) -> int:
        size = self.preprocessing.size
        shape = (len(self._films), size, size)
        # NumPy leaves room in the header for a growing first axis, so the final one fits over the first.
        npy.write_array_header_1_0(self._stream, {"descr": "<u2", "fortran_order": False, "shape": shape})
        return self._stream.tell()


def _to_disk(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
