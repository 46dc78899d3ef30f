"""The classification head: standardised features in training, plain linear layers when it is saved.

Projector and classifier are linear, with mean pooling between them and no activation. So standardising the pooled
features is an affine map that folds into the projector exactly, and projector and pooling may change places:
``projector(mean(frames)) == mean(projector(frames))``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from hf_ser.errors import InputError
from hf_ser.models.architectures import HEAD, architecture_of, plain_model

STATISTICS = "hf_ser_statistics"


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
        """Compute the statistics of pooled features `(clips, hidden)`."""
        exact = features.double()
        mean = exact.mean(dim=0)
        std = exact.std(dim=0, correction=0)
        # A channel that hardly varies would be scaled up until its rounding errors decide.
        floor = 1e-2 * exact.square().mean().sqrt().clamp_min(1e-6)
        return cls(mean.float(), torch.maximum(std, floor).float())

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Standardise features `(..., hidden)`."""
        exact = features.to(torch.promote_types(features.dtype, torch.float32))
        return ((exact - self.mean.to(exact)) / self.std.to(exact)).to(features.dtype)

    @torch.no_grad()
    def fold(self, layer: nn.Linear) -> None:
        """Change a layer that takes standardised features into one that takes plain features and gives the same.

        W ((x - mean) / std) + b = (W / std) x + (b - (W / std) mean), computed in float64.
        """
        mean, std = (values.to(layer.weight.device, torch.float64) for values in (self.mean, self.std))
        layer.weight.copy_(layer.weight.double() / std)
        # The bias takes the mean through the weight as it is stored, so that rounding does not shift the logits.
        layer.bias.copy_(layer.bias.double() - layer.weight.double() @ mean)

    @torch.no_grad()
    def unfold(self, layer: nn.Linear) -> None:
        """Change a layer that takes plain features into one that takes standardised features and gives the same."""
        mean, std = (values.to(layer.weight.device, torch.float64) for values in (self.mean, self.std))
        layer.bias.copy_(layer.bias.double() + layer.weight.double() @ mean)
        layer.weight.copy_(layer.weight.double() * std)


