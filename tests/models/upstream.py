"""The models of other libraries with random weights, in the form in which those libraries publish them."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from prognobench.models import ModelCard, model_card

State = dict[str, Tensor]


@dataclass(frozen=True)
class Upstream:
    """A reference module, its features, and its state as a file holds it; `card` is that of the same timm model."""

    card: ModelCard
    features: Callable[[Tensor], Tensor]
    state: State
    layout: str


def realistic(module: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every tensor with values of the size that training leaves: no part of the network is without effect."""
    generator = torch.Generator().manual_seed(seed)

    def noise(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=generator)

    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            end = name.rpartition(".")[2]
            if not tensor.is_floating_point():
                continue
            if end == "running_var":
                tensor.copy_(1 + 0.3 * noise(tensor).abs())
            elif end == "bias_table" or "embed" in end or "token" in end or "position_embedding" in name:
                tensor.copy_(0.3 * noise(tensor))
            elif end == "weight" and tensor.ndim == 1:
                tensor.copy_(1 + 0.2 * noise(tensor))
            elif tensor.ndim == 1:
                tensor.copy_(0.2 * noise(tensor))
            elif tensor.ndim > 1:
                tensor.copy_(noise(tensor) * (1.5 / tensor[0].numel() ** 0.5))
    return module.eval()


def smaller(model: str, width: int, **build: Any) -> ModelCard:
    """Return the card of a smaller network of the same class."""
    card = model_card(model)
    own = {"build": {"num_classes": 0} | build, "width": width, "weights": (), "id": "tiny", "aliases": ()}
    own |= {"input_size": build.get("img_size", 64)}
    return card.model_copy(update=own)


def native(model: str) -> ModelCard:
    """Return the card of a DINOv2 at the size of the stored positions, which nobody resamples."""
    return model_card(model).model_copy(update={"build": {"img_size": 518, "num_classes": 0}})


# --- torchvision


def torchvision_resnet(model: str, full: bool) -> Upstream:
    import torchvision

    block, layers = {"resnet18": ("BasicBlock", (2, 2, 2, 2)), "resnet50": ("Bottleneck", (3, 4, 6, 3))}[model]
    narrow = {} if full or block == "BasicBlock" else {"base_width": 8}
    layers = layers if full else (1, 1, 1, 1)
    card = model_card(model) if full else smaller(model, model_card(model).width, layers=layers, **narrow)
    kind = getattr(torchvision.models.resnet, block)
    module = realistic(torchvision.models.ResNet(kind, list(layers), width_per_group=narrow.get("base_width", 64)))
    state = dict(module.state_dict())
    module.fc = nn.Identity()
    return Upstream(card, module, state, "timm")


def torchvision_densenet(full: bool, published: bool) -> Upstream:
    import torchvision

    small = {"growth_rate": 8, "block_config": (2, 3)}
    # timm's stem is always twice as wide as what a layer adds.
    module = torchvision.models.densenet121() if full else torchvision.models.DenseNet(**small, num_init_features=16)
    realistic(module)
    features = module.classifier.in_features
    card = model_card("densenet121") if full else smaller("densenet121", features, **small)
    state = dict(module.state_dict())
    module.classifier = nn.Identity()
    if published:  # the file of 2017: dots inside the layers' names, no counters of batches
        state = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value for key, value in state.items()}
        state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    return Upstream(card, module, state, "torchvision-densenet" if published else "timm")


# --- open_clip


def open_clip_tower(full: bool) -> Upstream:
    import open_clip

    text = {"context_length": 7, "vocab_size": 11, "width": 16, "heads": 2, "layers": 1}
    size = {"layers": 24, "width": 1024} if full else {"layers": 2, "width": 64, "head_width": 32, "image_size": 56}
    vision = {"image_size": 224, "patch_size": 14} | size
    model = realistic(open_clip.model.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text))
    small = {"embed_dim": 64, "depth": 2, "num_heads": 2, "img_size": 56}
    card = model_card("clip_l") if full else smaller("clip_l", 64, **small)
    state = dict(model.state_dict())
    model.visual.proj = None
    return Upstream(card, model.visual, state, "open_clip")


