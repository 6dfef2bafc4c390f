"""Backbones are what their cards say, and load exactly what is stored."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prognobench.frame import InputError
from prognobench.models import (
    ModelCard,
    add_weights,
    find_weights,
    load_backbone,
    model_card,
    model_cards,
    read_out,
    readout_width,
)
from prognobench.models._attention import use_plain_attention
from prognobench.models._build import _silences
from prognobench.models._files import read_tensors

pytestmark = pytest.mark.torch
CARDS = pytest.mark.parametrize("card", model_cards().values(), ids=lambda card: card.id)


@cache
def built(model: str) -> nn.Module:
    """Build a model of the catalog once for all tests that look at nothing but shapes and names: it has no values."""
    card = model_card(model)
    with torch.device("meta"):
        module = timm.create_model(card.architecture, pretrained=False, **card.build).eval()
    use_plain_attention(module)
    return module


def matching(module: nn.Module, pattern: str) -> list[str]:
    return [name for name, _ in module.named_modules() if re.fullmatch(pattern, name)]


@CARDS
def test_a_card_counts_what_the_module_holds(card: ModelCard) -> None:
    module = built(card.id)
    images = torch.zeros(1, 3, card.input_size, card.input_size, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features = module(images)
    assert features.shape == (1, card.width)
    assert features.dtype == torch.float32
    assert sum(parameter.numel() for parameter in module.parameters()) == card.parameters
    assert counter.get_total_flops() / 1e9 == pytest.approx(card.gflops, abs=5e-5)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(name, marks=[] if card.parameters < 5e6 else pytest.mark.slow)
        for name, card in model_cards().items()
        if card.parameters < 1e8
    ],
)
def test_a_backbone_of_each_kind_is_ready_for_images(model: str) -> None:
    card = model_card(model)
    module = load_backbone(card, find_weights(card, "random"))
    with torch.inference_mode():
        features = module(torch.randn(1, 3, card.input_size, card.input_size))
    assert features.shape == (1, card.width)
    assert features.dtype == torch.float32
    assert bool(features.isfinite().all())
    assert not any(part.training for part in module.modules())


@CARDS
def test_a_card_knows_whether_the_features_are_a_class_token(card: ModelCard) -> None:
    """By the module's own pooling; a card that says so wrongly would read registers or patches in silence."""
    module = built(card.id)
    pools = getattr(module, "global_pool", None)
    assert card.class_token == (card.family == "vit" and pools == "token" and module.cls_token is not None)
    if card.class_token:
        images = torch.zeros(1, 3, card.input_size, card.input_size, device="meta")
        with torch.no_grad():
            assert read_out(module, images, 2, True).shape == (1, readout_width(card, 2, True))


@CARDS
def test_every_role_is_found_and_every_block_has_its_parts(card: ModelCard) -> None:
    module = built(card.id)
    blocks = matching(module, card.roles["block"])
    assert len(blocks) == card.blocks
    for role, pattern in card.roles.items():
        names = matching(module, pattern)
        assert names, role
        if role not in ("stem", "patch_embed", "patch_merge"):
            assert all(any(name == block or name.startswith(f"{block}.") for name in names) for block in blocks), role


@CARDS
def test_roles_miss_no_layer(card: ModelCard) -> None:
    """An oracle by type: linear layers, convolutions and norms are all of some role, and of the right one."""
    module = built(card.id)
    found = {role: set(matching(module, pattern)) for role, pattern in card.roles.items()}
    parts = dict(module.named_modules())
    linear = {name for name, part in parts.items() if isinstance(part, nn.Linear)}
    assert linear == set().union(
        *(found.get(r, set()) for r in ("attention.qkv", "attention.proj", "mlp.fc1", "mlp.fc2", "patch_merge"))
    )
    dense = {name for name, part in parts.items() if isinstance(part, nn.Conv2d) and part.groups == 1}
    assert dense == set().union(*(found.get(role, set()) for role in ("conv", "stem", "patch_embed")))
    grouped = {name for name, part in parts.items() if isinstance(part, nn.Conv2d) and part.groups > 1}
    assert grouped == found.get("conv.depthwise", set())
    norms = {name for name, part in parts.items() if isinstance(part, (nn.LayerNorm, nn.modules.batchnorm._BatchNorm))}
    assert norms == found["norm"]


