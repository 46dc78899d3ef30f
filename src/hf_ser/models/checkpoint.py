"""Saving a model so that it reloads the same anywhere, and opening what was saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hf_ser.errors import InputError
from hf_ser.models.encoders import (
    architecture_of,
    encoder_config,
    open_classifier,
    open_config,
    open_feature_extractor,
    open_weights,
    part_of,
)
from hf_ser.models.head import FeatureStatistics, attach, folded, head_tensors, plain_model, statistics_of
from hf_ser.models.loading import quiet_loading
from hf_ser.models.snapshot import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, Snapshot, open_snapshot
from hf_ser.remote import hub_reason

__all__ = ["load_weights", "merge", "name_base", "open_model", "save_model", "trained_tensors"]

HEAD_STATE = "head_training_state.safetensors"


def save_model(model: Any, directory: Path | str, feature_extractor: Any, *, resumable: bool = False) -> None:
    """Save the model or its adapter as plain `transformers` or `peft` files, with labels and preprocessor.

    The standardisation of the features is folded into the head, so the files need nothing of this library.

    Args:
        model: A model, or a PEFT model around it.
        directory: Where to.
        feature_extractor: The encoder's preprocessor.
        resumable: Also keep the head as training sees it, so that a resumed run goes on with the same bits.
    """
    from safetensors.torch import save_file

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    base = plain_model(model)
    # PEFT would ask the Hub for the base's vocabulary at each save, at whatever commit it has by then.
    options = {} if base is model else {"save_embedding_layers": False}
    with folded(model):
        model.save_pretrained(str(directory), safe_serialization=True, **options)
    if base is not model:
        # An adapter holds no labels of its own; beside it, the configuration names them.
        architectures = base.config.architectures
        base.config.architectures = [type(base).__name__]
        base.config.save_pretrained(str(directory))
        base.config.architectures = architectures
        # PEFT writes a card of its own here, which would stand in the way of ours.
        (directory / "README.md").unlink(missing_ok=True)
    feature_extractor.save_pretrained(str(directory))
    if resumable:
        state = {name: tensor.detach().cpu().clone() for name, tensor in head_tensors(model).items()}
        statistics = statistics_of(model)
        if statistics is not None:
            state |= {"statistics.mean": statistics.mean.cpu(), "statistics.std": statistics.std.cpu()}
        save_file(state, str(directory / HEAD_STATE))


def name_base(model: Any, name: str, revision: str | None) -> None:
    """Write into an adapter's configuration which base it goes on, so that a reload takes the very same.

    Args:
        model: A PEFT model; of a plain one there is nothing to name.
        name: Folder or Hub id of the base.
        revision: Its commit on the Hub; None for a folder.
    """
    if plain_model(model) is model:
        return
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = name
        settings.revision = revision


def load_weights(model: Any, directory: Path | str) -> None:
    """Put a resumable checkpoint's weights back into the model that is training.

    Raises:
        InputError: The checkpoint does not fit the model.
    """
    from safetensors.torch import load_file

    directory = Path(directory)
    if not (directory / HEAD_STATE).is_file():
        raise InputError(f"{directory} is not a checkpoint of this library's training: it lacks {HEAD_STATE}")
    if plain_model(model) is not model:
        from peft import set_peft_model_state_dict

        report = set_peft_model_state_dict(model, load_file(str(directory / "adapter_model.safetensors")))
        unexpected = list(report.unexpected_keys)
    else:
        weights: dict[str, torch.Tensor] = {}
        for file in sorted(directory.glob("model*.safetensors")):
            weights |= load_file(str(file))
        report = model.load_state_dict(_with_parametrized_names(model, weights), strict=False)
        unexpected = [
            *report.unexpected_keys,
            *(key for key in report.missing_keys if "masked_spec_embed" not in key),
        ]
    if unexpected:
        raise InputError(f"{directory} does not fit the model: {unexpected[0]} and {len(unexpected) - 1} more differ")
    state = load_file(str(directory / HEAD_STATE))
    with torch.no_grad():
        for name, tensor in head_tensors(model).items():
            tensor.copy_(state[name])
    if "statistics.mean" in state:
        statistics = statistics_of(model)
        if statistics is None:
            attach(model, FeatureStatistics(state["statistics.mean"], state["statistics.std"]))
        else:
            statistics.mean.copy_(state["statistics.mean"])
            statistics.std.copy_(state["statistics.std"])


def trained_tensors(model: Any) -> list[torch.Tensor]:
    """Return what `load_weights` may change: the parameters that train, the buffers, the head and its statistics."""
    base = plain_model(model)
    head = {id(parameter) for layer in (base.projector, base.classifier) for parameter in layer.parameters()}
    found = [parameter for parameter in model.parameters() if parameter.requires_grad or id(parameter) in head]
    found += model.buffers()
    statistics = statistics_of(model)
    return found if statistics is None else [*found, statistics.mean, statistics.std]


def _with_parametrized_names(model: Any, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename weight-normalised convolutions as the module names them, whichever of the two forms was saved."""
    own = set(model.state_dict())
    renamed = {}
    for name, tensor in weights.items():
        new = name.replace(".weight_g", ".parametrizations.weight.original0").replace(
            ".weight_v", ".parametrizations.weight.original1"
        )
        renamed[name if name in own else new] = tensor
    return renamed


def merge(model: Any) -> Any:
    """Return an adapter merged into its base: a plain `transformers` model without PEFT's wrappers."""
    merged = model.merge_and_unload()
    for name in ("projector", "classifier"):
        layer = getattr(merged, name)
        if hasattr(layer, "modules_to_save"):
            setattr(merged, name, layer.modules_to_save["default"])
    return merged


