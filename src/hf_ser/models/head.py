"""The head: normalised in training, plain at saving.

The head of `HubertForSequenceClassification` is linear on the pooled frames, so standardising its input is an
affine map that folds into the projector exactly. In training the standardisation is a forward hook; nothing in
the model's class, module names or state dict changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hf_ser.errors import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FeatureStatistics", "attach", "fold", "folded", "pooled_inputs", "start_head"]

_STATE = "_hf_ser_head"


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Mean and standard deviation of the pooled features over the training clips.

    Attributes:
        mean: `(hidden,)`, float32.
        std: `(hidden,)`, float32; at least 1 % of the root mean square over all channels.
    """

    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, features: torch.Tensor) -> FeatureStatistics:
        """Compute the statistics of pooled features `(clips, hidden)`.

        Example:
            >>> FeatureStatistics.of(torch.tensor([[0.0, 5.0], [2.0, 5.0]])).std
            tensor([1.0000, 0.0367])
        """
        exact = features.double()
        mean = exact.mean(dim=0)
        std = exact.std(dim=0, correction=0)
        # A channel that hardly varies would be scaled up until its rounding errors decide.
        floor = 1e-2 * exact.square().mean().sqrt().clamp_min(1e-6)
        return cls(mean.float(), torch.maximum(std, floor).float())

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise features `(..., hidden)`."""
        mean = self.mean.to(features.device)
        std = self.std.to(features.device)
        return ((features.float() - mean) / std).to(features.dtype)


def plain_model(model: Any) -> Any:
    """Return the `transformers` model inside a PEFT wrapper, or the model itself."""
    # Not by `peft_config`: PEFT leaves that attribute on the model that it wraps, too.
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def attach(model: Any, statistics: FeatureStatistics | None, dropout: float = 0.0) -> None:
    """Standardise what enters the projector, and in training drop channels of it, from now on.

    A channel is dropped for all frames of a clip at once, which is dropout on the clip's pooled features: masks
    of their own for every frame would average out in the pooling.

    Args:
        model: The (adapted) model.
        statistics: Of the pooled features; None leaves them as they are.
        dropout: Probability that a channel is dropped; in training mode only.
    """
    base = plain_model(model)
    if getattr(base, _STATE, None) is not None:
        raise RuntimeError("the head is standardised already: fold it first")

    def before_projector(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        features = arguments[0] if statistics is None else statistics(arguments[0])
        if dropout > 0.0 and module.training:
            shape = (len(features), *(1,) * (features.dim() - 2), features.shape[-1])
            features = features * nn.functional.dropout(features.new_ones(shape), dropout)
        return (features, *arguments[1:])

    handle = base.projector.register_forward_pre_hook(before_projector)
    object.__setattr__(base, _STATE, (statistics, handle))


def statistics_of(model: Any) -> FeatureStatistics | None:
    """Return the statistics that `attach` put before the projector, or None."""
    state = getattr(plain_model(model), _STATE, None)
    return None if state is None else state[0]


def _linear(module: Any) -> nn.Linear:
    """Return the linear layer that PEFT's wrappers around a head layer compute with."""
    if hasattr(module, "modules_to_save"):
        return _linear(module.modules_to_save["default"])
    if hasattr(module, "base_layer"):
        return _linear(module.base_layer)
    if not isinstance(module, nn.Linear):
        raise TypeError(f"the head holds a {type(module).__name__} where a linear layer belongs")
    return module


def head_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of the head that the standardisation folds into, by short names."""
    base = plain_model(model)
    linear = _linear(base.projector)
    tensors = {"projector.weight": linear.weight, "projector.bias": linear.bias}
    if hasattr(base.projector, "lora_A"):
        tensors["projector.lora_A"] = base.projector.lora_A["default"].weight
    return tensors


@torch.no_grad()
def fold_statistics(model: Any, statistics: FeatureStatistics) -> None:
    """W ((x - mean) / std) + b  =  (W / std) x + (b - (W / std) mean), and the same for LoRA's A."""
    base = plain_model(model)
    tensors = head_tensors(model)
    device = tensors["projector.weight"].device
    mean, std = statistics.mean.double().to(device), statistics.std.double().to(device)
    weight = tensors["projector.weight"].double() / std
    # The bias absorbs the mean through the weight as stored, so that rounding does not shift the logits.
    tensors["projector.weight"].copy_(weight)
    shift = tensors["projector.weight"].double() @ mean
    if "projector.lora_A" in tensors:
        tensors["projector.lora_A"].copy_(tensors["projector.lora_A"].double() / std)
        lora_b = base.projector.lora_B["default"].weight.double()
        scaling = float(base.projector.scaling["default"])
        shift = shift + scaling * (lora_b @ (tensors["projector.lora_A"].double() @ mean))
    tensors["projector.bias"].copy_(tensors["projector.bias"].double() - shift)


