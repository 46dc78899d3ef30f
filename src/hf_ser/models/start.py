"""From a checkpoint and a recipe to a model that is ready to train, its head started and its adapters checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hf_ser.models.adapting import adapt, prove_adapter_alive
from hf_ser.models.architectures import plain_model
from hf_ser.models.head import FeatureStatistics, attach, best_layers, start_head, weighted_sum
from hf_ser.models.recipes import Recipe

Pooled = Callable[[str, bool], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Returns the features of a part that enter the head, of every layer if asked for, and the labels of its clips."""

_HEAD = ("projector.weight", "projector.bias", "classifier.weight", "classifier.bias")
_LAYER_WEIGHTS = "layer_weights"
_UNREAD = -1e4
"""The weight of a layer that is not read: its share in the softmax is 0 exactly."""


def trains_layer_weights(model: Any, chosen: Recipe) -> bool:
    """Return whether the weights of the layers' sum train, so that the states of every layer are needed."""
    return hasattr(plain_model(model), "layer_weights") and "layer_weights" in chosen.trained_parts


def start_of(
    model: Any, chosen: Recipe, pooled: Pooled, head: dict[str, Any], file: Path, seed: int
) -> FeatureStatistics | None:
    """Start the head, and return the statistics of the features that the recipe normalises by.

    The start is written to a file and read back, so that a resumed run and other processes have the same bits and need
    no such pass. The head of `model` is set in place, and `head`, the record of it, extended.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    names = (*_HEAD, *([_LAYER_WEIGHTS] if hasattr(model, _LAYER_WEIGHTS) else []))
    if not file.is_file():
        statistics = _start_head(model, chosen, pooled, head, seed)
        tensors = {name: model.get_parameter(name).detach().cpu().contiguous() for name in names}
        if statistics is not None:
            tensors |= {"statistics.mean": statistics.mean.cpu(), "statistics.std": statistics.std.cpu()}
        partial = file.with_name(f".{file.name}.partial")
        save_file(tensors, str(partial), metadata={"head": json.dumps(head)})
        partial.replace(file)
    with safe_open(str(file), "pt") as kept, torch.no_grad():
        head |= json.loads(kept.metadata()["head"])
        for name in names:
            model.get_parameter(name).copy_(kept.get_tensor(name))
        if "statistics.mean" not in kept.keys():  # noqa: SIM118 - a file, not a mapping
            return None
        return FeatureStatistics(kept.get_tensor("statistics.mean"), kept.get_tensor("statistics.std"))


def _start_head(
    model: Any, chosen: Recipe, pooled: Pooled, head: dict[str, Any], seed: int
) -> FeatureStatistics | None:
    kept = head["kept_labels"]
    starts = chosen.head_start == "logistic_regression" and not kept
    # A later stage reads the layers that the first one chose.
    chooses = chosen.layers == "best" and "layers" not in head
    if not chosen.normalize_features and not starts and not chooses:
        return None
    layers = chooses or (chosen.encoder_is_frozen and trains_layer_weights(model, chosen))
    given = {part: pooled(part, layers) for part in (("train", "validation") if starts or chooses else ("train",))}
    parts = {part: (torch.from_numpy(features), labels) for part, (features, labels) in given.items()}
    options: dict[str, Any] = {"balanced": chosen.balance_labels, "seed": seed}
    if chooses:
        first, last = head["layers"] = best_layers(parts, balanced=chosen.balance_labels)
        with torch.no_grad():
            model.layer_weights.fill_(_UNREAD)[first : last + 1] = 0.0
    if layers:
        weights = model.layer_weights.detach().cpu()
        parts = {part: (weighted_sum(weights, features), labels) for part, (features, labels) in parts.items()}
    statistics = FeatureStatistics.of(parts["train"][0])
    if kept and chosen.normalize_features:
        statistics.unfold(model.projector)
    if starts:
        head |= start_head(model, {part: (statistics(it), labels) for part, (it, labels) in parts.items()}, **options)
        if not chosen.normalize_features:
            statistics.fold(model.projector)
    return statistics if chosen.normalize_features else None


def adapt_and_check(
    model: Any, chosen: Recipe, statistics: FeatureStatistics | None, batch: Mapping[str, torch.Tensor], seed: int
) -> tuple[Any, dict[str, Any]]:
    """Apply the recipe; return the model and facts for the record.

    A recipe whose adapters get no gradient from the batch is refused.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = adapt(model, chosen)
    if statistics is not None or chosen.head_dropout:
        attach(adapted, statistics, chosen.head_dropout)
    adapted = adapted.to(device)
    facts = {
        "parameters": adapted.num_parameters(),
        "trainable_parameters": adapted.num_parameters(only_trainable=True),
    }
    if chosen.lora:
        moved = {name: tensor.to(device) for name, tensor in batch.items()}
        facts["adapters_alive"] = prove_adapter_alive(adapted, moved, chosen)
        for settings in adapted.peft_config.values():
            # While it names a base, PEFT asks the Hub about the base's vocabulary at every save.
            settings.base_model_name_or_path = ""
    return adapted, facts
