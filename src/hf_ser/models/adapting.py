"""Applying a recipe to a model: what trains, the adapter, the learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from hf_ser.errors import InputError
from hf_ser.models.architectures import (
    ATTENTION_PROJECTIONS,
    PARTS,
    Architecture,
    architecture_of,
    is_above,
    layer_of,
    part_of,
    plain_model,
)
from hf_ser.models.loading import quiet_loading
from hf_ser.models.recipe import ADAPTERS, Recipe

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig


def adapt(model: Any, chosen: Recipe) -> Any:
    """Make exactly what the recipe names trainable; return the model, in a `peft.PeftModel` where it has an adapter.

    LoRA on an attention that would not train (WavLM) is refused.
    """
    architecture = architecture_of(model.config)
    # The head computes the plain mean of the batch; without this, Trainer (transformers 5) divides by
    # a count of items that the model ignores, and the loss grows with accumulation steps and processes.
    model.accepts_loss_kwargs = False
    layers = range(_frozen_layers(model.config, chosen), _read_layers(model))
    if architecture.raw_waveform and "feature_encoder" not in chosen.trained_parts:
        # Weights that need no gradient are not enough: the module asks for one of its input.
        model.freeze_feature_encoder()
    if not chosen.lora:
        for name, parameter in model.named_parameters():
            trains = part_of(name, architecture) in chosen.trained_parts
            above, layer = not layers.start or is_above(name, model.config, layers.start), layer_of(name, architecture)
            parameter.requires_grad_(trains and above and (layer is None or layer < layers.stop))
        return model

    import peft

    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.lora.items()}
    settings["target_modules"] = _targets(architecture, chosen)
    if len(layers) < model.config.num_hidden_layers and not chosen.encoder_is_frozen:
        settings["layers_to_transform"] = list(layers)
    with quiet_loading():
        try:
            adapted = peft.get_peft_model(model, getattr(peft, ADAPTERS[chosen.peft_type][0])(**settings))
        except (TypeError, ValueError) as error:
            raise InputError(f"recipe '{chosen.name}': peft refuses its {chosen.peft_type} adapter: {error}") from error
    for name, parameter in adapted.named_parameters():
        if ".modules_to_save." in name:
            parameter.requires_grad_("head" in chosen.trained_parts)
        if name.endswith("layer_weights") and "layer_weights" in chosen.trained_parts:
            if not chosen.encoder_is_frozen:
                raise InputError(
                    f"recipe '{chosen.name}' trains layer_weights beside an adapter, whose checkpoints lack them; "
                    "leave layer_weights out of trains, or leave lora out"
                )
            parameter.requires_grad_(True)
    return adapted


def _targets(architecture: Architecture, chosen: Recipe) -> list[str]:
    """Return the modules that an adapter trains; those that it could not train are refused, or no part of `layers`."""
    named, live = list(chosen.lora["target_modules"]), (*ATTENTION_PROJECTIONS, *architecture.linear)
    if dead := [name for name in named if name in architecture.bypassed]:
        raise InputError(
            f"recipe '{chosen.name}' trains nothing in {architecture.model_type}: its attention reads the weights of "
            f"{', '.join(dead)} past their adapters, which get no gradient; use lora_all, which leaves them out, full "
            "or lora_classifier, or another encoder"
        )
    layers = [name for name in live if name not in architecture.bypassed] if "layers" in named else []
    return [name for name in named if name != "layers"] + layers


def _frozen_layers(config: PretrainedConfig, chosen: Recipe) -> int:
    """Return how many of the lower transformer layers `trained_layers` freezes; 0 where it freezes none."""
    if chosen.trained_layers is None:
        return 0
    if chosen.trained_layers >= config.num_hidden_layers:
        raise InputError(
            f"recipe '{chosen.name}': trained_layers is {chosen.trained_layers}, and the encoder has "
            f"{config.num_hidden_layers} layers; give fewer, or leave it out"
        )
    return int(config.num_hidden_layers - chosen.trained_layers)


def _read_layers(model: Any) -> int:
    """Return how many of the transformer layers the head reads; those above the last one get no gradient."""
    weights, count = getattr(model, "layer_weights", None), int(model.config.num_hidden_layers)
    if weights is None or weights.is_meta:
        return count
    return int(torch.softmax(weights.detach(), 0).nonzero().max())


def learning_rate_groups(
    model: nn.Module,
    chosen: Recipe,
    config: PretrainedConfig,
    learning_rate: float,
    weight_decay: float,
    decayed: set[str],
) -> list[dict[str, Any]]:
    """Return the optimiser's parameter groups: one for each part, with and without weight decay.

    The recipe's `learning_rate_scale` multiplies the rate of each part, its `layer_decay` that of each layer; `decayed`
    names the parameters that decay.
    """
    architecture = architecture_of(config)
    groups: dict[tuple[str, float, bool], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part, layer = part_of(name, architecture), layer_of(name, architecture)
            scale = chosen.learning_rate_scale.get(part, 1.0)
            if chosen.layer_decay < 1 and (layer is not None or part in PARTS[:2]):
                scale *= chosen.layer_decay ** (config.num_hidden_layers - (0 if layer is None else layer + 1))
            groups.setdefault((part, scale, name in decayed), []).append(parameter)
    return [
        {"params": parameters, "lr": learning_rate * scale, "weight_decay": weight_decay if decays else 0.0}
        for (_, scale, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def prove_adapter_alive(model: Any, batch: Mapping[str, Any], chosen: Recipe) -> int:
    """Run one backward pass on a batch, and return the number of an adapter's weights; each must get a gradient."""
    was_training = model.training
    model.eval()
    with torch.enable_grad():
        model(**batch).loss.backward()
    mark = ADAPTERS[chosen.peft_type][1]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if mark in name}
    dead = [name for name, gradient in gradients.items() if gradient is None or not bool(gradient.abs().max() > 0)]
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    if dead:
        raise InputError(
            f"recipe '{chosen.name}': {len(dead)} adapters get no gradient and would never train, {dead[0]} first; "
            "use recipe full or lora_classifier for this encoder"
        )
    return len(gradients)


def freeze_unused(model: Any) -> list[str]:
    """Freeze the weights that do not influence the logits, and return their names; several processes need this.

    The embedding of masked frames is unused without SpecAugment, and so is the last layer norm where a weighted sum
    takes the states before it. They get no gradient, which distributed training would search for at every step.
    """
    config, unused = plain_model(model).config, []
    if not (getattr(config, "apply_spec_augment", False) and config.mask_time_prob > 0):
        unused.append(".masked_spec_embed")
    if getattr(config, "do_stable_layer_norm", False) and config.use_weighted_layer_sum:
        unused += [".encoder.layer_norm.weight", ".encoder.layer_norm.bias"]
    frozen = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name.endswith(tuple(unused)):
            parameter.requires_grad_(False)
            frozen.append(name)
    return frozen


def drops_layers(model: Any) -> bool:
    """Return whether LayerDrop may leave trained weights without a gradient in some step."""
    base = plain_model(model)
    rate = getattr(base.config, "layerdrop", 0.0) or getattr(base.config, "encoder_layerdrop", 0.0)
    layers = base.get_submodule(architecture_of(base.config).layers)
    return bool(rate) and any(parameter.requires_grad for parameter in layers.parameters())