@CARDS
def test_fused_slices_divide_the_output(card: ModelCard) -> None:
    module = built(card.id)
    for role, parts in card.fused.items():
        for name in matching(module, card.roles[role]):
            rows = module.get_submodule(name).weight.shape[0]
            slices = {part: card.fused_rows(role, part, rows) for part in parts}
            assert sorted(i for start, stop in slices.values() for i in range(start, stop)) == list(range(rows))


def test_q_k_and_v_stand_where_the_card_says(tiny: ModelCard) -> None:
    """Without its values, attention gives nothing but its bias, whatever q and k are."""
    card = tiny.model_copy(update={"fused": {"attention.qkv": {"q": (0, 8), "k": (8, 16), "v": (16, 24)}}})
    module = load_backbone(card, find_weights(card, "random"))
    attention = module.blocks[0].attn
    start, stop = card.fused["attention.qkv"]["v"]
    tokens = torch.randn(2, 17, 8)
    with torch.no_grad():
        assert attention(tokens).abs().max() > 0
        attention.qkv.weight[start:stop] = 0
        attention.qkv.bias[start:stop] = 0
        attention.proj.bias.zero_()
        assert attention(tokens).abs().max() == 0


def test_a_vit_gives_its_normalized_class_token(tiny: ModelCard) -> None:
    module = load_backbone(tiny, find_weights(tiny, "random"))
    images = torch.randn(2, 3, 56, 56)
    with torch.inference_mode():
        tokens = module.forward_features(images)
        torch.testing.assert_close(module(images), tokens[:, 0])
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 17), atol=1e-5, rtol=0)


def test_random_weights_depend_on_their_seed_alone(tiny: ModelCard) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = load_backbone(tiny, find_weights(tiny, "random:1")).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    again = load_backbone(tiny, find_weights(tiny, "random:1"), seed=1).state_dict()
    other = load_backbone(tiny, find_weights(tiny, "random:2")).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"])


def test_random_weights_are_those_of_timm_with_layer_scale_one(tiny: ModelCard) -> None:
    torch.manual_seed(3)
    oracle = timm.create_model(tiny.architecture, **tiny.build).state_dict()
    state = load_backbone(tiny, find_weights(tiny, "random:3")).state_dict()
    scales = [key for key in state if key.endswith(".gamma")]
    assert len(scales) == 4
    assert all(torch.equal(state[key], torch.ones(8)) for key in scales)
    assert all(torch.equal(state[key], oracle[key]) for key in state.keys() - scales)


@pytest.mark.parametrize(
    ("name", "shape", "value", "silent"),
    [
        ("blocks.0.ls1.gamma", (8,), 1e-5, True),
        ("blocks.0.gamma_xca", (8,), 0.1, True),
        ("stages.0.blocks.0.layer_scale1.scale", (8,), 1e-5, True),
        ("stages.0.0.skipinit_gain", (), 0.0, True),
        ("stages.0.0.conv3.gain", (8, 1, 1, 1), 0.0, True),
        ("stages.0.token_mixer.layer_scale.gamma", (8, 1, 1), 1e-5, True),
        ("stages.0.blocks.0.alpha", (4, 8), 1e-4, True),
        ("layer1.0.bn2.weight", (8,), 0.0, True),
        ("blocks.0.norm1.weight", (8,), 1.0, False),
        ("blocks.0.norm1.bias", (8,), 0.0, False),
        ("blocks.0.attn.q_bias", (8,), 0.0, False),
        ("meta_mlp.fc2.bias", (1,), 0.004, False),
        ("attn.attention_biases", (4, 49), 0.0, False),
        ("attn.rel_pos_h", (27, 8), 0.0, False),
        ("cls_token", (1, 1, 8), 0.0, False),
        ("pos_embed", (1, 1, 8), 0.0, False),
        ("attn.temperature", (8, 1, 1), 1.0, False),
    ],
)
def test_a_scale_that_starts_near_zero_is_told_by_its_values(
    name: str, shape: tuple[int, ...], value: float, silent: bool
) -> None:
    assert _silences(name, torch.full(shape, value)) is silent


