"""What files of each layout hold at full size, by the reference libraries' own modules; run it to write the lists anew.

The modules are made on the meta device: names and shapes, no values.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from upstream import Dinov2, published_swin

import prognobench.models

FOLDER = Path(prognobench.models.__file__).parent / "_layout_lists"
State = Mapping[str, Tensor]


def _without_counters(state: State) -> State:
    return {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


def _resnet(depth: int) -> State:
    import torchvision

    return getattr(torchvision.models, f"resnet{depth}")().state_dict()


def _densenet() -> State:
    import torchvision

    state = _without_counters(torchvision.models.densenet121().state_dict())
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): tensor for key, tensor in state.items()}


def _dinov2() -> State:
    return Dinov2(width=384, depth=12, heads=6, pixels=518).state_dict()


def _huggingface_dinov2() -> State:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14)
    state = Dinov2Model(config).state_dict()
    names = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value"}
    for new, old in (names | {"o_proj": "output.dense"}).items():
        state = {key.replace(f"attention.{new}", f"attention.{old}"): tensor for key, tensor in state.items()}
    return state


def _open_clip() -> State:
    import open_clip

    config = open_clip.get_model_config("ViT-L-14")
    keys = ("embed_dim", "vision_cfg", "text_cfg")
    return open_clip.model.CLIP(**{key: config[key] for key in keys}).state_dict()


def _bert(prefix: str, vocabulary: int) -> State:
    from transformers import BertConfig, BertModel

    state = BertModel(BertConfig(vocab_size=vocabulary)).state_dict()
    return {f"{prefix}.{key}": tensor for key, tensor in state.items()}


def _open_clip_timm() -> State:
    from open_clip.hf_model import HFTextEncoder
    from open_clip.timm_model import TimmModel
    from transformers import BertConfig

    tower = TimmModel("vit_base_patch16_224", embed_dim=512, pool="", proj="linear").state_dict()
    text = HFTextEncoder(
        "", 512, BertConfig(vocab_size=30_522), pooler_type="cls_last_hidden_state_pooler", proj_type="mlp"
    ).state_dict()
    # Where open_clip makes the tower by name, and not from a configuration, it leaves BERT's own pooler out.
    text = {key: tensor for key, tensor in text.items() if not key.startswith("transformer.pooler.")}
    both = {f"visual.{key}": tensor for key, tensor in tower.items()} | {f"text.{key}": t for key, t in text.items()}
    return both | {"logit_scale": torch.empty(())}


def _huggingface_clip() -> State:
    from transformers import CLIPConfig, CLIPModel

    state = CLIPModel(CLIPConfig(vision_config={"patch_size": 32})).state_dict()
    positions = {"vision_model": 50, "text_model": 77}
    return state | {f"{tower}.embeddings.position_ids": torch.empty(1, n) for tower, n in positions.items()}


def _huggingface_swin() -> State:
    from transformers import SwinConfig, SwinModel

    return published_swin(SwinModel(SwinConfig(image_size=224)).state_dict())


def _medclip(tower: State) -> State:
    text = _bert("text_model.model", 28_996)
    text |= {"text_model.model.embeddings.position_ids": torch.empty(1, 512)}
    text |= {"text_model.projection_head.weight": torch.empty(512, 768)}
    return {f"vision_model.{key}": tensor for key, tensor in tower.items()} | text | {"logit_scale": torch.empty(())}


def _medclip_swin() -> State:
    tower = {f"model.{key}": tensor for key, tensor in _huggingface_swin().items()}
    return _medclip(tower | {"projection_head.weight": torch.empty(512, 768)})


def _medclip_resnet() -> State:
    import torchvision

    module = torchvision.models.resnet50()
    module.fc = nn.Linear(2048, 512, bias=False)
    return _medclip({f"model.{key}": tensor for key, tensor in module.state_dict().items()})


# File: layout, model, where the list is from, and the state.
PUBLISHED: dict[str, tuple[str, str, str, Callable[[], State]]] = {
    "torchvision-resnet18": (
        "timm",
        "resnet18",
        "the state dict of torchvision.models.resnet18; timm kept its names",
        lambda: _resnet(18),
    ),
    "torchvision-resnet50": (
        "timm",
        "resnet50",
        "the state dict of torchvision.models.resnet50; timm kept its names",
        lambda: _resnet(50),
    ),
    "torchvision-densenet121": (
        "torchvision-densenet",
        "densenet121",
        "the state dict of torchvision.models.densenet121, under the names of its published file, which torchvision "
        "changes while it loads; that file is from before batches were counted",
        _densenet,
    ),
    "dinov2-vits14": (
        "dinov2",
        "dinov2_s",
        "facebookresearch/dinov2's DinoVisionTransformer as its vit_small of 518 pixels is released, written out in "
        "tests/models/upstream.py",
        _dinov2,
    ),
    "huggingface-dinov2-small": (
        "huggingface-dinov2",
        "dinov2_s",
        "the state dict of transformers' Dinov2Model, under the names of transformers 4, in which files are published",
        _huggingface_dinov2,
    ),
    "open_clip-vit-l-14": (
        "open_clip",
        "clip_l",
        "the state dict of open_clip's CLIP, configuration ViT-L-14",
        _open_clip,
    ),
    "open_clip-biomedclip": (
        "open_clip-timm",
        "biomedclip",
        "the state dict of open_clip's TimmModel and HFTextEncoder as BiomedCLIP configures them (PubMedBERT: "
        "BERT-base of 30,522 words); not compared with the published file",
        _open_clip_timm,
    ),
    "huggingface-clip-vit-b-32": (
        "huggingface-clip",
        "pubmedclip",
        "the state dict of transformers' CLIPModel for B/32, and the position_ids that it stored before 4.31",
        _huggingface_clip,
    ),
    "huggingface-swin-tiny": (
        "huggingface-swin",
        "medclip_swin",
        "the state dict of transformers' SwinModel, under the names of transformers 4, in which files are published, "
        "and the relative_position_index that it stored then",
        _huggingface_swin,
    ),
    "medclip-swin": (
        "medclip-swin",
        "medclip_swin",
        "MedCLIPVisionModelViT in modeling_medclip.py of MedCLIP 0.0.3 around transformers' SwinModel "
        "and MedCLIPTextModel around BertModel as Bio_ClinicalBERT configures it (28,996 words), with the position_ids "
        "of that time; not compared with the published file",
        _medclip_swin,
    ),
    "medclip-resnet": (
        "medclip-resnet",
        "medclip_resnet",
        "MedCLIPVisionModel in modeling_medclip.py of MedCLIP 0.0.3 around torchvision's resnet50 "
        "and MedCLIPTextModel around BertModel as Bio_ClinicalBERT configures it (28,996 words), with the position_ids "
        "of that time; not compared with the published file",
        _medclip_resnet,
    ),
}


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Return what the reference library's module holds."""
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in PUBLISHED[name][3]().items()}


