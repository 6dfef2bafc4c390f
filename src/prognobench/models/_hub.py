"""Downloads from the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from prognobench.frame import InputError, Problem

from ._cards import ModelCard, WeightsSource
from ._weights import fetch_command


def download_from_hub(card: ModelCard, source: WeightsSource) -> tuple[Path, str]:
    """Download one file of a repository and return its place with the commit it is of.

    Raises
    ------
    InputError
        When the hub cannot be reached or refuses, with the other ways to the same weights.
    """
    import huggingface_hub
    import huggingface_hub.errors

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
    # The cache keeps files under `snapshots/<commit>/`.
    commit = file.parent.name
    return file, commit if re.fullmatch(r"[0-9a-f]{40}", commit) else source.revision


def _how_to_be_let_in(source: WeightsSource) -> str:
    page = f"https://huggingface.co/{source.location}"
    return f"Its owners give it on request: ask at {page}, then log in with `hf auth login`. "


def _other_ways(card: ModelCard, source: WeightsSource) -> str:
    ways = [f"`{fetch_command(card, other.id)}`" for other in card.weights if other != source]
    ways.append(f"`prognobench weights add {card.id} PATH` with the file {source.file} from another machine")
    return "Check the connection and HF_ENDPOINT, or try " + ", or ".join(ways)
