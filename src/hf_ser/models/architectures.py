"""What each supported architecture calls its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_ser.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

PARTS: tuple[str, ...] = ("feature_encoder", "feature_projection", "encoder", "layer_weights", "head")
"""The parts of a model that a recipe trains or freezes, each with its own learning rate."""

HEAD = ("projector", "classifier")
"""Names of the head's two layers, in every supported architecture."""


ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
"""Names of the query, key and value projections in a transformer layer, in every supported architecture."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Where an architecture of `transformers` keeps the parts that a recipe names.

    Attributes:
        model_type: The `model_type` of its configuration.
        base: Path of the encoder, without the head.
        layers: Path of the list of transformer layers.
        feature_encoder: Beginnings of the names of the feature encoder's parameters, after `base`.
        feature_projection: Likewise, of everything between it and the transformer layers.
        raw_waveform: Whether the input is the waveform (else log-mel features).
        linear: Names of the linear modules of a transformer layer beside the query, key and value projections.
        bypassed: Names of linear modules whose weights attention reads without calling them, so that adapters on them
            train nothing.
    """

    model_type: str
    base: str
    layers: str
    feature_encoder: tuple[str, ...] = ("feature_extractor.",)
    feature_projection: tuple[str, ...] = ("feature_projection.", "encoder.pos_conv_embed.", "masked_spec_embed")
    raw_waveform: bool = True
    linear: tuple[str, ...] = ("out_proj", "intermediate_dense", "output_dense")
    bypassed: tuple[str, ...] = ()


ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.model_type: architecture
    for architecture in (
        Architecture("hubert", "hubert", "hubert.encoder.layers"),
        Architecture("wav2vec2", "wav2vec2", "wav2vec2.encoder.layers"),
        Architecture("wavlm", "wavlm", "wavlm.encoder.layers", bypassed=(*ATTENTION_PROJECTIONS, "out_proj")),
        Architecture("data2vec-audio", "data2vec_audio", "data2vec_audio.encoder.layers"),
        Architecture(
            "whisper",
            "encoder",
            "encoder.layers",
            ("conv1.", "conv2."),
            ("embed_positions.",),
            raw_waveform=False,
            linear=("out_proj", "fc1", "fc2"),
        ),
    )
}


def architecture_of(config: PretrainedConfig) -> Architecture:
    """Return the description of a configuration's architecture; one that is not in `ARCHITECTURES` is refused."""
    try:
        return ARCHITECTURES[config.model_type]
    except KeyError:
        raise InputError(unsupported(config.model_type)) from None


def unsupported(architecture: object) -> str:
    """Return the message that refuses an architecture."""
    return f"architecture '{architecture}' is not supported; choose an encoder of {', '.join(ARCHITECTURES)}"


def layer_of(name: str, architecture: Architecture) -> int | None:
    """Return the transformer layer that a parameter is of, by its name as for `part_of`; None if it is of none."""
    plain = name.removeprefix("module.").removeprefix("base_model.model.")
    place = plain.removeprefix(architecture.layers + ".").partition(".")[0]
    return int(place) if plain.startswith(architecture.layers + ".") else None


def part_of(name: str, architecture: Architecture) -> str:
    """Return which of `PARTS` a parameter belongs to, by its name in the plain (or PEFT-wrapped) model.

    Example:
        >>> part_of("base_model.model.classifier.modules_to_save.default.bias", ARCHITECTURES["hubert"])
        'head'
    """
    plain = name.removeprefix("module.").removeprefix("base_model.model.")
    if plain.startswith(HEAD):
        return "head"
    inner = plain.removeprefix(f"{architecture.base}.")
    for part in ("feature_encoder", "feature_projection"):
        if inner.startswith(getattr(architecture, part)):
            return part
    return "layer_weights" if plain == "layer_weights" else "encoder"


def is_above(name: str, config: PretrainedConfig, frozen_layers: int) -> bool:
    """Return whether a parameter is used only after the first `frozen_layers` transformer layers."""
    architecture = architecture_of(config)
    part = part_of(name, architecture)
    if part != "encoder":
        return part in ("layer_weights", "head")
    if (layer := layer_of(name, architecture)) is not None:
        return layer >= frozen_layers
    # The rest is a normalisation, which the two forms of these encoders put at opposite ends of the layers.
    return not architecture.raw_waveform or bool(config.do_stable_layer_norm)


def encoder_weights(
    model: Any, *, adapters: bool = True, layer_weights: bool = True
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the names and values of everything before the head, without PEFT's additions to the names.

    Those of adapters are left out without `adapters`, and LoRA's where they add nothing, since their B is all zero.
    """
    base = plain_model(model)
    state = base.state_dict()
    for name, tensor in state.items():
        part = part_of(name, architecture_of(base.config))
        if part == "head" or (part == "layer_weights" and not layer_weights):
            continue
        if any(f".{mark}" in name for mark in ("lora_", "ia3_l", "ln_tuning_layers")) and not adapters:
            continue
        if ".lora_" in name and not bool(state[name.replace(".lora_A.", ".lora_B.")].any()):
            continue
        yield name.replace(".base_layer.", "."), tensor


def plain_model(model: Any) -> Any:
    """Return the `transformers` model inside a PEFT wrapper, or the model itself."""
    # Not by `peft_config`: PEFT leaves that attribute on the model that it wraps, too.
    return model.get_base_model() if hasattr(model, "get_base_model") else model
