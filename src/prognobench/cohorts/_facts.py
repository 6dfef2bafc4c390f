"""What is known about a film by its content, so that no film is decoded to learn it twice."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import PIL

from prognobench.frame import file_lock, home, sha256_json, write_in_one_step

from ._films import Fault

_READER = 3  # raise it when films are read that were refused before, or more is learned of them

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilmFacts:
    """Size in pixels, upright, the mean of the film scaled to [0, 1], and the names of its tags that hold free text."""

    width: int
    height: int
    brightness: float
    tags: tuple[str, ...] = ()


def read_facts(contents: Iterable[str]) -> dict[str, FilmFacts | Fault]:
    """Return what is known about the films of these SHA-256; a film that is not known is not in the answer."""
    known: dict[str, FilmFacts | Fault] = {}
    for place, wanted in _by_place(contents).items():
        entries = _read(place)
        for content in wanted:
            if content in entries:
                entry = dict(entries[content])
                # Another release of the decoder may read what this one refused, or the other way.
                pillow = entry.pop("pillow")
                if "width" in entry:
                    known[content] = FilmFacts(**{**entry, "tags": tuple(entry["tags"])})
                elif pillow == PIL.__version__:
                    known[content] = Fault(**entry)
    return known


def save_facts(found: Mapping[str, FilmFacts | Fault]) -> None:
    """Add what was found; several processes may do so at once."""
    for place, contents in _by_place(found).items():
        with file_lock(place.with_suffix(".lock")):
            entries = _read(place)
            for content in contents:
                entries[content] = {**asdict(found[content]), "pillow": PIL.__version__}
            write_in_one_step(place, json.dumps({"sha256": sha256_json(entries), "films": entries}))


def _by_place(contents: Iterable[str]) -> dict[Path, list[str]]:
    """Spread films over sixteen files: few to open, and none that grows without end."""
    places: dict[Path, list[str]] = defaultdict(list)
    folder = home() / "images" / f"facts-{_READER}"
    for content in contents:
        places[folder / f"{content[0]}.json"].append(content)
    return places


def _read(place: Path) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads(place.read_bytes())
        entries: dict[str, dict[str, Any]] = document["films"]
        if sha256_json(entries) != document["sha256"]:
            raise ValueError("its content does not match its SHA-256")
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is damaged (%s); its films are decoded again", place, error)
        return {}
    return entries
