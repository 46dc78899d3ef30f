"""What each supported architecture calls its parts, and how a checkpoint is opened with our labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS, canonical_emotion, id2label, label2id
from hf_ser.models.loading import quiet_loading, read_pretrained
from hf_ser.models.snapshot import CONFIG, Snapshot, open_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PretrainedConfig, PreTrainedModel

__all__ = [
    "ARCHITECTURES",
    "PARTS",
    "Architecture",
    "architecture_of",
    "depends_on_padding",
    "is_above",
    "open_encoder",
    "part_of",
]

logger = logging.getLogger(__name__)

PARTS: tuple[str, ...] = ("feature_encoder", "feature_projection", "encoder", "layer_weights", "head")
"""The parts of a model that a recipe trains or freezes, and gives a learning rate of their own."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Where one architecture of `transformers` keeps the parts that a recipe speaks of.

    Attributes:
        model_type: The `model_type` of its configuration.
        prefixes: Part to the prefixes of its parameters' names; everything else is the encoder.
        base: Path of the encoder, without the head.
        layers: Path of the list of transformer layers.
        attention_projections: Names of the query, key and value projections in a layer.
        raw_waveform: Whether the input is the waveform (else log-mel features).
        attention_bypasses_modules: Whether attention reads the projections' weights past their modules,
            which makes LoRA on them train nothing.
    """

    model_type: str
    prefixes: Mapping[str, tuple[str, ...]]
    base: str
    layers: str
    attention_projections: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    raw_waveform: bool = True
    attention_bypasses_modules: bool = False


def _waveform_architecture(model_type: str, base: str, *, attention_bypasses_modules: bool = False) -> Architecture:
    return Architecture(
        model_type=model_type,
        prefixes={
            "feature_encoder": (f"{base}.feature_extractor.",),
            "feature_projection": (
                f"{base}.feature_projection.",
                f"{base}.encoder.pos_conv_embed.",
                f"{base}.masked_spec_embed",
            ),
            "layer_weights": ("layer_weights",),
            "head": ("projector.", "classifier."),
        },
        base=base,
        layers=f"{base}.encoder.layers",
        attention_bypasses_modules=attention_bypasses_modules,
    )


ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.model_type: architecture
    for architecture in (
        _waveform_architecture("hubert", "hubert"),
        _waveform_architecture("wav2vec2", "wav2vec2"),
        _waveform_architecture("wavlm", "wavlm", attention_bypasses_modules=True),
        Architecture(
            model_type="whisper",
            prefixes={
                "feature_encoder": ("encoder.conv1.", "encoder.conv2."),
                "feature_projection": ("encoder.embed_positions.",),
                "layer_weights": ("layer_weights",),
                "head": ("projector.", "classifier."),
            },
            base="encoder",
            layers="encoder.layers",
            raw_waveform=False,
        ),
    )
}


def architecture_of(config: PretrainedConfig) -> Architecture:
    """Return the description of a configuration's architecture.

    Raises:
        InputError: The architecture is not one of `ARCHITECTURES`.

    Example:
        >>> from transformers import HubertConfig
        >>> architecture_of(HubertConfig()).layers
        'hubert.encoder.layers'
    """
    try:
        return ARCHITECTURES[config.model_type]
    except KeyError:
        raise InputError(_unsupported(config.model_type)) from None


def _unsupported(architecture: object) -> str:
    return f"architecture '{architecture}' is not supported; choose an encoder of {', '.join(ARCHITECTURES)}"


def part_of(name: str, architecture: Architecture) -> str:
    """Return which of `PARTS` a parameter belongs to, by its name in the plain (or PEFT-wrapped) model.

    Example:
        >>> part_of("hubert.feature_extractor.conv_layers.0.conv.weight", ARCHITECTURES["hubert"])
        'feature_encoder'
        >>> part_of("base_model.model.classifier.modules_to_save.default.bias", ARCHITECTURES["hubert"])
        'head'
        >>> part_of("hubert.encoder.layers.3.attention.q_proj.weight", ARCHITECTURES["hubert"])
        'encoder'
    """
    plain = name.removeprefix("module.").removeprefix("base_model.model.")
    for part, prefixes in architecture.prefixes.items():
        if plain.startswith(prefixes):
            return part
    return "encoder"


def is_above(name: str, config: PretrainedConfig, frozen_layers: int) -> bool:
    """Return whether a parameter is used only after the first `frozen_layers` transformer layers.

    Example:
        >>> from transformers import HubertConfig
        >>> is_above("hubert.encoder.layers.3.attention.q_proj.weight", HubertConfig(), 3)
        True
        >>> is_above("hubert.encoder.layer_norm.weight", HubertConfig(do_stable_layer_norm=False), 3)
        False
    """
    architecture = architecture_of(config)
    part = part_of(name, architecture)
    if part != "encoder":
        return part in ("layer_weights", "head")
    plain = name.removeprefix("module.").removeprefix("base_model.model.")
    if plain.startswith(architecture.layers + "."):
        return int(plain.removeprefix(architecture.layers + ".").partition(".")[0]) >= frozen_layers
    # What is left is a normalisation, which the two forms of these encoders put at opposite ends of the layers.
    return not architecture.raw_waveform or bool(config.do_stable_layer_norm)


def depends_on_padding(config: PretrainedConfig) -> bool:
    """Return whether an encoder's output changes with padding even under an attention mask.

    The feature encoder of the base models normalises each channel over the whole padded clip.

    Example:
        >>> from transformers import HubertConfig
        >>> depends_on_padding(HubertConfig(feat_extract_norm="group"))
        True
    """
    return getattr(config, "feat_extract_norm", "layer") == "group"


def open_config(source: str | Path | Snapshot, **options: Any) -> PretrainedConfig:
    """Read the configuration of a checkpoint in a folder or on the Hub.

    Args:
        source: A folder, a Hub id or a snapshot.
        **options: `revision`, `token` and `cache_dir` of `open_snapshot`.

    Raises:
        InputError: It cannot be read, or its architecture is not supported.
    """
    from transformers import AutoConfig

    snapshot = open_snapshot(source, weights=False, **options)
    architecture = snapshot.read_json(CONFIG).get("model_type")
    if architecture not in ARCHITECTURES:
        raise InputError(f"model '{snapshot.name}': {_unsupported(architecture)}")
    config = read_pretrained("configuration", snapshot, AutoConfig.from_pretrained)
    config.name_or_path = snapshot.name
    return config


def encoder_config(snapshot: Snapshot) -> PretrainedConfig:
    """Return the configuration of what is to be a base model.

    Raises:
        InputError: It is an adapter, which needs a base itself, or its architecture is not supported.
    """
    if snapshot.is_adapter:
        raise InputError(
            f"model '{snapshot.name}' is an adapter, not a checkpoint; name a checkpoint, or merge the adapter first"
        )
    return open_config(snapshot)


def open_feature_extractor(source: str | Path | Snapshot, **options: Any) -> Any:
    """Read the preprocessor of a checkpoint: it alone decides how audio is normalised.

    Args:
        source: A folder, a Hub id or a snapshot.
        **options: `revision`, `token` and `cache_dir` of `open_snapshot`.

    Raises:
        InputError: It cannot be read.
    """
    from transformers import AutoFeatureExtractor

    return read_pretrained("preprocessor", open_snapshot(source, **options), AutoFeatureExtractor.from_pretrained)


def open_weights(snapshot: Snapshot, config: PretrainedConfig | None = None) -> tuple[Any, Any]:
    """Return the classifier whose weights a snapshot holds, float32 and in evaluation mode, and what did not fit.

    Args:
        snapshot: Holds the weights.
        config: Of the model to make; None takes the snapshot's own.

    Raises:
        InputError: The weights cannot be read, or are not of the configuration's architecture.
    """
    import torch
    from transformers import AutoModelForAudioClassification

    with quiet_loading():
        model, report = read_pretrained(
            "weights",
            snapshot,
            AutoModelForAudioClassification.from_pretrained,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            use_safetensors=True,
        )
    # The weights are views into the file, wherever its header ends; matrix products round by the place of their
    # operands in memory, so that equal weights would give logits that differ in the last bit from file to file.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    # Whoever saves the model or wraps it by PEFT names its origin by these.
    model.name_or_path = model.config.name_or_path = snapshot.name
    model.config._commit_hash = snapshot.commit
    return model.eval(), report


def open_encoder(
    source: str | Path | Snapshot,
    labels: Sequence[str] = EMOTIONS,
    *,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Open a checkpoint for sequence classification over `labels`.

    A head that the checkpoint brings along is taken over by the names of its labels: the projector and the
    classifier rows of the labels that both know are kept, whatever their places and abbreviations; the
    other rows are newly initialised. Without such a head, projector and classifier are newly initialised.

    Args:
        source: A folder, a Hub id or a snapshot.
        labels: The labels to classify, in the order of their identifiers.
        seed: Seed of the newly initialised weights.
        settings: Fields of the configuration to set before the model is made.
        **options: `revision`, `token` and `cache_dir` of `open_snapshot`.

    Returns:
        The model (float32, in evaluation mode) and what became of the head:
        ``{"head": "new" | "taken over", "kept_labels": [...]}``.

    Raises:
        InputError: The checkpoint cannot be read, its architecture is not supported, or it has no such setting.
    """
    snapshot = open_snapshot(source, inspect=encoder_config, **options)
    config = open_config(snapshot)
    for field, value in (settings or {}).items():
        if not hasattr(config, field):
            raise InputError(f"model '{snapshot.name}': its configuration has no field '{field}' to set")
        setattr(config, field, value)
    return open_classifier(snapshot, config, tuple(labels), seed=seed)


