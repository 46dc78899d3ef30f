"""From a checkpoint and a recipe to a model that is ready to train, proved and measured."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hf_ser.audio.collate import Collator
from hf_ser.models.encoders import encoder_config, open_encoder, open_feature_extractor
from hf_ser.models.head import (
    FeatureStatistics,
    attach,
    fold_statistics,
    plain_model,
    start_head,
    unfold_weights,
)
from hf_ser.models.layer_drop import record_layer_drop
from hf_ser.models.prefix import FEATURES, PrefixedModel
from hf_ser.models.recipes import Recipe, adapt, prove_adapter_alive, trainable_parameters
from hf_ser.models.rewrites import FrontEnd
from hf_ser.models.snapshot import open_snapshot
from hf_ser.training.frozen import FrozenPasses, behind_prefix

__all__ = ["Prepared", "measure_dropout", "prepare_model"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Prepared:
    """A model ready to train.

    Attributes:
        model: The adapted model, behind its frozen part where it has one.
        feature_extractor: The encoder's preprocessor.
        collate_training: Makes training batches.
        collate_evaluation: Makes evaluation batches.
        evaluation_batch_size: 1 where what evaluates depends on padding, else None.
        head: What the head started from.
        revision: Commit that a checkpoint from the Hub was read at; None for a folder.
        facts: Parameters and other facts for the record.
    """

    model: Any
    feature_extractor: Any
    collate_training: Collator
    collate_evaluation: Collator
    evaluation_batch_size: int | None
    head: dict[str, Any]
    revision: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def needs_clips_alone(model: Any) -> bool:
    """Return whether an encoder's output changes with padding even under an attention mask.

    In `transformers`, the feature encoder of the base models normalises each channel over the whole padded clip;
    `hf_ser.models.rewrites.FrontEnd`, where it applies, normalises each clip over itself.

    Example:
        >>> from transformers import HubertConfig, HubertForSequenceClassification
        >>> sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
        >>> needs_clips_alone(HubertForSequenceClassification(HubertConfig(feat_extract_norm="group", **sizes)))
        False
    """
    # Trainer and `accelerate launch` say so in the environment; the weights are split only later.
    is_split = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true")
    grouped = getattr(plain_model(model).config, "feat_extract_norm", "layer") == "group"
    return grouped and (is_split or not FrontEnd(model).applies)


def open_for_training(
    name: str, labels: tuple[str, ...], chosen: Recipe, seed: int, options: dict[str, Any]
) -> Prepared:
    """Open the checkpoint and its preprocessor at one commit; nothing is trained or adapted yet."""
    snapshot = open_snapshot(name, inspect=encoder_config, **options)
    model, head = open_encoder(snapshot, labels, seed=seed, settings=chosen.encoder_settings)
    record_layer_drop(model)
    feature_extractor = open_feature_extractor(snapshot)
    return Prepared(
        model=model,
        feature_extractor=feature_extractor,
        collate_training=Collator(feature_extractor, model.config, training=True),
        collate_evaluation=Collator(feature_extractor, model.config, training=False),
        evaluation_batch_size=1 if needs_clips_alone(model) else None,
        head=head,
        revision=snapshot.commit,
    )


def prepare_model(
    prepared: Prepared,
    chosen: Recipe,
    clips: Mapping[str, Any],
    passes: FrozenPasses,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    is_sharded: bool = False,
) -> dict[str, Any]:
    """Start the head, apply the recipe and prove that it trains, in place.

    Args:
        prepared: What `open_for_training` returned.
        chosen: The recipe.
        clips: The segments of each part of the data set.
        passes: Makes and keeps what frozen parts make of clips.
        seed: Seed of the head's start and of the adapter's weights.
        device: Where the model runs.
        checkpoint: A checkpoint that training resumes from; its weights replace the start, so that the pass
            over the training clips is left out where only the start needs it.
        is_sharded: Whether the model will be spread over the processes, which leaves it in one piece here.

    Returns:
        The items of each part: the segments, or what the frozen part of the model made of them.

    Raises:
        InputError: The recipe would train nothing in this encoder.
    """
    model = prepared.model.to(device)
    train = clips["train"]
    statistics, features, met = None, None, train
    if checkpoint is None and (chosen.normalize_features or chosen.head_start == "logistic_regression"):
        features, met = passes.start(model, chosen, clips)
    if features is not None and chosen.normalize_features:
        statistics = FeatureStatistics.of(features)
    elif chosen.normalize_features:
        hidden = model.projector.in_features
        statistics = FeatureStatistics(torch.zeros(hidden), torch.ones(hidden))
    kept = prepared.head["kept_labels"]
    if kept and statistics is not None and features is not None:
        unfold_weights(model, statistics)
    if features is not None and chosen.head_start == "logistic_regression" and not kept:
        standard = statistics if statistics is not None else FeatureStatistics.of(features)
        prepared.head |= start_head(model, standard(features), met.labels, seed=seed)
        if statistics is None:
            fold_statistics(model, standard)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = adapt(model, chosen)
    if statistics is not None or chosen.head_dropout:
        attach(adapted, statistics, chosen.head_dropout)
    adapted = adapted.to(device)
    prepared.facts["parameters"] = sum(parameter.numel() for parameter in plain_model(model).parameters())
    prepared.facts["trainable_parameters"] = trainable_parameters(adapted)
    probe = [train[item] for item in range(max(0, len(train) - 8), len(train))]
    if chosen.lora:
        batch = {key: value.to(device) for key, value in prepared.collate_evaluation(probe).items()}
        prepared.facts["adapters_alive"] = prove_adapter_alive(adapted, batch, chosen)
    prepared.model, items, frozen = adapted, dict(clips), dict[str, Any]()
    if not is_sharded:
        prepared.model, items, frozen = behind_prefix(adapted, chosen, passes, clips)
    if frozen:
        prepared.facts["frozen_part"] = frozen
    if frozen.get("stage") not in (None, FEATURES):
        # SpecAugment belongs to what is frozen, and so does its need of longer clips.
        prepared.collate_training = prepared.collate_evaluation
    if isinstance(prepared.model, PrefixedModel):
        # The frozen part takes clips one by one where it must; what follows it does not depend on padding.
        prepared.evaluation_batch_size = None
    if not chosen.encoder_is_frozen:
        measured = measure_dropout(prepared.model, prepared.collate_training(probe), device)
        if measured:
            prepared.facts["dropout"] = measured
    return items


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """SpecAugment draws from numpy, dropout from torch: leave both as they were."""
    import numpy as np

    state = np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            np.random.seed(0)
            yield
    finally:
        np.random.set_state(state)


_NOISE_FIELDS = (
    "hidden_dropout",
    "attention_dropout",
    "activation_dropout",
    "feat_proj_dropout",
    "layerdrop",
    "encoder_layerdrop",
    "dropout",
)


def measure_dropout(model: Any, batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, Any]:
    """Compare the loss of one batch with and without what training mode switches on.

    Some encoders do not survive dropout in their hidden states; a recipe's dropout is measured before it is
    believed. The figures go into the record, and a warning is logged where the loss more than doubles.

    Returns:
        The rates and both losses; empty where nothing is switched on.
    """
    config = plain_model(model).config
    rates = {name: float(getattr(config, name, 0.0) or 0.0) for name in _NOISE_FIELDS}
    if getattr(config, "apply_spec_augment", False):
        rates["mask_time_prob"] = float(config.mask_time_prob)
        rates["mask_feature_prob"] = float(config.mask_feature_prob)
    rates = {name: rate for name, rate in rates.items() if rate > 0.0}
    if not rates:
        return {}
    batch = {key: value.to(device) for key, value in batch.items()}
    was_training = model.training
    losses = {}
    with torch.no_grad(), _random_state_kept():
        for mode in (False, True):
            model.train(mode)
            losses[mode] = sum(float(model(**batch)["loss"]) for _ in range(4 if mode else 1)) / (4 if mode else 1)
    model.train(was_training)
    if losses[True] > 2.0 * losses[False] + 0.1:
        logger.warning(
            "training mode raises the loss of a batch from %.2f to %.2f (%s): this encoder may not survive it; "
            "set the rates to 0 by encoder_settings of the recipe",
            losses[False],
            losses[True],
            ", ".join(f"{name} {rate:g}" for name, rate in rates.items()),
        )
    return {"rates": rates, "loss_without": losses[False], "loss_with": losses[True]}
