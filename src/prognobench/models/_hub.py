"""Downloads from the Hugging Face hub."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from prognobench.frame import InputError, Problem, sha256_file

from ._cards import ModelCard, WeightsSource
from ._weights import fetch_command


def download_from_hub(card: ModelCard, source: WeightsSource) -> tuple[Path, str]:
    """Download one file of a repository and return its place with the commit it is of.

    Raises
    ------
    InputError
        When the hub cannot be reached or refuses, with the other ways to the same weights; when the file is not the
        one whose SHA-256 the hub tells.
    """
    import huggingface_hub
    import huggingface_hub.errors

    # Its retries tell of each attempt; one error at the end is enough.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        file = Path(huggingface_hub.hf_hub_download(source.location, source.file, revision=source.revision))
    except Exception as error:  # its errors come from three libraries and have changed with each of its versions
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        gated = isinstance(error, huggingface_hub.errors.GatedRepoError)
        raise InputError(
            [
                Problem(
                    f"weights '{source.id}'",
                    f"the hub did not give {source.location} ({type(error).__name__}: {reason})",
                    (_how_to_be_let_in(source) if gated else "") + _other_ways(card, source),
                )
            ]
        ) from None
    _check_against_the_hub(file, source)
    # The cache keeps files under `snapshots/<commit>/`, also those of the repository's own folders.
    commit = file.parents[source.file.count("/")].name
    return file, commit if re.fullmatch(r"[0-9a-f]{40}", commit) else source.revision


def _check_against_the_hub(file: Path, source: WeightsSource) -> None:
    """Hash a large file again: the cache names it by the SHA-256 that the hub tells, and does not look at it."""
    told = file.resolve().name
    if not re.fullmatch(r"[0-9a-f]{64}", told):
        return
    found = sha256_file(file)
    if found != told:
        what = f"its sha256 is {found}, the hub tells {told}: it was damaged or replaced on its way"
        remedy = f"Remove {file.resolve()} and fetch it again"
        raise InputError([Problem(f"{source.file} of {source.location}", what, remedy)])


def _how_to_be_let_in(source: WeightsSource) -> str:
    page = f"https://huggingface.co/{source.location}"
    return f"Its owners give it on request: ask at {page}, then log in with `hf auth login`. "


def _other_ways(card: ModelCard, source: WeightsSource) -> str:
    ways = [f"`{fetch_command(card, other.id)}`" for other in card.weights if other != source]
    ways.append(f"`prognobench weights add {card.id} PATH` with the file {source.file} from another machine")
    return "Check the connection and HF_ENDPOINT, or try " + ", or ".join(ways)
