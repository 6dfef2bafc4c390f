"""ResNet: He et al., with torchvision's ImageNet weights."""

from prognobench.models._cards import ModelCard, WeightsSource

CARDS = (
    ModelCard(
        id="resnet18",
        name="ResNet-18",
        architecture="resnet18",
        build={"num_classes": 0},
        family="cnn",
        width=512,
        blocks=8,
        input_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bilinear",
        parameters=11_176_512,
        gflops=3.6271,
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
                id="resnet18.tv_in1k",
                kind="hub",
                location="timm/resnet18.tv_in1k",
                revision="main",
                file="model.safetensors",
                license="BSD-3-Clause",
            ),
        ),
    ),
)