def open_classifier(
    snapshot: Snapshot, config: PretrainedConfig, labels: tuple[str, ...], *, seed: int = 0
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Open an encoder's weights under a configuration of its architecture: see `open_encoder`.

    Args:
        snapshot: Holds the encoder's weights, and a head or none.
        config: Of the model to make; its labels are set here.
        labels: The labels to classify, in the order of their identifiers.
        seed: Seed of the newly initialised weights.

    Raises:
        InputError: The weights are not of such a model.
    """
    import torch

    brought = encoder_config(snapshot).id2label
    old_labels = [canonical_emotion(str(brought[index])) for index in sorted(brought)]
    config.id2label, config.label2id = id2label(labels), label2id(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, report = open_weights(snapshot, config)
    missing = {str(key) for key in report["missing_keys"]}
    if "layer_weights" in missing:
        # transformers 5.23 leaves it as whatever lies in memory for wav2vec2 and WavLM, a NaN at times.
        torch.nn.init.constant_(model.layer_weights, 1.0 / len(model.layer_weights))
    resized = {str(entry[0]) for entry in report["mismatched_keys"]}
    outside_head = sorted(key for key in missing | resized if part_of(key, architecture_of(config)) != "head")
    outside_head = [key for key in outside_head if key != "layer_weights" and "masked_spec_embed" not in key]
    if outside_head:
        raise InputError(
            f"model '{snapshot.name}': its weights lack {outside_head[0]} (and {len(outside_head) - 1} more); "
            "it does not hold a checkpoint of the architecture its config.json names"
        )
    kept = (
        []
        if any(key.startswith("projector.") for key in missing | resized)
        else [label for label in labels if canonical_emotion(label) in old_labels]
    )
    if kept and not any(key.startswith("classifier.") for key in missing):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _keep_rows(model, snapshot, labels, old_labels)
        logger.info("the head of %s is taken over by name: %s keep their rows", snapshot.name, ", ".join(kept))
        return model, {"head": "taken over", "kept_labels": kept}
    return model, {"head": "new", "kept_labels": []}


def _keep_rows(model: Any, snapshot: Snapshot, labels: tuple[str, ...], old_labels: list[str]) -> None:
    import torch

    old, report = open_weights(snapshot)
    if report["mismatched_keys"]:
        raise InputError(f"model '{snapshot.name}': its weights do not fit its config.json; have it saved again")
    with torch.no_grad():
        if len(old_labels) == len(labels):
            # The sizes agree, so every row was loaded by its place: start over before rows move by name.
            model.classifier.reset_parameters()
            model.classifier.weight.normal_(0.0, getattr(model.config, "initializer_range", 0.02))
            model.classifier.bias.zero_()
        for row, label in enumerate(map(canonical_emotion, labels)):
            if label in old_labels:
                model.classifier.weight[row] = old.classifier.weight[old_labels.index(label)]
                model.classifier.bias[row] = old.classifier.bias[old_labels.index(label)]
