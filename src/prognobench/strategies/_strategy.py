"""What every way to adapt a backbone promises."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prognobench.frame import Document, canonical_json
from prognobench.protocols import Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prognobench.models import ModelCard

_PROVED_RANK = 16  # the highest of the matrix
Kind = Literal["probe", "adapter", "backbone"]
_TRIED: dict[tuple[type[Strategy], str], str | None] = {}


def _whole(value: Any) -> Any:
    # Left to itself pydantic makes whole numbers of true, 8.0 and 1_0 as well.
    if isinstance(value, bool | float) or (isinstance(value, str) and not re.fullmatch(r"[0-9]+", value)):
        raise ValueError("Input should be a whole number in digits")
    return value


Rank = Annotated[int, BeforeValidator(_whole), Field(ge=1)]


class StrategyCard(BaseModel):
    """What a strategy is and where it comes from.

    Attributes
    ----------
    name
        The word in study files.
    title
        The field's name for it.
    kind
        What is trained: `probe` (a head on frozen features), `adapter`, `backbone`.
    summary
        What is trained, in a sentence.
    source
        The publication.
    aliases
        Further names that answer in study files, with the settings that they stand for: those of the public
        configuration of Ruffini et al. (arXiv:2506.18434).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    kind: Kind
    summary: str
    source: str
    aliases: Mapping[str, Mapping[str, Any]] = {}


@dataclass(frozen=True)
class Target:
    """One module that a strategy changes.

    Attributes
    ----------
    module
        Its name in the timm model.
    role
        What it does there: `attention.qkv`, `mlp.fc1`, `conv`, …; `attention.qkv[k]` is a slice.
    trainable
        How many numbers are trained at it.
    rows
        First output row of a slice and the one behind the last; None where the whole module is changed.
    """

    module: str
    role: str
    trainable: int
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class InjectionPlan:
    """The injection report: which modules a strategy changes, and how many numbers it trains there.

    Attributes
    ----------
    strategy
        The strategy's label.
    targets
        The modules, in the model's order.
    """

    strategy: str
    targets: tuple[Target, ...]
    trainable: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trainable", sum(target.trainable for target in self.targets))

    def by_role(self) -> dict[str, int]:
        """Count the modules of each role."""
        counts: dict[str, int] = {}
        for target in self.targets:
            counts[target.role] = counts.get(target.role, 0) + 1
        return counts


class Strategy(ABC):
    """A way to adapt a backbone, with its settings.

    A strategy gets the one backbone that a worker holds, and gives it back bit-equal: `apply` → train →
    `state` → `remove`. The linear head is not part of it.

    Parameters
    ----------
    settings
        An instance of the class's `Settings`.
    """

    card: ClassVar[StrategyCard]
    Settings: ClassVar[type[Document]]

    def __init__(self, settings: Document | None = None) -> None:
        self.settings: Any = self.Settings() if settings is None else settings

    @property
    def label(self) -> str:
        """The strategy's word in tables, different wherever a setting differs."""
        return self.card.name

    def under(self, protocol: Protocol) -> Strategy:
        """Return the strategy with what its study leaves to the protocol; most leave nothing."""
        return self

    def resolved(self) -> dict[str, Any]:
        """Return every setting with its value, for the job key."""
        return {"name": self.card.name, **self.settings.model_dump(mode="json")}

    def roles(self, card: ModelCard) -> tuple[str, ...]:
        """Return the roles of the modules that it changes on a model, for the job key; empty where it names none."""
        return ()

    def refuses(self, card: ModelCard) -> str | None:
        """Say why this strategy cannot work on a model, or None; asked when a study is planned."""
        return None

    def cannot_plan(self, card: ModelCard) -> str | None:
        """Try the plan on the architecture without numbers, and say why there is none; for `refuses`."""
        from prognobench.models import in_catalog

        from ._layer_faults import on_meta

        if in_catalog(card) and getattr(self.settings, "rank", 0) <= _PROVED_RANK:
            return None  # the matrix has its plan; a study of many models need not build each of them
        asked = (type(self), canonical_json([self.resolved(), card.model_dump(mode="json")]))
        # A study asks for each of its tasks.
        if asked not in _TRIED:
            try:
                self.plan(on_meta(card), card)
                _TRIED[asked] = None
            except ValueError as error:
                _TRIED[asked] = str(error)
        return _TRIED[asked]

    @abstractmethod
    def plan(self, backbone: nn.Module, card: ModelCard) -> InjectionPlan:
        """Choose the modules by their role; nothing is changed yet.

        Raises
        ------
        ValueError
            The strategy has no place in the backbone, or none that deserves its name. What `refuses` foresees is among
            it.
        """

    @abstractmethod
    def apply(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> nn.Module:
        """Return a module that trains what the plan says and nothing else; new tensors are drawn from `seed`.

        The backbone may be changed in place, and is the module's until `remove`.

        Raises
        ------
        ValueError
            The backbone would train other numbers than the plan has, since it is not the one that was planned on.
        """

    def parameter_groups(self, module: nn.Module, protocol: Protocol) -> list[dict[str, Any]]:
        """Return optimizer groups of the trainable parameters: matrices decay, vectors do not."""
        adapts = self.card.kind != "backbone"
        rate = protocol.adapter_rate(self.card.name) if adapts else protocol.backbone_learning_rate
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
        vectors = [parameter for parameter in trainable if parameter.ndim < 2]
        groups = ((matrices, protocol.weight_decay), (vectors, 0.0))
        return [{"params": chosen, "lr": rate, "weight_decay": decay} for chosen, decay in groups if chosen]

    @abstractmethod
    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Copy all that training changed; empty where nothing is."""

    @abstractmethod
    def load(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        """Put a state back.

        Raises
        ------
        ValueError
            A key is missing or surplus, or a tensor has another shape.
        """

    @abstractmethod
    def merge(self, module: nn.Module) -> nn.Module | None:
        """Return a plain backbone that computes the same, leaving `module` as it is; None where none exists.

        Where one exists this raises nothing: layers that cannot be merged are refused when they are planned.
        """

    def train_in_bfloat16(self, module: nn.Module) -> frozenset[str]:
        """Make a module faster where it trains in bfloat16 on a processor, until `remove`; most leave it as it is.

        Returns
        -------
        frozenset of str
            Names of tensors that its layers round by themselves, and that are to reach them in float32.
        """
        return frozenset()

    @abstractmethod
    def remove(self, module: nn.Module) -> nn.Module:
        """Return the backbone that was given to `apply`, bit-equal."""