def open_clip_timm(full: bool) -> Upstream:
    from open_clip.timm_model import TimmModel

    tower = TimmModel("vit_base_patch16_224" if full else "vit_tiny_patch16_224", embed_dim=16, pool="", proj="linear")
    card = model_card("biomedclip")
    if not full:
        small = {"embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": 64}
        card = smaller("biomedclip", 16, **small)
        # The head on top stays open_clip's, the trunk is timm's in either case.
        tower.trunk = timm.create_model(card.architecture, **card.build)
        tower.head = nn.Sequential(OrderedDict(proj=nn.Linear(16, 16, bias=False)))
    realistic(tower)
    state = {f"visual.{key}": value for key, value in tower.state_dict().items()}
    state |= {"logit_scale": torch.ones(()), "text.proj.0.weight": torch.zeros(2, 2)}
    state |= {"text.transformer.embeddings.position_ids": torch.arange(4)[None]}
    tower.head = nn.Identity()
    return Upstream(card, tower, state, "open_clip-timm")


# --- Hugging Face


def huggingface_clip(full: bool, model: str, form: str) -> Upstream:
    from transformers import CLIPConfig, CLIPModel

    large = model == "clip_l"
    activation = {"hidden_act": "gelu" if large else "quick_gelu"}
    if full:
        size = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
        vision = {"patch_size": 14, **size} if large else {"patch_size": 32}
        card = model_card(model)
    else:
        size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2 if large else 1}
        vision = {**size, "intermediate_size": 256, "image_size": 56, "patch_size": 14}
        heads = size["num_attention_heads"]
        build = {"embed_dim": 64, "depth": 2, "num_heads": heads, "img_size": 56, "patch_size": 14}
        card = smaller(model, 64, **build)
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 11}
    text |= {"intermediate_size": 16, "max_position_embeddings": 7, "bos_token_id": 1, "eos_token_id": 2}
    config = CLIPConfig(vision_config=vision | activation, text_config=text, projection_dim=16)
    module = realistic(CLIPModel(config))
    tower = {key.removeprefix("vision_model."): v for key, v in module.vision_model.state_dict().items()}
    if form == "whole":  # the published files, from before transformers 4.31
        positions = torch.arange(len(tower["embeddings.position_embedding.weight"]))[None]
        extra = {"vision_model.embeddings.position_ids": positions, "text_model.embeddings.position_ids": positions}
        state = dict(module.state_dict()) | extra
    else:
        state = {f"vision_model.{key}": value for key, value in tower.items()} if form == "tower of 4" else tower
    return Upstream(card, lambda images: module.vision_model(images).pooler_output, state, "huggingface-clip")


def swin(full: bool) -> tuple[ModelCard, nn.Module]:
    from transformers import SwinConfig, SwinModel

    if full:
        return model_card("medclip_swin"), realistic(SwinModel(SwinConfig(image_size=224)))
    small = {"embed_dim": 12, "depths": (2, 2), "num_heads": (2, 3)}
    module = realistic(SwinModel(SwinConfig(image_size=56, **small)))
    return smaller("medclip_swin", 24, img_size=56, **small), module


_SWIN_NAMES = (
    (r"attention\.q_proj", "attention.self.query"),
    (r"attention\.k_proj", "attention.self.key"),
    (r"attention\.v_proj", "attention.self.value"),
    (r"attention\.o_proj", "attention.output.dense"),
    (r"attention\.relative_position_bias\.", "attention.self."),
    (r"mlp\.fc1", "intermediate.dense"),
    (r"mlp\.fc2", "output.dense"),
)


def published_swin(state: Mapping[str, Tensor]) -> State:
    """Give the names of transformers 4, in which Swin files are published, with the buffers that these hold."""
    result: State = {}
    for key, value in state.items():
        for new, old in _SWIN_NAMES:
            key = re.sub(new, old, key)
        result[key] = value
        if key.endswith("relative_position_bias_table"):
            result[key.replace("bias_table", "index")] = torch.zeros(49, 49, dtype=torch.int64)
    return result


