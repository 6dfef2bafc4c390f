"""Image towers of CLIP and its biomedical kin; the feature is the normalized class token before any projection."""

from prognobench.models._cards import ModelCard, WeightsSource

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)

_ROLES = {
    "patch_embed": r"patch_embed\.proj",
    "block": r"blocks\.\d+",
    "attention.qkv": r"blocks\.\d+\.attn\.qkv",
    "attention.proj": r"blocks\.\d+\.attn\.proj",
    "mlp.fc1": r"blocks\.\d+\.mlp\.fc1",
    "mlp.fc2": r"blocks\.\d+\.mlp\.fc2",
    "norm": r"blocks\.\d+\.norm[12]|norm(_pre)?",
}

# The authors' configurations clip_large.yaml and pubmedclip.yaml name separate projections, which are slices here;
# their list for IA³ has to hold its feed-forward modules, too.
_SEPARATE = ("attention.qkv[q]", "attention.qkv[k]", "attention.qkv[v]")
_PAPER_SEPARATE = {
    "lora": _SEPARATE,
    "vera": _SEPARATE,
    "ia3": (*_SEPARATE, "mlp.fc1", "mlp.fc2"),
    "ia3.feedforward": ("mlp.fc1", "mlp.fc2"),
}
# Their biomedclip.yaml, whose tower is timm's own.
_PAPER_FUSED = {
    "lora": ("attention.qkv", "mlp.fc1", "mlp.fc2"),
    "vera": ("attention.qkv",),
    "ia3": ("attention.qkv", "mlp.fc1", "mlp.fc2"),
    "ia3.feedforward": ("mlp.fc1", "mlp.fc2"),
}


def _fused(width: int) -> dict[str, dict[str, tuple[int, int]]]:
    return {"attention.qkv": {"q": (0, width), "k": (width, 2 * width), "v": (2 * width, 3 * width)}}


CARDS = (
    ModelCard(
        id="clip_l",
        name="CLIP-Large",
        aliases=("clip_large",),
        architecture="vit_large_patch14_clip_224",
        build={"num_classes": 0},
        family="vit",
        class_token=True,
        width=1024,
        blocks=24,
        input_size=224,
        mean=_MEAN,
        std=_STD,
        interpolation="bicubic",
        parameters=303_179_776,
        gflops=162.024,
        paper_parameters="300 M",
        pretraining="LAION-400M, image and text, contrastive (OpenCLIP, epoch 32)",
        license="MIT",
        source="https://github.com/mlfoundations/open_clip",
        citation="Radford et al., Learning Transferable Visual Models from Natural Language Supervision, ICML 2021, "
        "arXiv:2103.00020; Cherti et al., Reproducible Scaling Laws for Contrastive Language-Image Learning, "
        "CVPR 2023, arXiv:2212.07143",
        roles=_ROLES,
        fused=_fused(1024),
        paper=_PAPER_SEPARATE,
        classifier=("head",),
        weights=(
            WeightsSource(
                id="clip_l.laion400m_e32",
                kind="hub",
                location="timm/vit_large_patch14_clip_224.laion400m_e32",
                revision="main",
                file="model.safetensors",
                license="MIT",
            ),
        ),
    ),
    ModelCard(
        id="pubmedclip",
        name="PubMedCLIP",
        architecture="vit_base_patch32_clip_quickgelu_224",
        build={"num_classes": 0},
        family="vit",
        class_token=True,
        width=768,
        blocks=12,
        input_size=224,
        mean=_MEAN,
        std=_STD,
        interpolation="bicubic",
        parameters=87_456_000,
        gflops=8.8168,
        paper_parameters="86 M",
        pretraining="ROCO, radiology figures and captions, contrastive, from OpenAI's CLIP B/32",
        license="MIT",
        source="https://huggingface.co/flaviagiammarino/pubmed-clip-vit-base-patch32",
        citation="Eslami et al., PubMedCLIP: How Much Does CLIP Benefit Visual Question Answering in the Medical "
        "Domain?, Findings of EACL 2023",
        roles=_ROLES,
        fused=_fused(768),
        paper=_PAPER_SEPARATE,
        weights=(
            WeightsSource(
                id="pubmedclip.roco",
                kind="hub",
                location="flaviagiammarino/pubmed-clip-vit-base-patch32",
                revision="main",
                file="pytorch_model.bin",
                license="MIT",
            ),
        ),
    ),
    ModelCard(
        id="biomedclip",
        name="BioMedCLIP",
        architecture="vit_base_patch16_224",
        build={"num_classes": 0},
        family="vit",
        class_token=True,
        width=768,
        blocks=12,
        input_size=224,
        mean=_MEAN,
        std=_STD,
        interpolation="bicubic",
        parameters=85_798_656,
        gflops=35.1261,
        paper_parameters="86 M",
        pretraining="PMC-15M, biomedical figures and captions, contrastive",
        license="MIT",
        source="https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        citation="Zhang et al., BiomedCLIP: a Multimodal Biomedical Foundation Model Pretrained from Fifteen Million "
        "Scientific Image-Text Pairs, arXiv:2303.00915",
        roles=_ROLES | {"norm": r"blocks\.\d+\.norm[12]|norm"},
        fused=_fused(768),
        paper=_PAPER_FUSED,
        weights=(
            WeightsSource(
                id="biomedclip.pmc15m",
                kind="hub",
                location="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
                revision="9f341de24bfb00180f1b847274256e9b65a3a32e",
                file="open_clip_pytorch_model.bin",
                license="MIT",
            ),
        ),
    ),
)
