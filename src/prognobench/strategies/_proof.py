"""Prove an adapter before it is used: it reaches the output, trains, saves, merges and leaves no trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._strategy import InjectionPlan, Strategy

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from prognobench.models import ModelCard


@dataclass(frozen=True)
class Proof:
    """What a strategy was seen to do on a backbone.

    Attributes
    ----------
    plan
        The injection report.
    without_gradient
        Trainable tensors that got no gradient, a zero one, or one that is not finite.
    output_change
        Relative change of the features when noise fills every trained tensor; at least 1e-2 is asked.
    reload_difference
        Largest difference of the features after save and load; 0 is asked.
    merge_difference
        Relative difference of the merged backbone, None where no merge exists; at most 1e-5 is asked.
    left_behind
        Names of tensors of the backbone that removal did not give back bit-equal.
    """

    plan: InjectionPlan
    without_gradient: tuple[str, ...]
    output_change: float
    reload_difference: float
    merge_difference: float | None
    left_behind: tuple[str, ...]

    def failures(self) -> list[str]:
        """List what does not hold, in plain words; empty when the strategy is proved."""
        found = []
        if self.without_gradient:
            found.append(f"no gradient reaches {len(self.without_gradient)} tensors, first {self.without_gradient[0]}")
        if self.plan.targets and not self.output_change >= 1e-2:
            found.append(f"noise in the adapter moves the output by {self.output_change:.1e} only")
        if self.reload_difference != 0:
            found.append(f"the output differs by {self.reload_difference:.1e} after save and load")
        if self.merge_difference is not None and not self.merge_difference <= 1e-5:
            found.append(f"the merged backbone differs by {self.merge_difference:.1e}")
        if self.left_behind:
            found.append(f"removal leaves {len(self.left_behind)} tensors changed, first {self.left_behind[0]}")
        return found


def prove(strategy: Strategy, backbone: nn.Module, card: ModelCard, *, seed: int = 0, images: int = 2) -> Proof:
    """Put a strategy through rule 5 of the design on a backbone.

    Parameters
    ----------
    strategy
        The strategy with its settings.
    backbone
        The model at full size with random weights and LayerScale set to 1, so that nothing is scaled out of sight.
    card
        Its card.
    seed
        Of the images and the noise.
    images
        Size of the random batch.

    Returns
    -------
    Proof
        What was measured; `failures()` says what does not hold.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    batch = torch.randn(images, 3, card.input_size, card.input_size, generator=generator)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    plain = _features(backbone, batch)
    plan = strategy.plan(backbone, card)

    module = strategy.apply(backbone, plan, seed)
    _fill_with_noise(module, generator)
    noisy = _features(module, batch)
    without_gradient = _tensors_without_gradient(module, batch)
    merged = strategy.merge(module)
    merge_difference = None if merged is None else _relative(_features(merged, batch), noisy)
    del merged  # the large models fill the memory of a desktop
    state = strategy.state(module)
    restored = strategy.remove(module)
    del module

    module = strategy.apply(restored, plan, seed + 1)
    strategy.load(module, state)
    reloaded = _features(module, batch)
    restored = strategy.remove(module)
    after = restored.state_dict()
    left = [name for name in before.keys() | after.keys() if not _same(before.get(name), after.get(name))]
    if not torch.equal(_features(restored, batch), plain):
        left.append("(the output)")
    return Proof(
        plan,
        tuple(without_gradient),
        _relative(noisy, plain),
        float((reloaded - noisy).abs().max()),
        merge_difference,
        tuple(sorted(left)),
    )


def _features(module: nn.Module, batch: Tensor) -> Tensor:
    import torch

    module.eval()
    with torch.inference_mode():
        features: Tensor = module(batch)
        return features.clone()


def _fill_with_noise(module: nn.Module, generator: torch.Generator) -> None:
    """Add noise of a tenth of each tensor's own scale, or of 0.3 where it is constant (LoRA's B, IA³'s factors).

    0.3 is enough for LoRA with the smallest scale that is in use, alpha 1 at rank 16, to be seen.
    """
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                scale = 0.1 * (parameter.std() if parameter.numel() > 1 else parameter.abs().mean())
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise * (scale if scale > 0 else 0.3))


def _tensors_without_gradient(module: nn.Module, batch: Tensor) -> list[str]:
    import torch

    module.zero_grad(set_to_none=True)
    trainable = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    if not trainable:
        return []
    output = module(batch)
    if not output.requires_grad:
        return [name for name, _ in trainable]
    # A random direction: the sum of normalized features is constant, and its gradient would be zero everywhere.
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    (output * direction).sum().backward()
    silent = []
    for name, parameter in trainable:
        gradient = parameter.grad
        # Softmax ignores a bias that all keys share, so a separate key bias may be silent.
        exempt = name.endswith(("k_bias", "key.bias", "k_proj.bias"))
        alive = gradient is not None and bool(torch.isfinite(gradient).all()) and bool(gradient.any())
        if not alive and not exempt:
            silent.append(name)
    module.zero_grad(set_to_none=True)
    return silent


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    import torch

    return a is not None and b is not None and torch.equal(a, b)