def listed(name: str) -> dict[str, tuple[int, ...]]:
    """Return what the committed list says."""
    result: dict[str, tuple[int, ...]] = {}
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            pattern, *sizes = line.split()
            for key in _expanded(pattern):
                assert key not in result, key
                result[key] = tuple(map(int, sizes))
    return result


def _expanded(pattern: str) -> Iterable[str]:
    fixed = re.split(r"\[(\d+)-(\d+)\]", pattern)
    ranges = [range(int(a), int(b) + 1) for a, b in zip(fixed[1::3], fixed[2::3], strict=True)]
    for numbers in itertools.product(*ranges):
        yield "".join(itertools.chain.from_iterable(itertools.zip_longest(fixed[::3], map(str, numbers), fillvalue="")))


def _folded(keys: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Write runs of numbers as `[0-11]`, from the last number of a key to the first."""
    for place in range(-1, -4, -1):
        groups: dict[tuple[str, str, tuple[int, ...]], list[int]] = {}
        rest: dict[str, tuple[int, ...]] = {}
        for key, shape in keys.items():
            numbers = list(re.finditer(r"(?<=\.)\d+(?=\.)|\[\d+-\d+\]", key))
            found = numbers[place] if len(numbers) >= -place else None
            if found is None or found[0].startswith("["):
                rest[key] = shape
            else:
                groups.setdefault((key[: found.start()], key[found.end() :], shape), []).append(int(found[0]))
        for (before, after, shape), values in groups.items():
            for run in _runs(sorted(values)):
                number = str(run[0]) if len(run) == 1 else f"[{run[0]}-{run[-1]}]"
                rest[f"{before}{number}{after}"] = shape
        keys = rest
    return keys


def _runs(values: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return runs


def write() -> None:
    """Write every list."""
    for name, (layout, model, source, _) in PUBLISHED.items():
        head = [f"# layout: {layout}", f"# model: {model}", f"# from: {source}"]
        lines = [" ".join([key, *map(str, shape)]) for key, shape in sorted(_folded(shapes(name)).items())]
        (FOLDER / f"{name}.txt").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
