"""Saving a model so that it reloads the same anywhere, and opening what was saved."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hf_ser.errors import InputError, hub_reason
from hf_ser.models.architectures import (
    ATTENTION_PROJECTIONS,
    HEAD,
    architecture_of,
    encoder_weights,
    part_of,
    plain_model,
)
from hf_ser.models.encoders import (
    check_values,
    encoder_config,
    labels_of,
    open_classifier,
    open_config,
    open_feature_extractor,
    open_weights,
)
from hf_ser.models.group_norm import normalize_each_clip
from hf_ser.models.head import STATISTICS, plain_head
from hf_ser.models.loading import quiet_loading
from hf_ser.models.snapshot import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, Snapshot, open_snapshot

_DIGEST = "hf_ser_base_digest"
_PREFIX = "base_model.model."
_LAYER_WEIGHTS = f"{_PREFIX}layer_weights"


def save_model(
    model: Any,
    directory: Path | str,
    feature_extractor: Any,
    base_name: str | None = None,
    base_revision: str | None = None,
) -> None:
    """Save a model as plain `transformers` files, or its adapter as plain `peft` files, with labels and preprocessor.

    The head is written with its adapters merged and the standardisation of the features folded in, so that the files
    need nothing of this library: PEFT's `from_pretrained`, `merge_and_unload` and `save_pretrained` work on them. The
    model is not changed. `base_name` is the folder or Hub id of an adapter's base model, and `base_revision` its commit
    on the Hub, None for a folder; without a name, an adapter keeps the name and revision that it was opened by.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    base, head = plain_model(model), plain_head(model)
    tensors = {f"{name}.{key}": value for name in HEAD for key, value in head[name].state_dict().items()}
    if base is model:
        model.save_pretrained(str(directory), state_dict={**model.state_dict(), **tensors})
    else:
        _save_adapter(model, directory, tensors, base_name, base_revision)
        # An adapter has no labels; the configuration beside it names them, and the weights of its base.
        config = copy.deepcopy(base.config)
        config.architectures = [type(base).__name__]
        setattr(config, _DIGEST, base_digest(model))
        config.save_pretrained(str(directory))
    feature_extractor.save_pretrained(str(directory))


def _save_adapter(
    model: Any, directory: Path, head: Mapping[str, torch.Tensor], name: str | None, revision: str | None
) -> None:
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file

    config = copy.deepcopy(model.peft_config[model.active_adapter])
    targets = set(config.target_modules) - set(HEAD)
    # PEFT would ask the Hub for the base's vocabulary at each save.
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    kept = {key: value for key, value in state.items() if part_of(key, architecture_of(model.config)) != "head"}
    if not kept:
        # PEFT refuses an adapter without a target: one pair on the first layer, which adds nothing.
        layer = f"{architecture_of(model.config).layers}.0"
        names = (name for name, _ in plain_model(model).named_modules() if name.startswith(f"{layer}."))
        target = next(name for name in names if name.endswith(f".{ATTENTION_PROJECTIONS[0]}"))
        width, targets = plain_model(model).config.hidden_size, {target}
        config = LoraConfig(r=1, base_model_name_or_path=config.base_model_name_or_path, revision=config.revision)
        kept[f"{_PREFIX}{target}.lora_A.weight"] = torch.zeros(1, width)
        kept[f"{_PREFIX}{target}.lora_B.weight"] = torch.zeros(width, 1)
    config.target_modules = targets
    own = [entry for entry in config.modules_to_save or () if not entry.startswith(HEAD)]
    config.modules_to_save = [*own, *HEAD]
    if name is not None:
        config.base_model_name_or_path, config.revision = name, revision
    config.inference_mode = True
    kept |= {f"{_PREFIX}{key}": value for key, value in head.items()}
    if hasattr(plain_model(model), "layer_weights"):
        # PEFT does not save it, yet loads it, and some releases of transformers leave it uninitialised.
        kept[_LAYER_WEIGHTS] = plain_model(model).layer_weights
    config.save_pretrained(str(directory))
    tensors = {key: value.detach().cpu().contiguous() for key, value in kept.items()}
    save_file(tensors, str(directory / ADAPTER_WEIGHTS), metadata={"format": "pt"})


