"""ResNet: He et al., with torchvision's ImageNet weights."""

from typing import Any

from prognobench.models._cards import ModelCard, WeightsSource


def _card(depth: int, **own: Any) -> ModelCard:
    return ModelCard(
        id=f"resnet{depth}",
        name=f"ResNet-{depth}",
        aliases=(f"resnet_{depth}",),
        architecture=f"resnet{depth}",
        build={"num_classes": 0},
        family="cnn",
        input_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bilinear",
        pretraining="ImageNet-1k, supervised (torchvision)",
        license="BSD-3-Clause",
        source="https://github.com/pytorch/vision",
        citation="He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385",
        roles={
            "stem": r"conv1",
            "block": r"layer\d\.\d+",
            "conv": r"layer\d\.\d+\.(conv\d|downsample\.0)",
            "norm": r"bn1|layer\d\.\d+\.(bn\d|downsample\.1)",
        },
        classifier=("fc",),
        weights=(
            WeightsSource(
                id=f"resnet{depth}.tv_in1k",
                kind="hub",
                location=f"timm/resnet{depth}.tv_in1k",
                revision="main",
                file="model.safetensors",
                license="BSD-3-Clause",
            ),
        ),
        **own,
    )


CARDS = (
    _card(18, width=512, blocks=8, parameters=11_176_512, gflops=3.6271, paper_parameters="11.7 M"),
    _card(50, width=2048, blocks=16, parameters=23_508_032, gflops=8.1743, paper_parameters="23.5 M"),
)
