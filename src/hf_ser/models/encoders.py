"""What each supported architecture calls its parts, and how a checkpoint is opened with our labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS, canonical_emotion, id2label, label2id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn
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
        raise InputError(
            f"architecture '{config.model_type}' is not supported; choose an encoder of {', '.join(ARCHITECTURES)}"
        ) from None


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


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence the report on newly initialised weights: what happens to the head is said in our own words."""
    import warnings

    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # PEFT 0.21 asks transformers 5.23 by a name that the latter is about to rename: nothing a user can mend.
            warnings.filterwarnings(
                "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
            )
            yield
    finally:
        transformers_logging.set_verbosity(before)
        if bars:
            transformers_logging.enable_progress_bar()


def _read(what: str, name: str, read: Any, **options: Any) -> Any:
    """Call a `from_pretrained`, turning its many failures into one line that names the model."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return read(name, **options)
    except (OSError, ValueError, HFValidationError) as error:
        chain: list[BaseException] = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
            chain.append(cause)
        kinds = tuple(type(link) for link in chain)
        if GatedRepoError in kinds:
            reason = "its repository is gated; ask for access on its page and log in with `hf auth login`"
        elif RevisionNotFoundError in kinds:
            reason = f"revision '{options.get('revision')}' does not exist; leave the revision out or name another"
        elif RepositoryNotFoundError in kinds:
            reason = "there is no such repository, or it is private; check the name or log in with `hf auth login`"
        else:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            reason = f"{first}; give a folder with config.json and model.safetensors, or a Hub id"
        raise InputError(f"model '{name}': cannot read its {what}: {reason}") from error


def open_config(name: str, **options: Any) -> PretrainedConfig:
    """Read the configuration of a checkpoint in a folder or on the Hub.

    Raises:
        InputError: It cannot be read, or its architecture is not supported.
    """
    from transformers import AutoConfig

    config = _read("configuration", name, AutoConfig.from_pretrained, trust_remote_code=False, **options)
    architecture_of(config)
    return config


def open_feature_extractor(name: str, **options: Any) -> Any:
    """Read the preprocessor of a checkpoint: it alone decides how audio is normalised.

    Raises:
        InputError: It cannot be read.
    """
    from transformers import AutoFeatureExtractor

    return _read("preprocessor", name, AutoFeatureExtractor.from_pretrained, trust_remote_code=False, **options)


def open_encoder(
    name: str,
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
        name: A folder or a Hub id.
        labels: The labels to classify, in the order of their identifiers.
        seed: Seed of the newly initialised weights.
        settings: Fields of the configuration to set before the model is made.
        **options: Passed on to `from_pretrained` (`revision`, `token`, …).

    Returns:
        The model (float32, in evaluation mode) and what became of the head:
        ``{"head": "new" | "taken over", "kept_labels": [...]}``.

    Raises:
        InputError: The checkpoint cannot be read, its architecture is not supported, or it has no such setting.
    """
    import torch
    from transformers import AutoModelForAudioClassification

    labels = tuple(labels)
    config = open_config(name, **options)
    old_labels = [canonical_emotion(str(config.id2label[index])) for index in sorted(config.id2label)]
    config.id2label, config.label2id = id2label(labels), label2id(labels)
    for field, value in (settings or {}).items():
        if not hasattr(config, field):
            raise InputError(f"model '{name}': its configuration has no field '{field}' to set")
        setattr(config, field, value)
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        model, report = _read(
            "weights",
            name,
            AutoModelForAudioClassification.from_pretrained,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
            **options,
        )
    missing = {str(key) for key in report["missing_keys"]}
    resized = {str(entry[0]) for entry in report["mismatched_keys"]}
    outside_head = sorted(key for key in missing | resized if part_of(key, architecture_of(config)) != "head")
    outside_head = [key for key in outside_head if key != "layer_weights" and "masked_spec_embed" not in key]
    if outside_head:
        raise InputError(
            f"model '{name}': its weights lack {outside_head[0]} (and {len(outside_head) - 1} more); "
            "the folder does not hold a checkpoint of the architecture its config.json names"
        )
    kept = (
        []
        if any(key.startswith("projector.") for key in missing | resized)
        else [label for label in labels if label in old_labels]
    )
    if kept and not any(key.startswith("classifier.") for key in missing):
        _keep_rows(model, name, labels, old_labels, options)
        logger.info("the head of %s is taken over by name: %s keep their rows", name, ", ".join(kept))
        return model.eval(), {"head": "taken over", "kept_labels": kept}
    return model.eval(), {"head": "new", "kept_labels": []}


def _keep_rows(
    model: Any, name: str, labels: tuple[str, ...], old_labels: list[str], options: Mapping[str, Any]
) -> None:
    import torch
    from transformers import AutoModelForAudioClassification

    with quiet_loading():
        old = AutoModelForAudioClassification.from_pretrained(
            name, dtype=torch.float32, trust_remote_code=False, use_safetensors=True, **options
        )
    with torch.no_grad():
        if len(old_labels) == len(labels):
            # The sizes agree, so every row was loaded by its place: start over before rows move by name.
            model.classifier.reset_parameters()
            model.classifier.weight.normal_(0.0, getattr(model.config, "initializer_range", 0.02))
            model.classifier.bias.zero_()
        for row, label in enumerate(labels):
            if label in old_labels:
                model.classifier.weight[row] = old.classifier.weight[old_labels.index(label)]
                model.classifier.bias[row] = old.classifier.bias[old_labels.index(label)]


def record_layer_drop(model: PreTrainedModel) -> None:
    """Make LayerDrop compatible with the weighted layer sum, in place.

    `transformers` 5 skips a dropped layer without recording its hidden state, so that the sum over layers
    fails. Here each layer runs and, when it is dropped, hands its input on: the same training signal, the
    full number of hidden states, and a gradient (of zero) for every parameter. The configuration that is
    saved keeps its `layerdrop`.

    Source: Fan et al. 2020, Reducing Transformer Depth on Demand with Structured Dropout.
    """
    import copy

    import torch

    config = model.config
    rate = float(getattr(config, "layerdrop", 0.0) or getattr(config, "encoder_layerdrop", 0.0))
    if rate <= 0.0 or not getattr(config, "use_weighted_layer_sum", False):
        return
    path = architecture_of(config).layers
    encoder = model.get_submodule(path.rpartition(".")[0])
    private = copy.deepcopy(config)
    private.layerdrop = 0.0
    if hasattr(private, "encoder_layerdrop"):
        private.encoder_layerdrop = 0.0
        encoder.layerdrop = 0.0
    encoder.config = private

    def hand_on(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        if not module.training:
            return output
        hidden = output[0] if isinstance(output, tuple) else output
        keep = (torch.rand([], device=hidden.device) >= rate).to(hidden.dtype)
        mixed = keep * hidden + (1 - keep) * arguments[0]
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    for layer in model.get_submodule(path):
        layer.register_forward_hook(hand_on, prepend=True)
