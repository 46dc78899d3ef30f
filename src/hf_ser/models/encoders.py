"""Opening a checkpoint of a supported encoder, with our labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS, canonical_emotion
from hf_ser.models.architectures import ARCHITECTURES, architecture_of, part_of, unsupported
from hf_ser.models.group_norm import normalize_each_clip
from hf_ser.models.loading import quiet_loading, read_pretrained
from hf_ser.models.snapshot import CONFIG, Snapshot, open_snapshot

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)


def open_config(source: str | Path | Snapshot, **options: Any) -> PretrainedConfig:
    """Read a checkpoint's configuration; an unknown architecture, or values out of bounds, are refused."""
    from transformers import AutoConfig

    snapshot = open_snapshot(source, weights=False, **options)
    values = snapshot.read_json(CONFIG)
    if values.get("model_type") not in ARCHITECTURES:
        raise InputError(f"model '{snapshot.name}': {unsupported(values.get('model_type'))}")
    for field, value in values.items():
        _check_field(snapshot.name, field, value)
    config = read_pretrained("configuration", snapshot, AutoConfig.from_pretrained)
    config.name_or_path = snapshot.name
    return config


_MOST_LAYERS, _MOST_LABELS = 256, 10_000
_ATTENTION = (None, "eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")


def _check_field(name: str, field: str, value: Any) -> None:
    """Refuse what would take all memory before any weight is read, and kernels that are code from elsewhere."""
    most = _MOST_LABELS if "label" in field else _MOST_LAYERS
    size = len(value) if isinstance(value, list | dict) else value if field.endswith(("_layers", "num_labels")) else 0
    if isinstance(size, int) and size > most:
        raise InputError(f"model '{name}': {field} in its config.json is {size}; at most {most} are supported")
    if field.endswith("attn_implementation") and value not in _ATTENTION:
        raise InputError(f"model '{name}': {field} '{value}' in its config.json is not supported; remove that line")


def labels_of(snapshot: Snapshot) -> list[str]:
    """Return the labels in a snapshot's config.json; refuse it if there are none, gaps or duplicates."""
    name, names = snapshot.name, snapshot.read_json(CONFIG).get("id2label")
    if not names:
        raise InputError(f"model '{name}': its config.json names no labels; it is not a fine-tuned classifier")
    if not isinstance(names, dict) or set(names) != {str(index) for index in range(len(names))}:
        raise InputError(f"model '{name}': id2label in its config.json does not count from 0; fix it")
    labels = [names[str(index)] for index in range(len(names))]
    wrong = [label for label in labels if not isinstance(label, str) or not label or labels.count(label) > 1]
    if wrong:
        raise InputError(f"model '{name}': id2label in its config.json has {wrong[0]!r} twice or as no name; fix it")
    return labels


def encoder_config(snapshot: Snapshot) -> PretrainedConfig:
    """Return the configuration of a base model; an adapter is refused."""
    if snapshot.is_adapter:
        raise InputError(
            f"model '{snapshot.name}' is an adapter, not a checkpoint; name a checkpoint, or merge the adapter first"
        )
    return open_config(snapshot)


def open_feature_extractor(source: str | Path | Snapshot, **options: Any) -> Any:
    """Read a checkpoint's preprocessor, which alone decides how audio is normalised."""
    from transformers import AutoFeatureExtractor

    return read_pretrained("preprocessor", open_snapshot(source, **options), AutoFeatureExtractor.from_pretrained)


def open_weights(snapshot: Snapshot, config: PretrainedConfig | None = None) -> tuple[Any, set[str], list[str]]:
    """Return a snapshot's classifier, float32 and in evaluation mode, and what its files lack or have in another shape.

    Weights that cannot be read, are not of the architecture of `config` (by default the snapshot's own), or are no
    numbers, are refused.
    """
    from transformers import AutoModelForAudioClassification

    config = open_config(snapshot) if config is None else config
    _check_size(snapshot, config)
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
    missing, resized = set(map(str, report["missing_keys"])), [str(entry[0]) for entry in report["mismatched_keys"]]
    # First, as transformers leaves some missing weights uninitialised, at times as NaN.
    unfit = sorted(key for key in missing.union(resized) if "masked_spec_embed" not in key)
    unfit = [key for key in unfit if part_of(key, architecture_of(config)) not in ("head", "layer_weights")]
    if unfit:
        raise InputError(
            f"model '{snapshot.name}': its weights lack {unfit[0]} (and {len(unfit) - 1} more); "
            "it does not hold a checkpoint of the architecture its config.json names"
        )
    # The weights are views into the file, wherever its header ends; matrix products round by the place of their
    # operands in memory, so that equal weights would give logits that differ in the last bit from file to file.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    if "layer_weights" in missing:
        # transformers 5.23 leaves these uninitialised for wav2vec2 and WavLM.
        torch.nn.init.constant_(model.layer_weights, 1.0 / len(model.layer_weights))
    check_values(f"model '{snapshot.name}'", model)
    # Saving and PEFT record these as the origin of the model.
    model.name_or_path = model.config.name_or_path = snapshot.name
    return model.eval(), missing, resized