def attach(model: Any, statistics: FeatureStatistics | None, dropout: float = 0.0) -> None:
    """Standardise what enters the projector and, in training mode, drop channels of it, by a forward hook.

    A channel is dropped for all frames of a clip at once, which is dropout on the clip's pooled features; a separate
    mask for every frame would average out in the pooling. The state dict does not change.
    """
    base = plain_model(model)
    if statistics is not None:
        device = next(base.projector.parameters()).device
        statistics = FeatureStatistics(statistics.mean.to(device), statistics.std.to(device))

    def before_projector(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        features = arguments[0] if statistics is None else statistics(arguments[0])
        if dropout > 0.0 and module.training:
            shape = (len(features), *(1,) * (features.dim() - 2), features.shape[-1])
            features = features * nn.functional.dropout(features.new_ones(shape), dropout)
        return (features, *arguments[1:])

    if hasattr(base, STATISTICS):
        raise RuntimeError("the features are standardised already")
    base.projector.register_forward_pre_hook(before_projector)
    setattr(base, STATISTICS, statistics)


def plain_head(model: Any) -> dict[str, nn.Linear]:
    """Return copies of the head's layers as they are saved: adapters merged, then standardisation folded in."""
    base = plain_model(model)
    head = {name: _merged(getattr(base, name)) for name in HEAD}
    statistics: FeatureStatistics | None = getattr(base, STATISTICS, None)
    if statistics is not None:
        statistics.fold(head["projector"])
    return head


def _merged(module: Any) -> nn.Linear:
    if hasattr(module, "modules_to_save"):
        return _merged(module.modules_to_save[module.active_adapters[0]])
    if hasattr(module, "get_base_layer"):
        module = copy.deepcopy(module)
        # An older form of adapter keeps a trained copy of the layer within the LoRA layer.
        if hasattr(module.base_layer, "modules_to_save"):
            module.base_layer = module.base_layer.modules_to_save[module.active_adapters[0]]
        module.merge()
        module = module.get_base_layer()
    layer = nn.Linear(module.in_features, module.out_features, device=module.weight.device, dtype=module.weight.dtype)
    layer.load_state_dict({"weight": module.weight.detach(), "bias": module.bias.detach()})
    return layer.requires_grad_(False)


def pooled_inputs(model: Any, batch: Mapping[str, torch.Tensor], *, layers: bool = False) -> torch.Tensor:
    """Return the features that enter the head, averaged over each clip's own frames, `(clips, hidden)`.

    With `layers`, those of every layer, `(clips, layers + 1, hidden)`, instead of their weighted sum.
    """
    base = plain_model(model)
    weighted = hasattr(base, "layer_weights")
    output = base.get_submodule(architecture_of(base.config).base)(**batch, output_hidden_states=layers or weighted)
    if layers or weighted:
        hidden = torch.stack(output.hidden_states, dim=1)
        if not layers:
            hidden = weighted_sum(base.layer_weights, hidden)
    else:
        hidden = output.last_hidden_state
    if "attention_mask" not in batch:
        return hidden.mean(dim=-2)
    frames = batch["attention_mask"].sum(dim=-1)
    for kernel, stride in zip(base.config.conv_kernel, base.config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
    frames = frames.view(-1, *(1,) * (hidden.dim() - 1))
    valid = torch.arange(hidden.shape[-2], device=hidden.device)[:, None] < frames
    return torch.where(valid, hidden, 0.0).sum(dim=-2) / frames.squeeze(-1)


def weighted_sum(weights: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Return the sum of the states `(clips, layers + 1, ...)` of all layers, weighted by the softmax of the weights."""
    shape = (-1, *(1,) * (states.dim() - 2))
    return (states * nn.functional.softmax(weights, dim=-1).view(shape)).sum(dim=1)


def head_logits(model: Any, states: torch.Tensor) -> torch.Tensor:
    """Apply the head of a model (or a `HeadOnly`), with its hooks and adapters, to what `pooled_inputs` returned."""
    base = plain_model(model)
    if states.dim() == 3:
        states = weighted_sum(base.layer_weights, states)
    logits: torch.Tensor = base.classifier(base.projector(states))
    return logits


Parts = Mapping[str, tuple[torch.Tensor, ArrayLike]]
"""Features `(clips, hidden)` and label identifiers `(clips,)` of the parts `train` and `validation`."""

REGULARISATIONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


def start_head(model: Any, parts: Parts, *, balanced: bool = False, seed: int = 0) -> dict[str, Any]:
    """Set the head by multinomial logistic regression on standardised pooled features; return a record of it.

    Of the strengths of regularisation (scikit-learn's `C`), it takes the one with the least loss on validation clips,
    every label weighing the same. The solution, a `(labels, hidden)` matrix of rank below the number of labels, is
    written into projector and classifier by its singular value decomposition: as many rows of the projector as there
    are labels carry it, the others keep their initial values, with zero weights in the classifier. `balanced` weighs
    each label by the inverse of its share.
    PEFT must not have wrapped the model yet.

    Source: linear probing before fine-tuning, Kumar et al. 2022, arXiv:2202.10054.
    """
    solver, loss = _regression(parts, balanced, seed)
    present, labels = solver.classes_, int(model.config.num_labels)
    weight = np.zeros((labels, solver.n_features_in_))
    bias = np.full(labels, float(solver.intercept_.min()) - 2.0)
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
        "inverse_regularisation": solver.C,
        "iterations": int(np.max(solver.n_iter_)),
        "clips": len(parts["train"][0]),
        "validation_loss": loss,
    }


def best_layers(parts: Parts, *, balanced: bool) -> tuple[int, int]:
    """Return the first and last of the neighbouring layers whose mean tells the labels best.

    From the best single layer of features `(clips, layers + 1, hidden)` on, a neighbour is added or left out while the
    log loss of a linear discriminant analysis on validation clips falls. It takes a second where a logistic regression
    takes ten.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    truth, other = (np.asarray(parts[part][1]) for part in ("train", "validation"))
    count, labels = parts["train"][0].shape[1], len(_labels(truth))

    def loss(span: tuple[int, int]) -> float:
        train, validation = (parts[part][0][:, span[0] : span[1] + 1].mean(dim=1) for part in ("train", "validation"))
        statistics = FeatureStatistics.of(train)
        priors = np.full(labels, 1 / labels) if balanced else None
        solver = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)
        solver.fit(statistics(train).cpu().double().numpy(), truth)
        return _validation_loss(solver, statistics(validation).cpu().double().numpy(), other)

    found = {(layer, layer): loss((layer, layer)) for layer in range(count)}
    while True:
        first, last = best = min(found, key=lambda span: found[span])
        beside = [(first - 1, last), (first + 1, last), (first, last - 1), (first, last + 1)]
        new = [it for it in beside if 0 <= it[0] <= it[1] < count and it not in found]
        if not new:
            return best
        found |= {span: loss(span) for span in new}


def _regression(parts: Parts, balanced: bool, seed: int) -> tuple[Any, float]:
    """Return the logistic regression with the least log loss on validation clips, and that loss.

    From the strongest regularisation on, each goes on from the one before, until the loss rises.
    """
    from sklearn.linear_model import LogisticRegression

    (train, truth), (validation, other) = (
        (features.cpu().double().numpy(), np.asarray(labels))
        for features, labels in (parts["train"], parts["validation"])
    )
    _labels(truth)
    weights = "balanced" if balanced else None
    solver = LogisticRegression(max_iter=500, warm_start=True, class_weight=weights, random_state=seed)
    best, least = None, np.inf
    for strength in REGULARISATIONS:
        solver.set_params(C=strength).fit(train, truth)
        loss = _validation_loss(solver, validation, other)
        if loss >= least:
            break
        best, least = copy.deepcopy(solver), loss
    return best, least


def _labels(truth: NDArray[np.int64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.unique(truth)
    if len(found) < 2:
        raise InputError("the training part holds a single label; give a data set with at least two")
    return found


def _validation_loss(solver: Any, features: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the log loss with every label weighing the same; 0 where training had none of the labels."""
    from sklearn.metrics import log_loss
    from sklearn.utils.class_weight import compute_sample_weight

    known = np.isin(labels, solver.classes_)
    if not known.any():
        return 0.0
    weight = compute_sample_weight("balanced", labels[known])
    return float(log_loss(labels[known], solver.predict_proba(features[known]), labels=solver.classes_,
                          sample_weight=weight))  # fmt: skip
