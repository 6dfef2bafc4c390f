"""What a user would otherwise run: a plain timm and peft loop, HF Trainer, DINOv2's online linear evaluation.

Each is written as its own documentation has it, on films that lie ready in memory as normalized tensors, so that no
rival waits for files. Weights are random: they do not change how long a step takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from prognobench.models import model_card

# Of the LoRA of this project's default, on each kind of model.
RANK = 8
VIT_TARGETS = r".*\.(qkv|fc1|fc2)"
CNN_TARGETS = r"layer\d.*\.(conv1|conv2|downsample\.0)"


def timm_model(model: str, classes: int = 2) -> nn.Module:
    """Return the model as timm builds it, with a linear classifier."""
    import timm

    card = model_card(model)
    settings = {**card.build, "num_classes": classes}
    module: nn.Module = timm.create_model(card.architecture, pretrained=False, **settings)
    return module


def adapted(model: str, strategy: str) -> nn.Module:
    """Return a model to train: whole, or with peft's LoRA beside a classifier that trains."""
    module = timm_model(model)
    if strategy == "fft":
        return module
    from peft import LoraConfig, get_peft_model

    head = "head" if model_card(model).family == "vit" else "fc"
    targets = VIT_TARGETS if model_card(model).family == "vit" else CNN_TARGETS
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets, modules_to_save=[head])
    peft_model: nn.Module = get_peft_model(module, config)
    return peft_model


def films(model: str, pixels: np.ndarray) -> Tensor:
    """Return cached films, (films, size, size) uint16, normalized as the model wants them."""
    card = model_card(model)
    gray = torch.from_numpy(pixels.astype(np.float32) / 65535).unsqueeze(1)
    return (gray - torch.tensor(card.mean).view(1, 3, 1, 1)) / torch.tensor(card.std).view(1, 3, 1, 1)


def plain_loop(model: str, strategy: str, images: Tensor, labels: Tensor, bf16: bool) -> Callable[[], float]:
    """Return a step of a plain loop: forward, cross-entropy, backward, AdamW; its seconds."""
    module = adapted(model, strategy).train()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)

    def step() -> float:
        began = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext():
            loss = functional.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        return time.perf_counter() - began

    return step


def hf_trainer(model: str, strategy: str, images: Tensor, labels: Tensor, folder: Path) -> Callable[[], float]:
    """Return a step of HF Trainer in bf16: the second of two, so that what it sets up is not counted."""
    from torch.utils.data import TensorDataset
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = adapted(model, strategy)

        def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.inner(pixel_values)
            return {"loss": functional.cross_entropy(logits.float(), labels), "logits": logits}

    class Clock(TrainerCallback):  # type: ignore[misc]
        seconds: list[float]

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.began)

    clock, module = Clock(), WithLoss()
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=len(images),
        max_steps=2,
        bf16=True,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )

    def collate(rows: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        pixel_values, labels = zip(*rows, strict=True)
        return {"pixel_values": torch.stack(pixel_values), "labels": torch.stack(labels)}

    twice = TensorDataset(images.repeat(2, 1, 1, 1), labels.repeat(2))
    trainer = Trainer(module, arguments, train_dataset=twice, data_collator=collate, callbacks=[clock])

    def step() -> float:
        clock.seconds = []
        trainer.train()
        return clock.seconds[-1]

    return step


def online_linear(model: str, images: Tensor, labels: Tensor, bf16: bool) -> Callable[[], float]:
    """Return a step of DINOv2's linear evaluation: the frozen backbone in the loop, a head for each of 13 rates."""
    backbone = timm_model(model, classes=0).eval()
    width = model_card(model).width
    heads = nn.ModuleList(nn.Linear(width, 2) for _ in range(13))
    optimizer = torch.optim.SGD(heads.parameters(), lr=1e-3, momentum=0.9)

    def step() -> float:
        began = time.perf_counter()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext():
            features = backbone(images)
        features = features.float().clone()
        loss = torch.stack([functional.cross_entropy(head(features), labels) for head in heads]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - began

    return step


def bare_pass(model: str, images: Tensor) -> float:
    """Return the seconds of one pass of ready films through the backbone in float32, 32 at a time."""
    backbone = timm_model(model, classes=0).eval()
    began = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(images), 32):
            backbone(images[start : start + 32])
    return time.perf_counter() - began
