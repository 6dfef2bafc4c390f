"""A small cohort on disk that each test may spoil in its own way."""

from __future__ import annotations

from collections.abc import Callable
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


@pytest.fixture
def write_cohort(tmp_path: Path) -> Callable[..., Path]:
    """Write `cohort.yaml`, `table.csv` and four films `a.png` … `d.png`; return the path of the first."""

    def write(yaml: str = YAML, table: str | bytes = TABLE, manifest: str = "table.csv") -> Path:
        folder = tmp_path / "cohort"
        (folder / "images").mkdir(parents=True)
        (folder / "cohort.yaml").write_text(yaml, encoding="utf-8")
        content = table if isinstance(table, bytes) else table.encode("utf-8")
        (folder / manifest).write_bytes(content)
        for number, name in enumerate("abcd"):
            values = np.random.default_rng(number).integers(0, 256, (20 + number, 30), dtype=np.uint8)
            Image.fromarray(values).save(folder / "images" / f"{name}.png")
        return folder / "cohort.yaml"

    return write
