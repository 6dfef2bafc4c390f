"""MedCLIP: Wang et al., two image towers that were trained on unpaired chest X-rays and reports."""

from typing import Any

from prognobench.models._cards import ModelCard, WeightsSource

# One gray channel's constants in medclip/constants.py; the towers see it three times.
_MEAN, _STD = 0.5862785803043838, 0.27950088968644304

_SWIN_BLOCK = r"layers\.\d+\.blocks\.\d+"

# The authors' configuration medclip_vision.yaml: query, value, keys (which matches nothing) and dense, a name that
# Hugging Face's Swin gives to the attention's output and to both layers of the MLP alike.
_PAPER_SWIN = {
    "lora": ("attention.qkv[q]", "attention.qkv[v]", "attention.proj", "mlp.fc1", "mlp.fc2"),
    # Listed there, but the stages differ in width, and the published VeRA shares one pair of matrices.
    "vera": ("attention.qkv[q]", "attention.qkv[v]", "attention.qkv[k]"),
    "ia3": ("attention.qkv[q]", "attention.qkv[v]", "attention.proj", "mlp.fc1", "mlp.fc2"),
    "ia3.feedforward": ("attention.proj", "mlp.fc1", "mlp.fc2"),
}


def _card(tower: str, archive: str, **own: Any) -> ModelCard:
    return ModelCard(
        id=f"medclip_{tower}",
        build={"num_classes": 0},
        input_size=224,
        mean=(_MEAN, _MEAN, _MEAN),
        std=(_STD, _STD, _STD),
        interpolation="bicubic",
        pretraining="CheXpert and MIMIC-CXR, unpaired images and reports, contrastive, from ImageNet weights",
        license="MIT",
        source="https://github.com/RyanWangZf/MedCLIP",
        citation="Wang et al., MedCLIP: Contrastive Learning from Unpaired Medical Images and Text, EMNLP 2022, "
        "arXiv:2210.10163",
        weights=(
            WeightsSource(
                id=f"medclip_{tower}.pretrained",
                kind="manual",
                location=f"https://storage.googleapis.com/pytrial/{archive}",
                revision="MedCLIP 0.0.3",
                file="pytorch_model.bin",
                license="MIT",
                note="a zip archive on the authors' bucket; the licence is that of their repository",
            ),
        ),
        **own,
    )


CARDS = (
    _card(
        "resnet",
        "medclip-pretrained.zip",
        name="MedCLIP-ResNet",
        aliases=("medclip_resnet50",),
        architecture="resnet50",
        family="cnn",
        width=2048,
        blocks=16,
        parameters=23_508_032,
        gflops=8.1743,
        paper_parameters="23 M",
        roles={
            "stem": r"conv1",
            "block": r"layer\d\.\d+",
            "conv": r"layer\d\.\d+\.(conv\d|downsample\.0)",
            "norm": r"bn1|layer\d\.\d+\.(bn\d|downsample\.1)",
        },
    ),
    _card(
        "swin",
        "medclip-vit-pretrained.zip",
        name="MedCLIP-Swin",
        aliases=("medclip_vision",),
        architecture="swin_tiny_patch4_window7_224",
        family="swin",
        width=768,
        blocks=12,
        parameters=27_519_354,
        gflops=8.9796,
        paper_parameters="27 M",
        roles={
            "patch_embed": r"patch_embed\.proj",
            "block": _SWIN_BLOCK,
            "attention.qkv": rf"{_SWIN_BLOCK}\.attn\.qkv",
            "attention.proj": rf"{_SWIN_BLOCK}\.attn\.proj",
            "mlp.fc1": rf"{_SWIN_BLOCK}\.mlp\.fc1",
            "mlp.fc2": rf"{_SWIN_BLOCK}\.mlp\.fc2",
            "patch_merge": r"layers\.\d+\.downsample\.reduction",
            "norm": rf"patch_embed\.norm|{_SWIN_BLOCK}\.norm[12]|layers\.\d+\.downsample\.norm|norm",
        },
        # Thirds: the rows of a stage are three times its width.
        fused={"attention.qkv": {"q": (0, 1), "k": (1, 2), "v": (2, 3)}},
        paper=_PAPER_SWIN,
    ),
)
