"""Saving a model so that it reloads the same anywhere, and opening what was saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hf_ser.errors import InputError
from hf_ser.models.encoders import open_encoder, open_feature_extractor, quiet_loading
from hf_ser.models.head import FeatureStatistics, attach, folded, head_tensors, plain_model, statistics_of

__all__ = ["load_weights", "merge", "open_model", "save_model", "trained_tensors"]

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
    with folded(model):
        model.save_pretrained(str(directory), safe_serialization=True)
    base = plain_model(model)
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


def open_model(name: str | Path, **options: Any) -> tuple[Any, Any]:
    """Open a fine-tuned checkpoint or adapter from a folder or the Hub, with its preprocessor.

    Args:
        name: A folder, or a Hub id.
        **options: `revision`, `token`, `cache_dir`, … of `from_pretrained`.

    Returns:
        The model in evaluation mode (a `peft.PeftModel` for an adapter) and its feature extractor.

    Raises:
        InputError: It is neither, its base model is gone, or it does not fit its base.
    """
    name = str(name)
    config_file = _adapter_config(name, options)
    if config_file is None:
        model, head = open_encoder(name, _labels_of(name, options), **options)
        if head["head"] == "new":
            raise InputError(
                f"model '{name}' is an encoder without a trained head; fine-tune it, or name a fine-tuned one"
            )
        return model, open_feature_extractor(name, **options)
    from peft import PeftModel

    settings = json.loads(Path(config_file).read_text())
    base = settings.get("base_model_name_or_path")
    if not base:
        raise InputError(f"adapter '{name}': adapter_config.json names no base model; it cannot be loaded")
    base_options = {key: value for key, value in options.items() if key != "revision"}
    if settings.get("revision"):
        base_options["revision"] = settings["revision"]
    weighted = _config_of(name, options).get("use_weighted_layer_sum")
    own = {} if weighted is None else {"use_weighted_layer_sum": weighted}
    model, _ = open_encoder(str(base), _labels_of(name, options), settings=own, **base_options)
    with quiet_loading():
        try:
            adapted = PeftModel.from_pretrained(model, name, **options)
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"adapter '{name}' does not fit its base model '{base}': {reason}") from error
    return adapted.eval(), open_feature_extractor(name, **options)


def _hub_file(name: str, file: str, options: Mapping[str, Any]) -> str | None:
    """Return the path of a file of a folder or repository, or None where there is no such file."""
    from transformers.utils import cached_file

    known = {key: options[key] for key in ("revision", "token", "cache_dir") if key in options}
    try:
        found = cached_file(
            name,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_connection_errors=False,
            **known,
        )
    except OSError:
        return None
    return None if found is None else str(found)


def resolved_revision(name: str, options: Mapping[str, Any]) -> str | None:
    """Return the commit that a Hub id was read at, or None for a folder."""
    import re

    file = _hub_file(name, "config.json", options)
    found = None if file is None or Path(name).is_dir() else re.search(r"/snapshots/([0-9a-f]{40})/", file)
    return None if found is None else found.group(1)


def _adapter_config(name: str, options: Mapping[str, Any]) -> str | None:
    return _hub_file(name, "adapter_config.json", options)


def _config_of(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    file = _hub_file(name, "config.json", options)
    if file is None:
        raise InputError(f"model '{name}': no config.json with its labels; give a folder or repository that holds one")
    values: dict[str, Any] = json.loads(Path(file).read_text())
    return values


def _labels_of(name: str, options: Mapping[str, Any]) -> list[str]:
    names = _config_of(name, options).get("id2label")
    if not names:
        raise InputError(f"model '{name}': its config.json names no labels; it is no fine-tuned classifier")
    return [str(names[key]) for key in sorted(names, key=int)]
