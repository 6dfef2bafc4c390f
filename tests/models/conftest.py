from __future__ import annotations

from pathlib import Path

import pytest

from prognobench.models import ModelCard, model_card


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of weights."""
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


@pytest.fixture
def tiny() -> ModelCard:
    """DINOv2 with two blocks of width 8 on 4 × 4 patches."""
    build = {"embed_dim": 8, "depth": 2, "num_heads": 2, "img_size": 56, "num_classes": 0}
    return model_card("dinov2_s").model_copy(
        update={"id": "tiny", "build": build, "width": 8, "blocks": 2, "input_size": 56, "weights": ()}
    )
