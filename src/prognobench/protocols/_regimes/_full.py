"""All of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from .._splits import Split
from ._regime import Regime, RegimeFamily


@dataclass(frozen=True)
class Full(Regime):
    """All films of the training part."""

    name: str = "full"

    def reduce(self, split: Split, rows: pd.DataFrame, seed: int) -> Split:
        """Return the split itself."""
        return split


class FullFamily(RegimeFamily):
    """All films of the training part."""

    key: ClassVar[str] = "full"
    example: ClassVar[str] = "full"

    def regimes(self) -> list[Regime]:
        """Return the one regime."""
        return [Full()]


REGIME = FullFamily
