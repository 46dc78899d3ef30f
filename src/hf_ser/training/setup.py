"""From a checkpoint and a recipe to a model that is ready to train, checked and measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_ser.inference.states import pooled_states
from hf_ser.models.adapting import adapt, prove_adapter_alive, trainable_parameters
from hf_ser.models.architectures import plain_model
from hf_ser.models.head import FeatureStatistics, attach, start_head
from hf_ser.models.recipes import Recipe
from hf_ser.training.batches import Collators

_HEAD = ("projector.weight", "projector.bias", "classifier.weight", "classifier.bias")


def trains_layer_weights(model: Any, chosen: Recipe) -> bool:
    """Return whether the weights of the layers' sum train, so that the states of every layer are needed."""
    return hasattr(plain_model(model), "layer_weights") and "layer_weights" in chosen.trained_parts


def start_of(
    model: Any, feature_extractor: Any, chosen: Recipe, segments: Any, head: dict[str, Any], file: Path, seed: int
) -> FeatureStatistics | None:
    """Start the head, and return the statistics of the features that the recipe normalises by.

    The start is written to a file and read back, so that a resumed run and other processes have the same bits and
    need no pass over the training clips. The head of `model` is set in place, and `head`, the record of it, extended.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    if not file.is_file():
        statistics = _start_head(model, feature_extractor, chosen, segments, head, seed)
        tensors = {name: model.get_parameter(name).detach().cpu().contiguous() for name in _HEAD}
        if statistics is not None:
            tensors |= {"statistics.mean": statistics.mean.cpu(), "statistics.std": statistics.std.cpu()}
        partial = file.with_name(f".{file.name}.partial")
        save_file(tensors, str(partial), metadata={"head": json.dumps(head)})
        partial.replace(file)
    with safe_open(str(file), "pt") as kept, torch.no_grad():
        head |= json.loads(kept.metadata()["head"])
        for name in _HEAD:
            model.get_parameter(name).copy_(kept.get_tensor(name))
        if "statistics.mean" not in kept.keys():  # noqa: SIM118 - a file, not a mapping
            return None
        return FeatureStatistics(kept.get_tensor("statistics.mean"), kept.get_tensor("statistics.std"))


def _start_head(
    model: Any, feature_extractor: Any, chosen: Recipe, segments: Any, head: dict[str, Any], seed: int
) -> FeatureStatistics | None:
    kept = head["kept_labels"]
    starts = chosen.head_start == "logistic_regression" and not kept
    if not chosen.normalize_features and not starts:
        return None
    layers = chosen.encoder_is_frozen and trains_layer_weights(model, chosen)
    description = "Encoding training clips (frozen encoder)"
    features = torch.from_numpy(
        pooled_states(model, feature_extractor, segments, layers=layers, description=description)
    )
    if layers:
        weights = model.layer_weights.detach().cpu().softmax(dim=-1)
        features = (features * weights.view(1, -1, 1)).sum(dim=1)
    statistics = FeatureStatistics.of(features)
    if kept and chosen.normalize_features:
        statistics.unfold(model.projector)
    if starts:
        head |= start_head(model, statistics(features), segments.labels, seed=seed)
        if not chosen.normalize_features:
            statistics.fold(model.projector)
    return statistics if chosen.normalize_features else None


def adapt_and_check(
    model: Any, chosen: Recipe, statistics: FeatureStatistics | None, collators: Collators, segments: Any, seed: int
) -> tuple[Any, dict[str, Any]]:
    """Apply the recipe; return the model and facts for the record. A recipe that would train nothing is refused."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = adapt(model, chosen)
    if statistics is not None or chosen.head_dropout:
        attach(adapted, statistics, chosen.head_dropout)
    adapted = adapted.to(device)
    facts: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in plain_model(model).parameters()),
        "trainable_parameters": trainable_parameters(adapted),
    }
    if chosen.lora:
        shortest = [segments[int(index)] for index in np.argsort(segments.lengths, kind="stable")[:8]]
        batch = {name: tensor.to(device) for name, tensor in collators.evaluation(shortest).items()}
        facts["adapters_alive"] = prove_adapter_alive(adapted, batch, chosen)
        for settings in adapted.peft_config.values():
            # While it names a base, PEFT asks the Hub about the base's vocabulary at every save.
            settings.base_model_name_or_path = ""
    return adapted, facts
