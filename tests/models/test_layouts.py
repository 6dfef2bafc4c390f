"""Files in other libraries' layouts give those libraries' features, and are refused where a key does not fit."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from published import FOLDER, PUBLISHED, listed, shapes
from safetensors.torch import load_file, save_file
from upstream import UPSTREAM, State, Upstream, native, save_as_zip

from prognobench.frame import InputError, Problems, sha256_file
from prognobench.models import (
    ModelCard,
    WeightsSource,
    add_weights,
    fetch_weights,
    find_weights,
    list_weights,
    load_backbone,
    model_card,
)
from prognobench.models._build import expected_tensors
from prognobench.models._files import unzip_weights
from prognobench.models._layouts import LAYOUTS, TIMM, to_timm
from prognobench.models._weights import read_record

pytestmark = pytest.mark.torch

FULL_SIZE = pytest.mark.parametrize(
    ("name", "full"),
    [
        *((name, False) for name in UPSTREAM),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in UPSTREAM),
    ],
    ids=lambda value: {True: "full size", False: "small"}.get(value, value) if isinstance(value, bool) else value,
)


@cache
def small(name: str) -> Upstream:
    return UPSTREAM[name](False)


def images(card: ModelCard) -> torch.Tensor:
    side = card.build.get("img_size", card.input_size)
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@FULL_SIZE
def test_the_features_are_those_of_the_reference_library(store: Path, tmp_path: Path, name: str, full: bool) -> None:
    upstream = UPSTREAM[name](True) if full else small(name)
    file = tmp_path / "pytorch_model.bin"
    torch.save(upstream.state, file)
    weights = add_weights(upstream.card, file)
    assert read_record(weights.id).layout == upstream.layout
    with torch.inference_mode():
        theirs = upstream.features(images(upstream.card))
        ours = load_backbone(upstream.card, weights)(images(upstream.card))
    assert ours.shape == theirs.shape == (2, upstream.card.width)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-4
    # So that agreement means something: the features depend on the image, and twenty times more than they may differ.
    assert float((theirs[0] - theirs[1]).norm() / theirs.norm()) > 2e-3


@pytest.mark.parametrize("name", ["HF CLIP, GELU", "HF CLIP, quick GELU"])
def test_the_two_activations_of_clip_are_not_the_same(store: Path, tmp_path: Path, name: str) -> None:
    """So the test above can fail: the keys of both are alike, and only the card tells them apart."""
    upstream = small(name)
    other = {"clip_l": "vit_large_patch14_clip_quickgelu_224", "pubmedclip": "vit_base_patch32_clip_224"}
    model = "clip_l" if upstream.card.architecture == model_card("clip_l").architecture else "pubmedclip"
    torch.save(upstream.state, tmp_path / "m.bin")
    card = upstream.card.model_copy(update={"architecture": other[model]})
    with torch.inference_mode():
        theirs = upstream.features(images(card))
        ours = load_backbone(card, add_weights(card, tmp_path / "m.bin"))(images(card))
    assert float((ours - theirs).norm() / theirs.norm()) > 1e-3


def first_with(state: State, *words: str) -> str:
    return next(key for key in state if all(word in key for word in words))


# One of each layout: the middle of its image tower.
INNER = {
    "torchvision DenseNet": ("denselayer2.conv1.weight",),
    "torchvision DenseNet, published": ("denselayer2.conv.1.weight",),
    "open_clip": ("visual", "resblocks.1.mlp.c_fc.weight"),
    "open_clip around timm": ("blocks.1.mlp.fc1.weight",),
    "HF CLIP, quick GELU": ("vision_model", "layers.1.mlp.fc1.weight"),
    "HF Swin, published": ("blocks.1.layernorm_before.weight",),
    "HF Swin, transformers 5": ("blocks.1.mlp.fc1.weight",),
    "HF DINOv2, published": ("layer.1.mlp.fc1.weight",),
    "DINOv2's own, resampled": ("blocks.1.mlp.fc1.weight",),
    "MedCLIP Swin": ("blocks.1.intermediate.dense.weight",),
    "MedCLIP ResNet": ("layer2.0.conv1.weight",),
}


def rename(state: State, key: str) -> list[str]:
    state[f"{key}9"] = state.pop(key)
    return [rf"'{re.escape(key)}9' is surplus", r"' is missing"]


def drop(state: State, key: str) -> list[str]:
    del state[key]
    return [r"' is missing"]


def reshape(state: State, key: str) -> list[str]:
    state[key] = state[key][:-1].clone()
    return [r"' has the shape \(\d+,.*\), not \(\d+,.*\)"]


def surplus(state: State, key: str) -> list[str]:
    state["decoder.weight"] = torch.zeros(2)
    return [r"'decoder\.weight' is surplus"]


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("fault", [rename, drop, reshape, surplus])
def test_a_file_that_does_not_fit_is_refused_by_name_and_leaves_no_trace(
    store: Path, tmp_path: Path, name: str, fault: Callable[[State, str], list[str]]
) -> None:
    upstream = small(name)
    state = dict(upstream.state)
    messages = fault(state, first_with(state, *INNER[name]))
    torch.save(state, tmp_path / "m.bin")
    with pytest.raises(InputError) as raised:
        add_weights(upstream.card, tmp_path / "m.bin")
    assert len(raised.value.problems) == len(messages)
    for message in messages:
        assert re.search(message, str(raised.value)), message
    assert not (store / "tiny.added").exists()


THIRDS = [name for name in UPSTREAM if name.startswith(("HF", "MedCLIP Swin"))]


def third(state: State) -> str:
    """Return the key matrix of the second block of the image tower."""
    return next(
        key
        for key in state
        if not key.startswith("text") and ("s.1." in key or "layer.1." in key) and ("k_proj.w" in key or "key.w" in key)
    )


@pytest.mark.parametrize("name", THIRDS)
def test_a_third_of_attention_that_is_missing_or_of_another_shape_is_named(
    store: Path, tmp_path: Path, name: str
) -> None:
    upstream = small(name)
    key = third(upstream.state)
    torch.save({other: value for other, value in upstream.state.items() if other != key}, tmp_path / "m.bin")
    with pytest.raises(InputError, match=r"blocks\.1\.attn\.qkv\.weight' lacks its k"):
        add_weights(upstream.card, tmp_path / "m.bin")
    torch.save(upstream.state | {key: upstream.state[key][:-1].clone()}, tmp_path / "m.bin")
    with pytest.raises(InputError, match=r"blocks\.1\.attn\.qkv\.weight' have different shapes"):
        add_weights(upstream.card, tmp_path / "m.bin")


def test_thirds_that_are_single_numbers_are_named(store: Path, tmp_path: Path) -> None:
    upstream = small("HF CLIP, GELU")
    one = {key: torch.ones(()) for key in upstream.state if "vision_model.encoder.layers.1.self_attn" in key}
    torch.save(upstream.state | one, tmp_path / "m.bin")
    with pytest.raises(InputError, match=r"the parts of 'blocks\.1\.attn\.qkv\.weight' are single numbers"):
        add_weights(upstream.card, tmp_path / "m.bin")


@pytest.mark.parametrize("name", ["torchvision ResNet-50", "torchvision DenseNet", "MedCLIP ResNet"])
def test_one_counter_of_batches_that_is_missing_is_no_old_file(store: Path, tmp_path: Path, name: str) -> None:
    upstream = small(name)
    counters = [key for key in upstream.state if key.endswith("num_batches_tracked")]
    torch.save({key: v for key, v in upstream.state.items() if key != counters[1]}, tmp_path / "m.bin")
    with pytest.raises(InputError, match=r"num_batches_tracked' is missing"):
        add_weights(upstream.card, tmp_path / "m.bin")
    torch.save({key: v for key, v in upstream.state.items() if key not in counters}, tmp_path / "m.bin")
    loaded = load_backbone(upstream.card, add_weights(upstream.card, tmp_path / "m.bin")).state_dict()
    assert {int(value) for key, value in loaded.items() if key.endswith("num_batches_tracked")} == {0}


def test_stored_weights_hold_no_text_tower(store: Path, tmp_path: Path) -> None:
    upstream = small("HF CLIP, quick GELU")
    torch.save(upstream.state, tmp_path / "m.bin")
    weights = add_weights(upstream.card, tmp_path / "m.bin")
    assert weights.path is not None
    assert load_file(weights.path).keys() == load_backbone(upstream.card, weights).state_dict().keys()


def test_a_text_tower_that_medclip_does_not_have_is_refused(store: Path, tmp_path: Path) -> None:
    upstream = small("MedCLIP ResNet")
    torch.save(upstream.state | {"text_model.decoder.weight": torch.zeros(2)}, tmp_path / "m.bin")
    with pytest.raises(InputError, match=r"'text_model\.decoder\.weight' is surplus"):
        add_weights(upstream.card, tmp_path / "m.bin")


def test_keys_of_no_layout_are_refused_with_the_known_ones(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    save_file({"encoder.conv.weight": torch.zeros(2)}, tmp_path / "m.safetensors")
    with pytest.raises(
        InputError, match=r"'encoder\.conv\.weight'.*of no layout.*timm.*huggingface-clip.*medclip-swin"
    ):
        add_weights(tiny, tmp_path / "m.safetensors")


def test_keys_of_two_layouts_are_refused(store: Path, tmp_path: Path) -> None:
    upstream = small("HF CLIP, GELU")
    torch.save(upstream.state | small("open_clip").state, tmp_path / "m.bin")
    with pytest.raises(InputError, match="of several layouts at once: open_clip and huggingface-clip"):
        add_weights(upstream.card, tmp_path / "m.bin")


@pytest.mark.parametrize(
    ("file", "card"), [("HF Swin, published", "open_clip"), ("open_clip", "HF Swin, published")], ids=["swin", "clip"]
)
def test_a_file_of_another_model_is_refused(store: Path, tmp_path: Path, file: str, card: str) -> None:
    torch.save(small(file).state, tmp_path / "m.bin")
    with pytest.raises(InputError, match=r"(?s)is missing.*surplus"):
        add_weights(small(card).card, tmp_path / "m.bin")


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
@pytest.mark.parametrize("name", ["open_clip", "HF Swin, published"])
def test_a_truncated_file_is_refused(store: Path, tmp_path: Path, name: str, suffix: str) -> None:
    upstream, file = small(name), tmp_path / f"m{suffix}"
    if suffix == ".bin":
        torch.save(upstream.state, file)
    else:
        save_file({key: tensor.clone().contiguous() for key, tensor in upstream.state.items()}, file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"it is not a whole (torch|safetensors) file"):
        add_weights(upstream.card, file)


@pytest.mark.parametrize("name", ["HF CLIP, quick GELU", "open_clip around timm"])
@pytest.mark.parametrize("sha256", ["right", "wrong"])
def test_a_file_of_the_hub_in_another_layout_is_converted(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sha256: str
) -> None:
    upstream = small(name)
    file = tmp_path / "pytorch_model.bin"
    torch.save(upstream.state, file)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(file))
    known = sha256_file(file) if sha256 == "right" else "0" * 64
    source = model_card("pubmedclip").weights[0].model_copy(update={"id": "tiny.hub", "sha256": known})
    card = upstream.card.model_copy(update={"weights": (source,)})
    if sha256 == "wrong":
        with pytest.raises(InputError, match=rf"its sha256 is {sha256_file(file)}, not {known}"):
            fetch_weights(card)
        assert not (store / "tiny.hub").exists()
        return
    weights = fetch_weights(card)
    record = read_record(weights.id)
    assert (record.layout, record.download_sha256, record.kind) == (upstream.layout, known, "hub")
    with torch.inference_mode():
        theirs, ours = upstream.features(images(card)), load_backbone(card, weights)(images(card))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


# --- Archives, and sources that a user fetches by hand


def by_hand(upstream: Upstream, sha256: str | None = None) -> ModelCard:
    source = WeightsSource(
        id="tiny.pretrained",
        kind="manual",
        location="https://example.org/tiny.zip",
        revision="1.0",
        file="pytorch_model.bin",
        sha256=sha256,
        license="MIT",
        note="from a bucket",
    )
    return upstream.card.model_copy(update={"weights": (source,)})


@pytest.mark.parametrize("name", ["MedCLIP Swin", "MedCLIP ResNet"])
def test_an_archive_is_taken_as_it_was_published(store: Path, tmp_path: Path, name: str) -> None:
    upstream = small(name)
    archive = save_as_zip(upstream.state, tmp_path / "medclip.zip")
    card = by_hand(upstream, sha256_file(archive))
    weights = add_weights(card, archive, "tiny.pretrained")
    assert find_weights(card) == weights
    assert (weights.license, weights.note) == ("MIT", "from a bucket")
    record = read_record(weights.id)
    assert (record.kind, record.layout, record.revision) == ("added", upstream.layout, "1.0")
    assert (record.location, record.download_sha256) == ("https://example.org/tiny.zip", sha256_file(archive))
    with torch.inference_mode():
        theirs, ours = upstream.features(images(card)), load_backbone(card, weights)(images(card))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert add_weights(card, archive, "tiny.pretrained") == weights
    variant = card.model_copy(update={"id": "mine"})
    assert add_weights(variant, archive, "tiny.pretrained").model == find_weights(variant).model == "mine"


def test_an_archive_with_another_sha256_is_refused(store: Path, tmp_path: Path) -> None:
    upstream = small("MedCLIP ResNet")
    archive = save_as_zip(upstream.state, tmp_path / "medclip.zip")
    with pytest.raises(InputError, match=rf"its sha256 is {sha256_file(archive)}, not {'0' * 64}"):
        add_weights(by_hand(upstream, "0" * 64), archive, "tiny.pretrained")
    assert not (store / "tiny.pretrained").exists()


@pytest.mark.parametrize("length", [0, 100, -100])
def test_a_truncated_archive_is_refused(store: Path, tmp_path: Path, length: int) -> None:
    upstream = small("MedCLIP ResNet")
    archive = save_as_zip(upstream.state, tmp_path / "medclip.zip")
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(InputError, match=r"medclip\.zip: it is not a whole zip archive"):
        add_weights(upstream.card, archive)


def test_an_archive_whose_content_was_damaged_is_refused(store: Path, tmp_path: Path) -> None:
    upstream = small("MedCLIP ResNet")
    archive = save_as_zip(upstream.state, tmp_path / "medclip.zip")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(bytes(content))
    with pytest.raises(InputError, match="not a whole zip archive"):
        add_weights(upstream.card, archive)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["readme.txt"], "holds no file of weights: readme.txt"),
        (["a/x.bin", "b/y.pth"], "holds several files of weights: a/x.bin, b/y.pth"),
    ],
)
def test_an_archive_must_hold_one_file(
    store: Path, tmp_path: Path, tiny: ModelCard, names: list[str], message: str
) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    with pytest.raises(InputError, match=message):
        add_weights(tiny, tmp_path / "m.zip")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.bin", bytes(10_000_000))
    with pytest.raises(InputError, match=r"m\.zip: 'm\.bin' would unpack to 10,000,000 bytes from \d+,\d+\. "):
        add_weights(tiny, tmp_path / "m.zip")


def test_what_is_larger_than_weights_are_is_not_unpacked(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: ModelCard
) -> None:
    monkeypatch.setattr("prognobench.models._files.LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("m.bin", bytes(1001))
    with pytest.raises(InputError, match=r"would unpack to 1,001 bytes from 1,001"):
        add_weights(tiny, tmp_path / "m.zip")


def test_an_archive_that_lies_about_its_size_is_refused(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    file = tmp_path / "m.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.bin", bytes(10_000_000))
    content = file.read_bytes()
    packed = zipfile.ZipFile(file).getinfo("m.bin").compress_size
    for size in (packed, 10_000_001):  # of both headers
        lie = content.replace((10_000_000).to_bytes(4, "little"), size.to_bytes(4, "little"))
        assert lie != content
        file.write_bytes(lie)
        with pytest.raises(InputError, match=r"m\.zip: "):
            add_weights(tiny, file)


@pytest.mark.parametrize("name", ["../../up.bin", "/tmp/up.bin", "a/../../up.bin"])
def test_an_archive_cannot_choose_where_it_is_unpacked(store: Path, tmp_path: Path, name: str) -> None:
    upstream = small("MedCLIP ResNet")
    torch.save(upstream.state, tmp_path / "m.bin")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.write(tmp_path / "m.bin", name)
    target = tmp_path / "a" / "b" / "scratch"
    target.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert unzip_weights(tmp_path / "m.zip", (".bin",), target) == target / "up.bin"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before == {target / "up.bin"}
    assert add_weights(upstream.card, tmp_path / "m.zip").model == "tiny"


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["open_clip around timm", "HF CLIP, quick GELU", "MedCLIP Swin"])
def test_code_in_a_file_is_not_run(store: Path, tmp_path: Path, name: str, zipped: bool) -> None:
    state = dict(small(name).state) | {"logit_scale": Bomb(tmp_path / "ran")}
    file = tmp_path / "m.bin"
    torch.save(state, file)
    if zipped:
        file = save_as_zip(state, tmp_path / "m.zip")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="code in it is not run"):
        add_weights(small(name).card, file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("model", ["medclip_resnet", "medclip_swin"])
def test_weights_that_no_command_fetches_say_where_they_are(store: Path, model: str) -> None:
    card = model_card(model)
    (source,) = card.weights
    assert source.location.startswith("https://")
    command = f"prognobench weights add {model} PATH --id {source.id}"
    (row,) = (row for row in list_weights() if row.id == source.id)
    assert (row.state, row.kind, row.license) == ("absent", "manual", "MIT")
    for ask in (
        lambda: fetch_weights(card),
        lambda: fetch_weights(card, "hub"),
        lambda: find_weights(card),
        lambda: find_weights(card, source.id),
    ):
        with pytest.raises(InputError) as raised:
            ask()
        assert f"Get {source.location}" in str(raised.value)
        assert command in str(raised.value)
    assert command in row.detail


def test_the_id_of_another_models_source_is_refused(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(InputError, match="the id of weights of another model"):
        add_weights(tiny, tmp_path / "m.bin", "medclip_swin.pretrained")


# --- The committed lists of what files hold


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_committed_list_is_that_of_the_reference_library(name: str) -> None:
    assert listed(name) == shapes(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_list_holds_has_its_place_in_the_model_at_full_size(name: str) -> None:
    layout, model, _, _ = PUBLISHED[name]
    card = model_card(model)
    if layout in ("dinov2", "huggingface-dinov2"):  # with positions as they are stored
        card = native(model)
    expected = expected_tensors(card)
    state = {key: torch.empty(shape, device="meta") for key, shape in listed(name).items()}
    problems = Problems()
    converted, found = to_timm(card, state, name, expected, problems)
    problems.raise_if_any()
    assert found == layout
    kept = {key: tensor.shape for key, tensor in converted.items() if not card.is_classifier(key)}
    assert kept == {key: tensor.shape for key, tensor in expected.items()}


def test_every_layout_has_its_list_and_each_says_where_it_is_from() -> None:
    assert {layout for layout, *_ in PUBLISHED.values()} == {TIMM, *(layout.name for layout in LAYOUTS)}
    assert {file.stem for file in FOLDER.glob("*.txt")} == PUBLISHED.keys()
    for name, (layout, model, source, _) in PUBLISHED.items():
        head = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()[:3]
        assert head == [f"# layout: {layout}", f"# model: {model}", f"# from: {source}"]