@torch.no_grad()
def unfold_weights(model: Any, statistics: FeatureStatistics) -> None:
    """Rewrite a plain projector so that it gives the same logits behind the standardisation."""
    tensors = head_tensors(model)
    weight = tensors["projector.weight"].double()
    mean, std = statistics.mean.double().to(weight.device), statistics.std.double().to(weight.device)
    tensors["projector.bias"].copy_(tensors["projector.bias"].double() + weight @ mean)
    tensors["projector.weight"].copy_(weight * std)


def fold(model: Any) -> None:
    """Fold the standardisation into the projector for good and remove the hooks: the model is plain again."""
    base = plain_model(model)
    state = getattr(base, _STATE, None)
    if state is None:
        return
    statistics, handle = state
    handle.remove()
    if statistics is not None:
        fold_statistics(model, statistics)
    object.__setattr__(base, _STATE, None)


@contextmanager
def folded(model: Any) -> Iterator[Any]:
    """Fold for the time of a save; afterwards training goes on with the very same bits."""
    statistics = statistics_of(model)
    if statistics is None:
        yield model
        return
    raw = {name: tensor.detach().clone() for name, tensor in head_tensors(model).items()}
    fold_statistics(model, statistics)
    try:
        yield model
    finally:
        with torch.no_grad():
            for name, tensor in head_tensors(model).items():
                tensor.copy_(raw[name])


@contextmanager
def pooled_inputs(model: Any) -> Iterator[None]:
    """Let the model's `logits` be the pooled features `(clips, hidden)` that enter its head.

    Projector and pooling are linear with nothing between them, so they commute:
    ``projector(mean(frames)) == mean(projector(frames))``.
    """
    base = plain_model(model)
    projector, classifier = base.projector, base.classifier
    base.projector, base.classifier = nn.Identity(), nn.Identity()
    try:
        yield
    finally:
        base.projector, base.classifier = projector, classifier


def head_logits(model: Any, features: torch.Tensor) -> torch.Tensor:
    """Apply the head, hooks and adapters included, to pooled features `(clips, hidden)`."""
    base = plain_model(model)
    logits: torch.Tensor = base.classifier(base.projector(features))
    return logits


def start_head(
    model: Any,
    features: torch.Tensor,
    references: Sequence[int] | np.ndarray,
    *,
    inverse_regularisation: float = 0.1,
    seed: int = 0,
) -> dict[str, Any]:
    """Set the head by multinomial logistic regression on standardised pooled features.

    The solution, a `(labels, hidden)` matrix of rank below the number of labels, is written into projector
    and classifier by its singular value decomposition: as many rows of the projector as there are labels
    carry it, the others keep their initial values and the classifier's weights on them start at zero.

    Args:
        model: The plain model, before PEFT wraps it; its projector takes standardised features.
        features: `(clips, hidden)`, standardised.
        references: `(clips,)` label identifiers.
        inverse_regularisation: scikit-learn's `C`.
        seed: Seed of the solver.

    Returns:
        What was done, for the record.

    Raises:
        InputError: Fewer than two labels occur.

    Source: linear probing before fine-tuning, Kumar et al. 2022, arXiv:2202.10054.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    references = np.asarray(references)
    present = np.unique(references)
    if len(present) < 2:
        raise InputError("the training part holds a single label; give a data set with at least two")
    solver = LogisticRegression(C=inverse_regularisation, max_iter=500, random_state=seed)
    solver.fit(features.cpu().double().numpy(), references)
    labels = int(model.config.num_labels)
    weight, bias = (
        np.zeros((labels, features.shape[1])),
        np.full(labels, float(solver.intercept_.min()) - 2.0),
    )
    if len(present) == 2:
        weight[present[1]], bias[present] = solver.coef_[0], [0.0, solver.intercept_[0]]
    else:
        weight[present], bias[present] = solver.coef_, solver.intercept_
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    rank = min(labels, model.projector.weight.shape[0])
    root = np.sqrt(values[:rank])
    with torch.no_grad():
        model.projector.weight[:rank] = torch.from_numpy(root[:, None] * right[:rank]).float()
        model.projector.bias.zero_()
        model.classifier.weight.zero_()
        model.classifier.weight[:, :rank] = torch.from_numpy(left[:, :rank] * root).float()
        model.classifier.bias.copy_(torch.from_numpy(bias))
    return {
        "start": "logistic regression",
        "inverse_regularisation": inverse_regularisation,
        "iterations": int(np.max(solver.n_iter_)),
        "clips": len(references),
    }