def base_digest(model: Any) -> str:
    """Return a SHA-256 over the weights of a (wrapped) base model, whatever they are called and however stored."""
    digests: list[bytes] = []
    for name, tensor in encoder_weights(model, adapters=False, layer_weights=False):
        # Some checkpoints lack the embedding of masked frames, which is then newly initialised.
        if "masked_spec_embed" not in name and ".modules_to_save." not in name:
            digests.append(hashlib.sha256(tensor.detach().float().cpu().contiguous().numpy().data).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def merge(model: Any) -> Any:
    """Return a model, which is used up, with its adapter merged into its base and its head as it is saved."""
    head = plain_head(model)
    merged = model if plain_model(model) is model else model.merge_and_unload()
    for name, layer in head.items():
        setattr(merged, name, layer)
    # The layers hold it now: saving the merged model would fold it once more.
    vars(merged).pop(STATISTICS, None)
    return merged


def open_model(source: str | Path | Snapshot, *, base: str | Path | None = None, **options: Any) -> tuple[Any, Any]:
    """Return a fine-tuned checkpoint, or an adapter as a `peft.PeftModel`, in evaluation mode, and its preprocessor.

    Everything is read from one commit; an adapter's base from the commit that its adapter_config.json names, unless
    `base` is the folder or Hub id of another one. `options` are those of `open_snapshot`.

    Raises:
        InputError: It is neither, its base model is gone or another one, or its weights cannot be used.
    """
    snapshot = open_snapshot(source, inspect=_refuse_what_is_no_classifier, **options)
    if snapshot.is_adapter:
        own = {key: value for key, value in options.items() if key != "revision"}
        model = _open_adapter(snapshot, None if base is None else str(base), own)
    elif base is not None:
        raise InputError(f"model '{snapshot.name}' is a checkpoint, not an adapter; leave its base model out")
    else:
        model = _open_checkpoint(snapshot)
    normalize_each_clip(model)
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
            raise InputError(f"model '{snapshot.name}' is a {architecture}, not an audio classifier; {_FINE_TUNE}")
    labels_of(snapshot)


def _open_checkpoint(snapshot: Snapshot) -> Any:
    name = snapshot.name
    model, absent, resized = open_weights(snapshot)
    missing = sorted(key for key in absent if "masked_spec_embed" not in key)
    if missing and all(part_of(key, architecture_of(model.config)) == "head" for key in missing):
        raise InputError(f"model '{name}' is an encoder without a trained head (no {missing[0]}); {_FINE_TUNE}")
    if unfit := [*missing, *resized]:
        raise InputError(
            f"model '{name}': its weights do not fit its config.json: {unfit[0]} and {len(unfit) - 1} more are missing "
            "or have another shape; name another revision, or have it saved again"
        )
    return model


def _open_adapter(snapshot: Snapshot, given: str | None, options: Mapping[str, Any]) -> Any:
    name, config = snapshot.name, open_config(snapshot)
    settings = snapshot.read_json(ADAPTER_CONFIG)
    base = given or settings.get("base_model_name_or_path")
    if not base:
        raise InputError(f"adapter '{name}': adapter_config.json names no base model; name it with base")
    unfit = f"adapter '{name}' does not fit its base model '{base}'"
    revision = None if given or Path(base).is_dir() else settings.get("revision")
    digest = getattr(config, _DIGEST, None)
    if digest is not None:
        delattr(config, _DIGEST)
        if given is None and settings.get("revision") is None and not Path(base).is_dir():
            # Whatever is on the Hub under that name is another model.
            raise InputError(
                f"adapter '{name}' was trained on the local folder '{base}', and there is no such folder here; "
                "name it with base (--base-model)"
            )

    def same_architecture(origin: Snapshot) -> None:
        found = encoder_config(origin).model_type
        if found != config.model_type:
            raise InputError(f"'{base}': the adapter is made for {config.model_type}, and this is {found}")

    try:
        origin = open_snapshot(str(base), revision=revision, inspect=same_architecture, **options)
    except InputError as error:
        raise type(error)(f"adapter '{name}' needs its base {error}") from error
    try:
        model, head = open_classifier(origin, config, tuple(labels_of(snapshot)))
    except InputError as error:
        raise InputError(f"{unfit}: {error}") from error
    if digest is not None and base_digest(model) != digest:
        raise InputError(f"{unfit}: it was trained on other weights; name the base that it was trained on with base")
    return _wrapped(snapshot, model, head, unfit)


def _wrapped(snapshot: Snapshot, model: Any, head: Mapping[str, Any], unfit: str) -> Any:
    """Wrap a base in its adapter; every saved weight must find its place, and no weight of the head may be random."""
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
    plain = {key.removeprefix(_PREFIX).replace(".base_layer.", ".") for key in saved}
    for layer in HEAD:
        if f"{layer}.weight" not in plain and not (kept or (layer == "projector" and head["kept_labels"])):
            raise InputError(
                f"adapter '{snapshot.name}' holds no {layer}, and its base model has none for its labels: its scores "
                "would be random; save it with modules_to_save=['projector', 'classifier']"
            )
    with quiet_loading():
        try:
            adapted = PeftModel.from_pretrained(model, str(snapshot.folder))
        except Exception as error:
            raise InputError(f"{unfit}: {hub_reason(error)}") from error
        found = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
        differing = sorted((saved ^ found) - ({_LAYER_WEIGHTS} if hasattr(model, "layer_weights") else set()))
    if differing:
        raise InputError(f"{unfit}: {differing[0]} and {len(differing) - 1} more of their weights have no counterpart")
    check_values(f"adapter '{snapshot.name}'", adapted)
    return adapted.eval()
