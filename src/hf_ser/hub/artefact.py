"""What of a finished run, or of a loaded model, goes up: files of ours alone, without a path of this machine."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hf_ser.errors import InputError
from hf_ser.evaluation.report import render_report
from hf_ser.hub.card import render_model_card
from hf_ser.hub.card_merge import GENERATED_CARD
from hf_ser.hub.commits import CARD
from hf_ser.hub.facts import shareable_record, without_local_paths

__all__ = [
    "LAST_CHECKPOINT",
    "Artefact",
    "checkpoint_files",
    "is_ours",
    "is_replaced",
    "link_or_copy",
    "stage_folder",
    "stage_model",
]

logger = logging.getLogger(__name__)

EXACT: Final = 1e-6
"""Largest difference of logits after a push as the model is."""

MERGED: Final = 1e-5
"""The same after an adapter was merged: the sum of two weights is rounded."""

LAST_CHECKPOINT: Final = "last-checkpoint/"
"""Where a training that goes on keeps what it can be resumed from; a finished model leaves none of it."""

_WEIGHTS: Final = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
_ADAPTER: Final = ("adapter_config.json", "adapter_model.safetensors")
_SETTINGS: Final = ("config.json", "preprocessor_config.json")
_RECORDS: Final = ("run.json", "metrics.json", "predictions.csv", "report.md", "confusion.png")


def is_ours(path: str) -> bool:
    """Return whether a path of a repository is one that a push of a model writes.

    Example:
        >>> is_ours("model-00002-of-00003.safetensors"), is_ours("training_args.bin"), is_ours("docs/config.json")
        (True, False, False)
    """
    return bool(_WEIGHTS.fullmatch(path)) or path in (*_ADAPTER, *_SETTINGS, *_RECORDS)


def is_replaced(path: str) -> bool:
    """Return whether a push takes a path of a repository away that it does not write.

    A model of another kind would be loaded in the place of this one, and a checkpoint resumed that is not its own.

    Example:
        >>> is_replaced("adapter_model.safetensors"), is_replaced("last-checkpoint/trainer_state.json")
        (True, True)
    """
    return is_ours(path) or path.startswith(LAST_CHECKPOINT)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model as it is to be pushed.

    Attributes:
        folder: Holds the files to push, without the card.
        run: Contents of run.json, as far as they are known.
        metrics: Contents of metrics.json; None for a model without records.
        logits: The probe's, that the files must give.
        bound: The largest difference from them.
        card: The local card, which a human may have edited, and the same as it was generated.
    """

    folder: Path
    run: Mapping[str, Any]
    metrics: Mapping[str, Any] | None
    logits: list[list[float]]
    bound: float
    card: tuple[str | None, str | None] = (None, None)

    def files(self) -> dict[str, Path]:
        """Return the staged files by their paths in the repository."""
        return {file.name: file for file in sorted(self.folder.iterdir()) if is_ours(file.name)}


def stage_folder(source: Path, staged: Path, *, merged: bool, base: tuple[str, str] | None) -> Artefact:
    """Put what goes up of a folder that `finetune` wrote into another; the folder stays as it is.

    Args:
        source: The folder.
        staged: An empty folder.
        merged: Whether to merge the adapter into its base.
        base: Hub id and commit that stand for the base model.

    Raises:
        InputError: The folder is none of ours, or is not whole.
    """
    run, metrics = _records(source)
    model: dict[str, Any] = run.setdefault("model", {})
    saved = model.get("saved") or ("adapter" if (source / _ADAPTER[0]).is_file() else "checkpoint")
    _complete(source, saved)
    if merged and saved != "adapter":
        raise InputError(f"'{source}' holds a full checkpoint; there is nothing to merge: leave merged out (--merged)")
    logits = _recorded_logits(source, run)
    # Without the card as it was generated, what the same records give now tells a human's words best.
    card = (_text(source / CARD), _text(source / GENERATED_CARD) or render_model_card(run, metrics))
    for file in source.iterdir():
        own = file.name in _ADAPTER if saved == "adapter" else _WEIGHTS.fullmatch(file.name)
        if file.name in (*_SETTINGS, *_RECORDS):
            shutil.copyfile(file, staged / file.name)
        elif own and not merged:
            link_or_copy(file, staged / file.name)
    if merged:
        _merge(source, staged)
        saved = "merged"
    model["saved"] = saved
    if base is not None:
        model |= {"name": base[0], "local": False, "revision": base[1]}
    _name_base(staged, saved, model, base)
    run = shareable_record(run)
    _write(staged / "run.json", run)
    for name in _SETTINGS:
        _write(staged / name, without_local_paths(_read(staged / name)))
    (staged / "report.md").write_text(render_report(run, metrics), encoding="utf-8")
    return Artefact(staged, run, metrics, logits, MERGED if merged else EXACT, card)


