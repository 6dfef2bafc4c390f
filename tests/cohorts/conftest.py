"""A small cohort on disk that each test may spoil in its own way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

YAML = """\
name: small
manifest: table.csv
images: images
columns: {image: file, patient: who, center: where}
tasks:
  ill: {label: ill, positive: [yes], negative: [no]}
"""
TABLE = """\
file,who,where,ill
a.png,P1,North,yes
b.png,P1,North,no
c.png,P2,South,yes
d.png,P3,South,no
"""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))


class CohortFolder:
    """`cohort.yaml`, `table.csv` and the films `a.png` … `d.png`; texts and files may be replaced."""

    def __init__(self, folder: Path) -> None:
        self.path, self.table, self.images = folder / "cohort.yaml", folder / "table.csv", folder / "images"
        self.images.mkdir(parents=True)
        self.path.write_text(YAML, encoding="utf-8")
        self.table.write_text(TABLE, encoding="utf-8")
        for number, name in enumerate("abcd"):
            values = np.random.default_rng(number).integers(0, 256, (20 + number, 30), dtype=np.uint8)
            Image.fromarray(values).save(self.images / f"{name}.png")

    def edit(self, old: str, new: str) -> None:
        """Replace a text of `cohort.yaml`."""
        text = self.path.read_text(encoding="utf-8")
        assert old in text
        self.path.write_text(text.replace(old, new), encoding="utf-8")

    def edit_table(self, old: str, new: str) -> None:
        """Replace a text of the table."""
        text = self.table.read_text(encoding="utf-8")
        assert old in text
        self.table.write_text(text.replace(old, new), encoding="utf-8")

    def add(self, text: str) -> None:
        """Append lines to `cohort.yaml`."""
        self.path.write_text(self.path.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.fixture
def small(tmp_path: Path) -> CohortFolder:
    """Four films of three patients in two centers, on disk and without fault."""
    return CohortFolder(tmp_path / "cohort")