def huggingface_swin(full: bool, published: bool) -> Upstream:
    card, module = swin(full)
    state = published_swin(module.state_dict()) if published else dict(module.state_dict())
    return Upstream(card, lambda images: module(images).pooler_output, state, "huggingface-swin")


def huggingface_dinov2(full: bool, published: bool) -> Upstream:
    from transformers import Dinov2Config, Dinov2Model

    size = {"hidden_size": 384, "num_attention_heads": 6} if full else {"hidden_size": 16, "num_attention_heads": 2}
    size |= {"num_hidden_layers": 12 if full else 2, "image_size": 518 if full else 56, "patch_size": 14}
    module = realistic(Dinov2Model(Dinov2Config(**size)))
    state = dict(module.state_dict())
    if published:
        for part, name in {"q": "query", "k": "key", "v": "value"}.items():
            state = {
                key.replace(f"attention.{part}_proj", f"attention.attention.{name}"): v for key, v in state.items()
            }
        state = {key.replace("attention.o_proj", "attention.output.dense"): value for key, value in state.items()}
    card = native("dinov2_s") if full else smaller("dinov2_s", 16, embed_dim=16, depth=2, num_heads=2, img_size=56)
    return Upstream(card, lambda images: module(images).pooler_output, state, "huggingface-dinov2")


# --- DINOv2 itself


def dinov2_positions(positions: Tensor, pixels: int, patch: int = 14) -> Tensor:
    """Port of `interpolate_pos_encoding` in facebookresearch/dinov2 with its released settings."""
    count = positions.shape[1] - 1
    if pixels // patch == math.isqrt(count):
        return positions
    dim = positions.shape[-1]
    class_position, patch_positions = positions.float()[:, 0], positions.float()[:, 1:]
    w0 = h0 = pixels // patch
    m = int(math.sqrt(count))
    sx, sy = float(w0 + 0.1) / m, float(h0 + 0.1) / m
    patch_positions = nn.functional.interpolate(
        patch_positions.reshape(1, m, m, dim).permute(0, 3, 1, 2),
        scale_factor=(sx, sy),
        mode="bicubic",
        antialias=False,
    )
    assert (w0, h0) == patch_positions.shape[-2:]
    patch_positions = patch_positions.permute(0, 2, 3, 1).view(1, -1, dim)
    return torch.cat((class_position.unsqueeze(0), patch_positions), dim=1)


def _parts(**modules: nn.Module) -> nn.Module:
    parent = nn.Module()
    for name, module in modules.items():
        parent.add_module(name, module)
    return parent


