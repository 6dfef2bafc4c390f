"""Hand a trained job's adapter and head to anyone who has timm and peft."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prognobench.frame import InputError, Problem

from ._store import Record

if TYPE_CHECKING:
    from prognobench.models import ModelCard, Weights


def export_adapter(record: Record, folder: Path) -> None:
    """Write what a job trained as a folder that plain HF peft loads onto the timm model.

    Parameters
    ----------
    record
        What `Store.read` returned, of a job of `lora`, `vera` or `ia3` in a study with `save: weights`. The weights of
        its model have to be here.
    folder
        A new folder: `adapter_config.json` and `adapter_model.safetensors` as `strategies.export_peft` writes them,
        and `head.safetensors` with `weight` (classes, features) and `bias` (classes). The softmax of the features
        times the weight plus the bias are the probabilities of the classes, in the task's order.

    Raises
    ------
    InputError
        The study kept no weights, the job trained no adapter, or the weights or the card of its model are no longer
        those that it used.
    ValueError
        peft cannot express the adapter; see `strategies.export_peft`.

    Examples
    --------
    >>> from prognobench.studies import Store, export_adapter
    >>> store = Store(Path("results"))  # doctest: +SKIP
    >>> export_adapter(store.read(store.record_keys()[0]), Path("adapter"))  # doctest: +SKIP
    """
    from safetensors.torch import load

    from prognobench.models import load_backbone, write_tensors
    from prognobench.strategies import export_peft, resolved_strategy

    job = record.job
    if job.kind != "adapter":
        raise _refuse(record, "it trained no adapter", "Choose a job of lora, vera or ia3")
    if record.tensors is None:
        raise _refuse(record, "its study kept no weights", "Run it with save: weights into another folder")
    strategy = resolved_strategy(job.details["strategy"])
    card, weights = _model_as_used(record)
    tensors = load(record.tensors)
    head = {name: tensors.pop(f"head.{name}") for name in ("weight", "bias")}
    backbone = load_backbone(card, weights)
    module = strategy.apply(backbone, strategy.plan(backbone, card), job.seed)
    strategy.load(module, tensors)
    export_peft(module, folder)
    write_tensors(folder / "head.safetensors", head)


def _model_as_used(record: Record) -> tuple[ModelCard, Weights]:
    from prognobench.models import find_weights, model_card

    job = record.job
    # Tables name the weights behind the model where there is a choice.
    card = model_card(job.model.partition("@")[0])
    used: dict[str, Any] = job.details["model"]
    now = card.model_dump(mode="json")
    for key in ("architecture", "build", "roles", "fused"):
        if now[key] != used[key]:
            raise _refuse(
                record, f"the card of {card.id} has another `{key}` now", "Export with the version that ran it"
            )
    weights = find_weights(card, job.weights)
    if weights.sha256 != used["weights"]:
        raise _refuse(record, f"the weights '{weights.id}' are not those that it used", "Fetch or add those again")
    return card, weights


def _refuse(record: Record, what: str, remedy: str) -> InputError:
    return InputError([Problem(f"record {record.job.key} ({record.job.title})", what, remedy)])