def stage_model(source: Any, staged: Path, *, merged: bool, base: tuple[str, str] | None) -> Artefact:
    """Save a loaded model for a push; it stays as it is.

    Args:
        source: Holds a `model` and a `feature_extractor`.
        staged: An empty folder.
        merged: Whether to merge the adapter into its base.
        base: Hub id and commit that stand for the base model.

    Raises:
        InputError: The model is none of ours.
    """
    import copy

    from hf_ser.models.checkpoint import merge, save_model
    from hf_ser.models.head import plain_model
    from hf_ser.models.probe import probe_logits

    model, feature_extractor = source.model, source.feature_extractor
    adapter = plain_model(model) is not model
    if merged and not adapter:
        raise InputError("the model is no adapter; there is nothing to merge: leave merged out")
    logits = probe_logits(copy.deepcopy(model), feature_extractor)
    save_model(merge(copy.deepcopy(model)) if merged else model, staged, feature_extractor)
    config = plain_model(model).config
    run: dict[str, Any] = {
        "model": {
            "architecture": type(plain_model(model)).__name__,
            "saved": "merged" if merged else "adapter" if adapter else "checkpoint",
        },
        "labels": [config.id2label[index] for index in range(config.num_labels)],
    }
    if base is not None:
        run["model"] |= {"name": base[0], "local": False, "revision": base[1]}
    elif adapter:
        settings = next(iter(model.peft_config.values()))
        run["model"] |= _described_base(settings.base_model_name_or_path, settings.revision)
    _name_base(staged, run["model"]["saved"], run["model"], base)
    run = shareable_record(run)
    for name in _SETTINGS:
        _write(staged / name, without_local_paths(_read(staged / name)))
    return Artefact(staged, run, None, logits, MERGED if merged else EXACT)


def checkpoint_files(checkpoint: Path) -> dict[str, Path | bytes]:
    """Return what goes up of a checkpoint that training saved, by path in the repository."""
    files: dict[str, Path | bytes] = {}
    for file in sorted(checkpoint.iterdir()):
        if file.name in (*_SETTINGS, _ADAPTER[0]):
            files[file.name] = _as_json(without_local_paths(_read(file))).encode()
        elif is_ours(file.name) and file.name not in _RECORDS:
            files[file.name] = file
    return files


def link_or_copy(file: Path, place: Path) -> None:
    """Put a file that nobody writes to in another place, too: by a link, or copied to another file system."""
    try:
        place.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, place)


def _records(source: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not source.is_dir():
        raise InputError(f"'{source}' is no folder; give the one that finetune wrote")
    if not (source / "run.json").is_file():
        if (source / "checkpoints").is_dir():
            raise InputError(f"'{source}' holds an unfinished run; go on with it by resume (--resume), then push it")
        raise InputError(f"'{source}' is no finished run: it has no run.json; give the folder that finetune wrote")
    for name in (*_SETTINGS, "metrics.json"):
        if not (source / name).is_file():
            raise InputError(f"'{source}' is not whole: it has no {name}; fine-tune again, or restore the file")
    return _read(source / "run.json"), _read(source / "metrics.json")


def _complete(source: Path, saved: str) -> None:
    needed = _ADAPTER if saved == "adapter" else ("model.safetensors",)
    for name in needed:
        sharded = name == "model.safetensors" and (source / f"{name}.index.json").is_file()
        if not (source / name).is_file() and not sharded:
            raise InputError(f"'{source}' is not whole: it has no {name}; fine-tune again, or restore the file")


def _recorded_logits(source: Path, run: Mapping[str, Any]) -> list[list[float]]:
    from hf_ser.models.checkpoint import open_model
    from hf_ser.models.probe import PROBE, probe_logits

    probe = run.get("probe") or {}
    if probe.get("clips") == PROBE:
        logits: list[list[float]] = probe["logits"]
        return logits
    logger.warning(
        "the run in '%s' recorded no probe of its trained model (an earlier hf_ser wrote it): what is pushed is "
        "compared with the files as they load here",
        source,
    )
    return probe_logits(*open_model(source))


def _merge(source: Path, staged: Path) -> None:
    from hf_ser.models.checkpoint import merge, open_model, save_model

    model, feature_extractor = open_model(source)
    save_model(merge(model), staged, feature_extractor)


def _name_base(staged: Path, saved: str, model: Mapping[str, Any], base: tuple[str, str] | None) -> None:
    """Write into the adapter's settings where its base lies for everybody.

    Raises:
        InputError: It lies on this machine alone.
    """
    if saved != "adapter":
        return
    file = staged / _ADAPTER[0]
    settings = _read(file)
    if base is None and (model.get("local") or Path(str(settings.get("base_model_name_or_path"))).exists()):
        name = settings.get("base_model_name_or_path")
        raise InputError(
            f"the adapter's base model '{name}' is a folder of this machine: the adapter would load for nobody else; "
            "name where the base lies on the Hub by base_model (--base-model USER/NAME), or push merged=True (--merged)"
        )
    if base is not None:
        settings |= {"base_model_name_or_path": base[0], "revision": base[1]}
    settings["revision"] = settings.get("revision") or model.get("revision")
    _write(file, without_local_paths(settings))


def _described_base(name: str | None, revision: str | None) -> dict[str, Any]:
    return {} if not name else {"name": name, "local": Path(name).exists(), "revision": revision}


def _read(file: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}; fine-tune again, or restore the file") from error
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _write(file: Path, values: Any) -> None:
    # A linked file shares its content with the original.
    file.unlink(missing_ok=True)
    file.write_text(_as_json(values), encoding="utf-8")


def _as_json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None