class Dinov2(nn.Module):
    """What facebookresearch/dinov2 computes, written from its description under the names of its released files.

    Blocks of attention and an MLP behind layer norms (epsilon 1e-6), each scaled by a vector before it is added; the
    class token after the last norm.
    """

    def __init__(self, width: int, depth: int, heads: int, pixels: int, patch: int = 14) -> None:
        super().__init__()
        self.heads = heads
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (pixels // patch) ** 2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = _parts(proj=nn.Conv2d(3, width, patch, patch))
        self.blocks = nn.ModuleList(self._block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    @staticmethod
    def _block(width: int) -> nn.Module:
        block = _parts(
            norm1=nn.LayerNorm(width, eps=1e-6),
            attn=_parts(qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width)),
            ls1=nn.Module(),
            norm2=nn.LayerNorm(width, eps=1e-6),
            mlp=_parts(fc1=nn.Linear(width, 4 * width), fc2=nn.Linear(4 * width, width)),
            ls2=nn.Module(),
        )
        for scale in (block.ls1, block.ls2):
            scale.gamma = nn.Parameter(torch.ones(width))
        return block

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch_embed.proj(images).flatten(2).mT
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = tokens + dinov2_positions(self.pos_embed, images.shape[-1])
        for block in self.blocks:
            tokens = tokens + block.ls1.gamma * self._attention(block.attn, block.norm1(tokens))
            hidden = nn.functional.gelu(block.mlp.fc1(block.norm2(tokens)))
            tokens = tokens + block.ls2.gamma * block.mlp.fc2(hidden)
        return self.norm(tokens)[:, 0]

    def _attention(self, attention: nn.Module, tokens: Tensor) -> Tensor:
        q, k, v = attention.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
        return attention.proj((weights @ v).transpose(1, 2).flatten(2))


def dinov2(full: bool, resampled: bool) -> Upstream:
    """Released files hold the positions of 518 pixels; films have 224."""
    if full:
        card = model_card("dinov2_s") if resampled else native("dinov2_s")
        module = realistic(Dinov2(384, 12, 6, 518))
    else:
        card = smaller("dinov2_s", 16, embed_dim=16, depth=2, num_heads=2, img_size=56)
        module = realistic(Dinov2(16, 2, 2, 98 if resampled else 56))
    return Upstream(card, module, dict(module.state_dict()), "dinov2")


# --- MedCLIP, under the names of its `modeling_medclip.py`


def _medclip(tower: Mapping[str, Tensor]) -> State:
    rest = {"text_model.model.embeddings.position_ids": torch.arange(3)[None], "logit_scale": torch.ones(())}
    rest |= {"text_model.projection_head.weight": torch.zeros(512, 4)}
    return {f"vision_model.{key}": value for key, value in tower.items()} | rest


def medclip_swin(full: bool) -> Upstream:
    card, module = swin(full)
    tower = {f"model.{key}": value for key, value in published_swin(module.state_dict()).items()}
    state = _medclip(tower | {"projection_head.weight": torch.zeros(512, card.width)})
    return Upstream(card, lambda images: module(images).pooler_output, state, "medclip-swin")


def medclip_resnet(full: bool) -> Upstream:
    import torchvision

    layers, width = ((3, 4, 6, 3), 64) if full else ((1, 1, 1, 1), 8)
    card = model_card("medclip_resnet") if full else smaller("medclip_resnet", 2048, layers=layers, base_width=width)
    module = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, list(layers), width_per_group=width)
    module.fc = nn.Linear(2048, 512 if full else 8, bias=False)
    realistic(module)
    state = _medclip({f"model.{key}": value for key, value in module.state_dict().items()})
    module.fc = nn.Identity()
    return Upstream(card, module, state, "medclip-resnet")


UPSTREAM: dict[str, Callable[[bool], Upstream]] = {
    "torchvision ResNet-18": lambda full: torchvision_resnet("resnet18", full),
    "torchvision ResNet-50": lambda full: torchvision_resnet("resnet50", full),
    "torchvision DenseNet": lambda full: torchvision_densenet(full, published=False),
    "torchvision DenseNet, published": lambda full: torchvision_densenet(full, published=True),
    "open_clip": open_clip_tower,
    "open_clip around timm": open_clip_timm,
    "HF CLIP, GELU": lambda full: huggingface_clip(full, "clip_l", "whole"),
    "HF CLIP, quick GELU": lambda full: huggingface_clip(full, "pubmedclip", "whole"),
    "HF CLIP tower, transformers 4": lambda full: huggingface_clip(full, "pubmedclip", "tower of 4"),
    "HF CLIP tower, transformers 5": lambda full: huggingface_clip(full, "pubmedclip", "tower of 5"),
    "HF Swin, published": lambda full: huggingface_swin(full, published=True),
    "HF Swin, transformers 5": lambda full: huggingface_swin(full, published=False),
    "HF DINOv2, published": lambda full: huggingface_dinov2(full, published=True),
    "HF DINOv2, transformers 5": lambda full: huggingface_dinov2(full, published=False),
    "DINOv2's own": lambda full: dinov2(full, resampled=False),
    "DINOv2's own, resampled": lambda full: dinov2(full, resampled=True),
    "MedCLIP Swin": medclip_swin,
    "MedCLIP ResNet": medclip_resnet,
}


def save_as_zip(state: State, file: Path) -> Path:
    """Pack a state as MedCLIP's archives do: one `pytorch_model.bin`."""
    import zipfile

    inner = file.with_name("pytorch_model.bin")
    torch.save(state, inner)
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(inner, inner.name)
    inner.unlink()
    return file
