"""DenseNet: Huang et al., with torchvision's ImageNet weights."""

from prognobench.models._cards import ModelCard, WeightsSource

_LAYER = r"features\.denseblock\d\.denselayer\d+"

CARDS = (
    ModelCard(
        id="densenet121",
        name="DenseNet-121",
        aliases=("dense121",),
        architecture="densenet121",
        build={"num_classes": 0},
        family="cnn",
        width=1024,
        blocks=58,
        input_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        # torchvision's, which these weights were made with; timm writes bicubic.
        interpolation="bilinear",
        parameters=6_953_856,
        gflops=5.6663,
        paper_parameters="7.9 M",
        pretraining="ImageNet-1k, supervised (torchvision)",
        license="BSD-3-Clause",
        source="https://github.com/pytorch/vision",
        citation="Huang et al., Densely Connected Convolutional Networks, CVPR 2017, arXiv:1608.06993",
        roles={
            "stem": r"features\.conv0",
            "block": _LAYER,
            "conv": rf"{_LAYER}\.conv[12]|features\.transition\d\.conv",
            "norm": rf"{_LAYER}\.norm[12]|features\.transition\d\.norm|features\.norm[05]",
        },
        classifier=("classifier",),
        weights=(
            WeightsSource(
                id="densenet121.tv_in1k",
                kind="hub",
                location="timm/densenet121.tv_in1k",
                revision="main",
                file="model.safetensors",
                license="BSD-3-Clause",
            ),
        ),
    ),
)