def open_model(source: str | Path | Snapshot, **options: Any) -> tuple[Any, Any]:
    """Open a fine-tuned checkpoint or adapter from a folder or the Hub, with its preprocessor.

    Everything is read from one commit; an adapter's base from the commit that its adapter_config.json names.

    Args:
        source: A folder, a Hub id or a snapshot.
        **options: `revision`, `token` and `cache_dir` of `open_snapshot`.

    Returns:
        The model in evaluation mode (a `peft.PeftModel` for an adapter) and its feature extractor.

    Raises:
        InputError: It is neither, its base model is gone, or it does not fit its base.
    """
    snapshot = open_snapshot(source, inspect=_refuse_what_is_no_classifier, **options)
    if snapshot.is_adapter:
        model = _open_adapter(snapshot, {key: options[key] for key in ("token", "cache_dir") if key in options})
    else:
        model = _open_checkpoint(snapshot)
    return model, open_feature_extractor(snapshot)


_FINE_TUNE = "fine-tune it, or name a fine-tuned one"


def _refuse_what_is_no_classifier(snapshot: Snapshot) -> None:
    open_config(snapshot)
    architectures = snapshot.read_json(CONFIG).get("architectures") or ()
    for architecture in () if snapshot.is_adapter else map(str, architectures):
        if architecture.endswith("Model"):
            raise InputError(
                f"model '{snapshot.name}' is an encoder without a trained head ({architecture}); {_FINE_TUNE}"
            )
        if not architecture.endswith(("ForSequenceClassification", "ForAudioClassification")):
            raise InputError(f"model '{snapshot.name}' is a {architecture}, no classifier of audio; {_FINE_TUNE}")
    _labels_of(snapshot)


def _open_checkpoint(snapshot: Snapshot) -> Any:
    name = snapshot.name
    model, report = open_weights(snapshot)
    missing = sorted(str(key) for key in report["missing_keys"] if "masked_spec_embed" not in str(key))
    if missing and all(part_of(key, architecture_of(model.config)) == "head" for key in missing):
        raise InputError(f"model '{name}' is an encoder without a trained head (no {missing[0]}); {_FINE_TUNE}")
    unfit = [*missing, *(str(entry[0]) for entry in report["mismatched_keys"])]
    if unfit:
        raise InputError(
            f"model '{name}': its weights do not fit its config.json: {unfit[0]} and {len(unfit) - 1} more are lacking "
            "or of another shape; name another revision, or have it saved again"
        )
    return model


def _open_adapter(snapshot: Snapshot, options: Mapping[str, Any]) -> Any:
    name, config = snapshot.name, open_config(snapshot)
    settings = snapshot.read_json(ADAPTER_CONFIG)
    base = settings.get("base_model_name_or_path")
    if not base:
        raise InputError(f"adapter '{name}': adapter_config.json names no base model; it cannot be loaded")
    unfit = f"adapter '{name}' does not fit its base model '{base}'"

    def same_architecture(origin: Snapshot) -> None:
        found = encoder_config(origin).model_type
        if found != config.model_type:
            raise InputError(f"'{base}': the adapter is made for {config.model_type}, and this is {found}")

    revision = None if Path(base).is_dir() else settings.get("revision")
    try:
        origin = open_snapshot(str(base), revision=revision, inspect=same_architecture, **options)
    except InputError as error:
        raise InputError(f"adapter '{name}' needs its base {error}") from error
    try:
        model, head = open_classifier(origin, config, tuple(_labels_of(snapshot)))
    except InputError as error:
        raise InputError(f"{unfit}: {error}") from error
    return _wrapped(snapshot, model, head, unfit)


def _wrapped(snapshot: Snapshot, model: Any, head: Mapping[str, Any], unfit: str) -> Any:
    """Wrap a base by its adapter; every weight that was saved finds its place, and no weight of the head is random."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(snapshot.folder / ADAPTER_WEIGHTS), "pt") as file:
            saved = set(file.keys())
    except SafetensorError as error:
        raise InputError(
            f"adapter '{snapshot.name}': {ADAPTER_WEIGHTS} is damaged ({error}); name another revision, or have it "
            "saved again"
        ) from error
    kept = set(head["kept_labels"]) == set(model.config.id2label.values())
    plain = {key.removeprefix("base_model.model.").replace(".base_layer.", ".") for key in saved}
    for layer in ("projector", "classifier"):
        if f"{layer}.weight" not in plain and not (kept or (layer == "projector" and head["kept_labels"])):
            raise InputError(
                f"adapter '{snapshot.name}' holds no {layer}, and its base model has none for its labels: its scores "
                "would be random; save it with modules_to_save=['projector', 'classifier']"
            )
    with quiet_loading():
        try:
            adapted = PeftModel.from_pretrained(model, str(snapshot.folder))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{unfit}: {hub_reason(error)}") from error
        differing = sorted(saved ^ set(get_peft_model_state_dict(adapted, save_embedding_layers=False)))
    if differing:
        raise InputError(f"{unfit}: {differing[0]} and {len(differing) - 1} more of their weights have no counterpart")
    return adapted.eval()


def _labels_of(snapshot: Snapshot) -> list[str]:
    names = snapshot.read_json(CONFIG).get("id2label")
    if not names:
        raise InputError(f"model '{snapshot.name}': its config.json names no labels; it is no fine-tuned classifier")
    if not isinstance(names, dict) or set(names) != {str(index) for index in range(len(names))}:
        raise InputError(f"model '{snapshot.name}': id2label in its config.json does not count from 0; mend it")
    return [str(names[str(index)]) for index in range(len(names))]