def silenced(module: nn.Module) -> list[str]:
    """Name the parameters that are one small number, but for what is added to something."""
    added = r".*(bias|rel_pos)[^.]*"
    return [
        name
        for name, value in module.state_dict().items()
        if name in dict(module.named_parameters()) and not re.fullmatch(added, name)
        if abs(float(value.flatten()[0])) < 0.5 and bool((value == value.flatten()[0]).all())
    ]


QUICK = ("test_mambaout", "test_nfnet", "test_convnext", "test_vit_relpos")
SLOW = (
    *("dm_nfnet_f0", "edgenext_xx_small", "efficientvim_m1", "fastvit_t8", "levit_128s", "poolformer_s12"),
    *("regnetx_004_tv", "resmlp_12_224", "swiftformer_xs", "swinv2_cr_tiny_224"),
)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_no_block_of_a_random_control_is_silent(name: str) -> None:
    """One model for each name that timm has for what starts near 0."""
    card = model_card(f"timm:{name}")
    assert silenced(timm.create_model(card.architecture, **card.build))
    assert silenced(load_backbone(card, find_weights(card, "random"))) == []


def test_a_seed_that_contradicts_the_weights_is_refused(tiny: ModelCard) -> None:
    with pytest.raises(ValueError, match="random:7"):
        load_backbone(tiny, find_weights(tiny, "random"), seed=7)


def test_weights_of_another_model_are_refused(tiny: ModelCard) -> None:
    with pytest.raises(ValueError, match="not of resnet18"):
        load_backbone(model_card("resnet18"), find_weights(tiny, "random"))