def _check_size(snapshot: Snapshot, config: PretrainedConfig) -> None:
    """Refuse a configuration that asks for more weights than its files can hold, before memory is taken."""
    from transformers import AutoModelForAudioClassification

    def describe(folder: str, **options: Any) -> int:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), quiet_loading():
            model = AutoModelForAudioClassification.from_config(config)
        architecture = architecture_of(config)
        return sum(weight.numel() for name, weight in model.named_parameters() if part_of(name, architecture) != "head")

    needed = read_pretrained("configuration", snapshot, describe)
    held = sum(file.stat().st_size for file in snapshot.folder.glob("*.safetensors"))
    if needed > held:
        raise InputError(
            f"model '{snapshot.name}': its config.json describes {needed:,} weights, and its files have {held:,} "
            "bytes; name another revision, or have it saved again"
        )


def check_values(name: str, model: Any) -> None:
    """Refuse weights that give no meaningful score: not finite, or all zero."""
    is_zero = True
    for key, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise InputError(f"{name}: its weight {key} holds NaN or infinite values; train it again")
        is_zero = is_zero and not (weight.dim() > 1 and bool(weight.any()))
    if is_zero:
        raise InputError(f"{name}: all its weights are zero; have it saved again")


def open_encoder(
    source: str | Path | Snapshot,
    labels: Sequence[str] = EMOTIONS,
    *,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    reuse_head: bool = True,
    **options: Any,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Open a checkpoint for sequence classification over `labels`, in the order of their identifiers.

    An existing head is reused with `reuse_head`, matching labels by name: the projector and the classifier rows of the
    labels that both know are kept, whatever their order and abbreviations; the other rows are newly initialised by the
    seed, as is all of a new head. `settings` are fields of the configuration to set before the model is made, and
    `options` those of `open_snapshot`.

    Returns:
        The model (float32, in evaluation mode) and what became of the head:
        ``{"head": "new" | "reused", "kept_labels": [...]}``.

    Raises:
        InputError: The checkpoint cannot be read, its architecture is not supported, or it has no such setting.
    """
    snapshot = open_snapshot(source, inspect=encoder_config, **options)
    config = open_config(snapshot)
    if "mask_time_prob" in (settings or {}):
        # Of its default of 2 masks of 10 frames, SpecAugment hides a third of a clip of one second.
        settings = {"mask_time_min_masks": 0, "apply_spec_augment": True, **(settings or {})}
    # A head that was trained on the last layer does not fit the mean over all of them.
    if (settings or {}).get("use_weighted_layer_sum") and not config.use_weighted_layer_sum:
        reuse_head = False
    for field, value in (settings or {}).items():
        if not hasattr(config, field):
            raise InputError(f"model '{snapshot.name}': its configuration has no field '{field}' to set")
        setattr(config, field, value)
    for field in ("layerdrop", "encoder_layerdrop"):
        if getattr(config, "use_weighted_layer_sum", False) and getattr(config, field, 0.0):
            # transformers 5 does not record the state of a dropped layer, so that the sum over the layers fails.
            logger.warning("%s: %s is set to 0, since the weighted layer sum needs every layer", snapshot.name, field)
            setattr(config, field, 0.0)
    model, head = open_classifier(snapshot, config, tuple(labels), seed=seed, reuse_head=reuse_head)
    normalize_each_clip(model)
    return model, head


def open_classifier(
    snapshot: Snapshot, config: PretrainedConfig, labels: tuple[str, ...], *, seed: int = 0, reuse_head: bool = True
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Open an encoder's weights under a given configuration, whose labels are set; see `open_encoder`."""
    existing = encoder_config(snapshot).id2label
    old_labels = [canonical_emotion(str(existing[index])) for index in sorted(existing)]
    config.id2label, config.label2id = dict(enumerate(labels)), {label: index for index, label in enumerate(labels)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, missing, resized = open_weights(snapshot, config)
        has_head = not any(key.startswith("projector.") for key in missing.union(resized))
        has_head = has_head and not any(key.startswith("classifier.") for key in missing)
        kept = [label for label in labels if canonical_emotion(label) in old_labels] if has_head and reuse_head else []
        if has_head:
            torch.manual_seed(seed)
            _initialize(model.classifier, config)
            if not kept:
                _initialize(model.projector, config)
        if kept:
            _keep_rows(model, snapshot, labels, old_labels)
            logger.info("reusing the head of %s for the labels %s", snapshot.name, ", ".join(kept))
    return model, {"head": "reused" if kept else "new", "kept_labels": kept}


def _initialize(layer: Any, config: PretrainedConfig) -> None:
    """Initialise a layer of the head as `transformers` does."""
    layer.weight.data.normal_(0.0, getattr(config, "initializer_range", getattr(config, "init_std", 0.02)))
    layer.bias.data.zero_()


@torch.no_grad()
def _keep_rows(model: Any, snapshot: Snapshot, labels: tuple[str, ...], old_labels: list[str]) -> None:
    old, _, resized = open_weights(snapshot)
    if resized:
        raise InputError(f"model '{snapshot.name}': its weights do not fit its config.json; have it saved again")
    for row, label in enumerate(map(canonical_emotion, labels)):
        if label in old_labels:
            model.classifier.weight[row] = old.classifier.weight[old_labels.index(label)]
            model.classifier.bias[row] = old.classifier.bias[old_labels.index(label)]
