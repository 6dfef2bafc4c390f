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
        What of the backbone removal did not give back as it was: a parameter or buffer that is not bit-equal, a
        module's class, mode, hooks or own forward function, a parameter that asks for a gradient or holds one.
    trained
        How many numbers of the adapted backbone ask for a gradient; as many as the plan says are asked.
    """

    plan: InjectionPlan
    without_gradient: tuple[str, ...]
    output_change: float
    reload_difference: float
    merge_difference: float | None
    left_behind: tuple[str, ...]
    trained: int

    def failures(self) -> list[str]:
        """List what does not hold, in plain words; empty when the strategy is proved."""
        found = []
        if self.trained != self.plan.trainable:
            found.append(f"{self.trained} numbers are trained where the plan has {self.plan.trainable}")
        if self.without_gradient:
            found.append(f"no gradient reaches {len(self.without_gradient)} tensors, first {self.without_gradient[0]}")
        if self.plan.targets and not self.output_change >= 1e-2:
            found.append(f"noise in the adapter moves the output by {self.output_change:.1e} only")
        if self.reload_difference != 0:
            found.append(f"the output differs by {self.reload_difference:.1e} after save and load")
        if self.merge_difference is not None and not self.merge_difference <= 1e-5:
            found.append(f"the merged backbone differs by {self.merge_difference:.1e}")
        if self.left_behind:
            found.append(f"removal leaves {len(self.left_behind)} things changed, first {self.left_behind[0]}")
        return found


@dataclass(frozen=True)
class Before:
    """A backbone before any strategy came to it: what `removal` has to give back.

    Attributes
    ----------
    batch
        The random images.
    features
        Its features of them.
    tensors
        Copies of all parameters and buffers, by name.
    marks
        Class, mode, hooks and own forward function of each module, and whether a parameter asks for a gradient.
    """

    batch: Tensor
    features: Tensor
    tensors: dict[str, Tensor]
    marks: dict[str, object]


def look_at(backbone: nn.Module, card: ModelCard, *, seed: int = 0, images: int = 2) -> Before:
    """Freeze a backbone, as it lies between two jobs, and note what it is."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    batch = torch.randn(images, 3, card.input_size, card.input_size, generator=generator)
    backbone.eval().requires_grad_(False).zero_grad(set_to_none=True)
    features = _features(backbone, batch)
    return Before(batch, features, {n: t.clone() for n, t in _tensors(backbone).items()}, _marks(backbone))


def prove(
    strategy: Strategy,
    backbone: nn.Module,
    card: ModelCard,
    *,
    seed: int = 0,
    images: int = 2,
    before: Before | None = None,
) -> Proof:
    """Put a strategy through rule 5 of the design on a backbone.

    Parameters
    ----------
    strategy
        The strategy with its settings.
    backbone
        The model at full size with random weights and LayerScale set to 1, so that nothing is scaled out of sight. It
        is left in eval mode and without gradients.
    card
        Its card.
    seed
        Of the images and the noise.
    images
        Size of the random batch.
    before
        What `look_at` noted on this backbone, for many strategies on one; else it is noted here.

    Returns
    -------
    Proof
        What was measured; `failures()` says what does not hold.

    Raises
    ------
    ValueError
        The strategy has no plan for the backbone, or does not take back its own state.
    """
    import torch

    before = before or look_at(backbone, card, seed=seed, images=images)
    plan = strategy.plan(backbone, card)

    module = strategy.apply(backbone, plan, seed)
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    _fill_with_noise(module, torch.Generator().manual_seed(seed + 1))
    noisy, without_gradient = _features_and_gradients(module, before.batch)
    merged = strategy.merge(module)
    merge_difference = None if merged is None else _relative(_features(merged, before.batch), noisy)
    del merged  # the large models fill the memory of a desktop
    state = _as_from_a_file(strategy.state(module))
    restored = strategy.remove(module)
    del module

    module = strategy.apply(restored, plan, seed + 1)
    strategy.load(module, state)
    reloaded = _features(module, before.batch)
    restored = strategy.remove(module)
    return Proof(
        plan,
        tuple(without_gradient),
        _relative(noisy, before.features),
        float((reloaded - noisy).abs().max()),
        merge_difference,
        tuple(_left_behind(restored, before)),
        trained,
    )


def _as_from_a_file(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Write and read a state as a record's file does."""
    from safetensors.torch import load, save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    found: dict[str, Tensor] = load(content)
    return found


def _left_behind(restored: nn.Module, before: Before) -> list[str]:
    # The same layers with the same tensors and no hooks compute the same, so that no image has to be passed again.
    marks, tensors = _marks(restored), _tensors(restored)
    left = [name for name in before.marks.keys() | marks.keys() if before.marks.get(name) != marks.get(name)]
    names = before.tensors.keys() | tensors.keys()
    left += [name for name in names if not _same(before.tensors.get(name), tensors.get(name))]
    return sorted(left)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers, those that no file keeps among them."""
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}


def _marks(module: nn.Module) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, part in module.named_modules():
        hooks = sum(len(held) for key, held in vars(part).items() if key.endswith("_hooks") and isinstance(held, dict))
        found[f"{name} (class, mode or hooks)"] = (type(part), part.training, hooks, "forward" in vars(part))
    for name, parameter in module.named_parameters():
        found[f"{name} (gradient)"] = (parameter.requires_grad, parameter.grad is None)
    return found


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


def _features_and_gradients(module: nn.Module, batch: Tensor) -> tuple[Tensor, list[str]]:
    """Return the features, and the trainable tensors that get no gradient, a zero one, or one that is not finite."""
    import torch

    module.eval()
    module.zero_grad(set_to_none=True)
    trainable = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    with torch.enable_grad():
        output = module(batch)
    if not output.requires_grad:
        return output.clone(), [name for name, _ in trainable]
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
    return output.detach(), silent


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    import torch

    return a is not None and b is not None and torch.equal(a, b)