def make(card: ModelCard, **build: object) -> dict[str, torch.Tensor]:
    """A state of realistic values under timm's keys."""
    torch.manual_seed(0)
    module = timm.create_model(card.architecture, **card.build | build)
    return {key: torch.randn_like(t) * 0.05 if t.is_floating_point() else t for key, t in module.state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("as_folder", [True, False])
def test_what_is_added_is_what_is_loaded(
    store: Path, tmp_path: Path, tiny: ModelCard, suffix: str, as_folder: bool
) -> None:
    state = make(tiny)
    source = tmp_path / "given"
    source.mkdir()
    (source / "readme.txt").write_text("hello", encoding="utf-8")
    write(source / f"model{suffix}", state)
    weights = add_weights(tiny, source if as_folder else source / f"model{suffix}")
    assert weights == find_weights(tiny)
    assert weights.id == "tiny.added"
    loaded = load_backbone(tiny, weights).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert add_weights(tiny, source) == weights


def test_a_classifier_is_left_out_where_the_card_declares_it_and_only_there(
    store: Path, tmp_path: Path, tiny: ModelCard
) -> None:
    state = make(tiny, num_classes=3)
    assert "head.weight" in state
    write(tmp_path / "m.pth", state)
    with pytest.raises(InputError, match=r"(?s)'head.weight' is surplus.*'head.bias' is surplus"):
        add_weights(tiny, tmp_path / "m.pth")
    declared = tiny.model_copy(update={"classifier": ("head",)})
    loaded = load_backbone(declared, add_weights(declared, tmp_path / "m.pth")).state_dict()
    assert loaded.keys() == make(tiny).keys()


def rename(state: dict[str, torch.Tensor]) -> None:
    state["blocks.0.norm9.bias"] = state.pop("blocks.0.norm1.bias")


def drop(state: dict[str, torch.Tensor]) -> None:
    del state["blocks.1.mlp.fc2.weight"]
    del state["cls_token"]


def reshape(state: dict[str, torch.Tensor]) -> None:
    state["blocks.0.attn.qkv.weight"] = state["blocks.0.attn.qkv.weight"][:-1].clone()


def cut_positions(state: dict[str, torch.Tensor]) -> None:
    state["pos_embed"] = state["pos_embed"][:, :-1].clone()


def spoil(state: dict[str, torch.Tensor]) -> None:
    state["norm.weight"][0] = float("nan")


def quantize(state: dict[str, torch.Tensor]) -> None:
    state["norm.weight"] = state["norm.weight"].to(torch.int8)


FAULTS = pytest.mark.parametrize(
    ("fault", "messages"),
    [
        (rename, ["'blocks.0.norm1.bias' is missing", "'blocks.0.norm9.bias' is surplus"]),
        (drop, ["'cls_token' is missing", "'blocks.1.mlp.fc2.weight' is missing"]),
        (reshape, ["'blocks.0.attn.qkv.weight' has the shape (23, 8), not (24, 8)"]),
        (cut_positions, ["'pos_embed' has the shape (1, 16, 8), not (1, 17, 8)"]),
        (spoil, ["'norm.weight' holds values that are not finite"]),
        (quantize, ["'norm.weight' is torch.int8, not torch.float32"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)


@FAULTS
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_state_that_does_not_fit_is_refused_by_name_and_leaves_no_trace(
    store: Path, tmp_path: Path, tiny: ModelCard, suffix: str, fault: object, messages: list[str]
) -> None:
    state = make(tiny)
    assert callable(fault)
    fault(state)
    write(tmp_path / f"m{suffix}", state)
    with pytest.raises(InputError) as raised:
        add_weights(tiny, tmp_path / f"m{suffix}")
    assert [problem.what.removeprefix("the tensor ") for problem in raised.value.problems] == messages
    assert not (store / "tiny.added").exists()
    with pytest.raises(InputError, match="not here"):
        find_weights(tiny)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("length", [0, 5, 300, -1])
def test_a_truncated_file_is_refused(store: Path, tmp_path: Path, tiny: ModelCard, suffix: str, length: int) -> None:
    file = tmp_path / f"m{suffix}"
    write(file, make(tiny))
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(InputError, match=rf"m\{suffix}.*(not a whole|more than tensors)"):
        add_weights(tiny, file)


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.mark,))


def test_a_pickle_that_runs_code_is_refused_and_its_code_is_not_run(
    store: Path, tmp_path: Path, tiny: ModelCard
) -> None:
    mark = tmp_path / "ran"
    torch.save(make(tiny) | {"bomb": Bomb(mark)}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"m\.pth: it holds more than tensors, and code in it is not run"):
        add_weights(tiny, tmp_path / "m.pth")
    assert not mark.exists()
    torch.load(tmp_path / "m.pth", weights_only=False)
    assert mark.exists(), "the file was harmless, and the test proved nothing"


def sparse(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_sparse()


def compressed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[None].to_sparse_csr()


def without_values(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta")


def narrow(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float8_e4m3fn)


def quantized(tensor: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def nested(tensor: torch.Tensor) -> torch.Tensor:
    return torch.nested.nested_tensor([tensor, tensor[:-1]])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("odd", [sparse, compressed, without_values, narrow, quantized, nested])
def test_a_tensor_of_another_kind_is_refused_by_name(
    store: Path, tmp_path: Path, tiny: ModelCard, odd: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    state = make(tiny)
    torch.save(state | {"norm.weight": odd(state["norm.weight"])}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"m\.pth: .*'?norm\.weight|m\.pth: it (holds more than|is not a whole)"):
        add_weights(tiny, tmp_path / "m.pth")
    assert not (store / "tiny.added").exists()


def test_a_safetensors_file_of_another_type_is_refused_by_name(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    state = make(tiny)
    save_file(state | {"norm.weight": narrow(state["norm.weight"])}, tmp_path / "m.safetensors")
    with pytest.raises(InputError, match=r"the tensor 'norm\.weight' is of the type torch\.float8_e4m3fn"):
        add_weights(tiny, tmp_path / "m.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_numbers_too_large_for_the_backbone_are_refused(
    store: Path, tmp_path: Path, tiny: ModelCard, suffix: str
) -> None:
    state = make(tiny)
    wide = state["norm.weight"].double()
    wide[3] = 1e300
    write(tmp_path / f"m{suffix}", state | {"norm.weight": wide})
    with pytest.raises(InputError, match=r"'norm\.weight' holds values that are not finite"):
        add_weights(tiny, tmp_path / f"m{suffix}")
    wide[3] = 2.0
    write(tmp_path / f"m{suffix}", state | {"norm.weight": wide})
    loaded = load_backbone(tiny, add_weights(tiny, tmp_path / f"m{suffix}"))
    assert loaded.state_dict()["norm.weight"][3] == 2.0


def test_keys_that_are_no_names_are_refused(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    torch.save(make(tiny) | {1: torch.zeros(2), "1": torch.ones(2)}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"these keys are no names: 1\."):
        add_weights(tiny, tmp_path / "m.pth")


@cache
def saved(suffix: str) -> bytes:
    buffer = io.BytesIO()
    state = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}
    if suffix == ".safetensors":
        return safetensors.torch.save(state)
    torch.save(state, buffer, _use_new_zipfile_serialization=suffix == ".pth")
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".old.pt"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_never_traced(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    content = bytearray(saved(suffix))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    file.write_bytes(content)
    try:
        found = read_tensors(file)
    except InputError as error:
        assert file.name in str(error)
    else:
        assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}, "epoch": 3}, torch.zeros(3)], ids=str)
def test_a_torch_file_of_another_kind_is_refused(store: Path, tmp_path: Path, tiny: ModelCard, content: object) -> None:
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"m\.pth.*Save model\.state_dict\(\) alone"):
        add_weights(tiny, tmp_path / "m.pth")


def test_a_folder_must_hold_one_file(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    given = tmp_path / "given"
    with pytest.raises(InputError, match="no such file or folder"):
        add_weights(tiny, given)
    given.mkdir()
    with pytest.raises(InputError, match="holds none"):
        add_weights(tiny, given)
    for name in ("a.pth", "b.pth"):
        (given / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"holds several: a\.pth, b\.pth"):
        add_weights(tiny, given)
    (given / "a.txt").write_bytes(b"")
    with pytest.raises(InputError, match=r"'\.txt' is no format"):
        add_weights(tiny, given / "a.txt")


@pytest.mark.parametrize("name", ["dinov2_s.lvd142m", "../up", "random", ".hidden", "a b", "x" * 300])
def test_an_id_that_is_taken_or_unfit_is_refused(store: Path, tmp_path: Path, tiny: ModelCard, name: str) -> None:
    write(tmp_path / "m.pth", make(tiny))
    with pytest.raises(InputError, match="weights id"):
        add_weights(tiny, tmp_path / "m.pth", name)


def test_other_weights_do_not_replace_those_of_an_id(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    state = make(tiny)
    write(tmp_path / "m.pth", state)
    first = add_weights(tiny, tmp_path / "m.pth", "ours")
    write(tmp_path / "n.pth", {key: tensor + 1 for key, tensor in state.items()})
    with pytest.raises(InputError, match="other weights have this id"):
        add_weights(tiny, tmp_path / "n.pth", "ours")
    assert find_weights(tiny, "ours") == first
    assert add_weights(tiny, tmp_path / "n.pth", "ours2").sha256 != first.sha256


def test_weights_that_were_altered_in_the_store_do_not_load(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    write(tmp_path / "m.pth", make(tiny))
    weights = add_weights(tiny, tmp_path / "m.pth")
    assert weights.path is not None
    content = bytearray(weights.path.read_bytes())
    content[-1] ^= 1
    weights.path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=rf"altered: sha256 \w+, recorded {weights.sha256}"):
        load_backbone(tiny, weights)
    weights.path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        load_backbone(tiny, weights)


def test_a_hash_that_was_typed_wrong_does_not_load(store: Path, tmp_path: Path, tiny: ModelCard) -> None:
    write(tmp_path / "m.pth", make(tiny))
    with pytest.raises(InputError, match="altered"):
        load_backbone(tiny, replace(add_weights(tiny, tmp_path / "m.pth"), sha256="0" * 64))


def write(file: Path, state: dict[str, torch.Tensor]) -> None:
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
