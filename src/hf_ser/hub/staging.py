"""The files of a model to push, put into a folder: our files only, no links, no local path."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hf_ser.errors import InputError
from hf_ser.files import entry, write_json, write_text
from hf_ser.hub.commits import CARD
from hf_ser.hub.facts import shareable_record, without_local_paths
from hf_ser.models.probe import PROBE

_WEIGHTS: Final = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
_ADAPTER: Final = ("adapter_config.json", "adapter_model.safetensors")
_SETTINGS: Final = ("config.json", "preprocessor_config.json")
EVAL_RESULTS: Final = ".eval_results/hf_ser.yaml"
_RECORDS: Final = ("run.json", "metrics.json", "predictions.csv", "report.md", "confusion.png")


def is_ours(path: str) -> bool:
    """Return whether a push of a model writes a file of this name; a push removes those that it does not write.

    Example:
        >>> is_ours("model-00002-of-00003.safetensors"), is_ours("training_args.bin"), is_ours("docs/config.json")
        (True, False, False)
    """
    return bool(_WEIGHTS.fullmatch(path)) or path in (*_ADAPTER, *_SETTINGS, *_RECORDS, EVAL_RESULTS)


@dataclass(frozen=True, slots=True)
class Staged:
    """A model ready to push."""

    folder: Path  # the files, without the card
    run: Mapping[str, Any]  # run.json, as far as it is known
    metrics: Mapping[str, Any] | None  # metrics.json
    logits: list[list[float]]  # of the trained model for the probe
    card: str | None = None  # the local card, which people may have edited

    def files(self) -> dict[str, Path]:
        """Return the files by their paths in the repository."""
        return {file.name: file for file in sorted(self.folder.iterdir()) if is_ours(file.name)}


def stage_folder(source: Path, folder: Path, *, merged: bool, base: tuple[str, str] | None) -> Staged:
    """Copy what is pushed of a run into an empty folder; `base` is the Hub id and commit to record as its base."""
    _check_run(source)
    run, metrics = _read(source / "run.json"), _read(source / "metrics.json")
    saved = entry(run, "model", "saved") or ("adapter" if (source / _ADAPTER[0]).is_file() else "checkpoint")
    if merged and saved != "adapter":
        raise InputError(f"'{source}' is a full checkpoint, there is no adapter to merge; leave out merged (--merged)")
    sharded = (source / "model.safetensors.index.json").is_file()
    _require(source, *(_ADAPTER if saved == "adapter" else () if sharded else ("model.safetensors",)))
    probe = run.get("probe") or {}
    if probe.get("clips") != PROBE:
        raise InputError(f"'{source}' has no logits to verify (an earlier hf_ser wrote it); fine-tune again")
    _copy(source, folder, _RECORDS)
    if merged:
        from hf_ser.models.checkpoint import merge, open_model, save_model

        opened, feature_extractor = open_model(source)
        save_model(merge(opened), folder, feature_extractor)
        saved = "merged"
    else:
        _copy_model(source, folder, saved)
    _shorten_paths(folder / "report.md", run)
    run = _finish(folder, run, saved, base)
    write_json(folder / "run.json", run)
    card = source / CARD
    own = card.read_text(encoding="utf-8") if card.is_file() and not card.is_symlink() else None
    return Staged(folder, run, metrics, probe["logits"], own)


def stage_model(source: Any, folder: Path, *, merged: bool, base: tuple[str, str] | None) -> Staged:
    """Save a loaded model, which is not changed, into an empty folder; see `stage_folder`."""
    from hf_ser.models.architectures import plain_model
    from hf_ser.models.checkpoint import merge, save_model
    from hf_ser.models.probe import probe_logits

    model, feature_extractor = source.model, source.feature_extractor
    plain = plain_model(model)
    if merged and plain is model:
        raise InputError("the model is not an adapter, there is nothing to merge; leave out merged")
    logits = probe_logits(model, feature_extractor)
    save_model(merge(copy.deepcopy(model)) if merged else model, folder, feature_extractor)
    run: dict[str, Any] = {
        "model": {"architecture": type(plain).__name__},
        "labels": [plain.config.id2label[index] for index in range(plain.config.num_labels)],
    }
    if plain is not model:
        settings = next(iter(model.peft_config.values()))
        if name := settings.base_model_name_or_path:
            run["model"] |= {"name": name, "local": Path(name).exists(), "revision": settings.revision}
    saved = "merged" if merged else "checkpoint" if plain is model else "adapter"
    return Staged(folder, _finish(folder, run, saved, base), None, logits)


def stage_checkpoint(source: Path, folder: Path, run: Mapping[str, Any], logits: list[list[float]]) -> Staged:
    """Copy what is pushed of a model that training saved: its weights and settings, nothing to resume from."""
    saved = "adapter" if (source / _ADAPTER[0]).is_file() else "checkpoint"
    _copy_model(source, folder, saved)
    return Staged(folder, _finish(folder, run, saved, None), None, logits)


def _check_run(source: Path) -> None:
    if not source.is_dir():
        raise InputError(f"'{source}' is not a folder; give the one that finetune wrote")
    if not (source / "run.json").is_file():
        if (source / "checkpoints").is_dir():
            raise InputError(f"'{source}' is not a finished run; resume it (--resume), then push it")
        raise InputError(f"'{source}' is not a finished run: it has no run.json; give the folder that finetune wrote")
    _require(source, *_SETTINGS, "metrics.json")


def _require(source: Path, *names: str) -> None:
    for name in names:
        if not (source / name).is_file():
            raise InputError(f"'{source}' is incomplete: it has no {name}; fine-tune again, or restore the file")


def _copy_model(source: Path, folder: Path, saved: str) -> None:
    weights = [file.name for file in source.iterdir() if _WEIGHTS.fullmatch(file.name)]
    _copy(source, folder, [*_SETTINGS, *(_ADAPTER if saved == "adapter" else weights)])


def _copy(source: Path, folder: Path, names: Iterable[str]) -> None:
    """Link hard or copy files; a symbolic link could add any private file of this machine."""
    # Hard links share their contents, so that every file here is only ever replaced as a whole.
    for name in names:
        file, place = source / name, folder / name
        if file.is_symlink():
            raise InputError(f"'{file}' is a link, and a push follows none; put the file itself there")
        if not file.is_file():
            continue
        try:
            place.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, place)


def _shorten_paths(report: Path, run: Mapping[str, Any]) -> None:
    """Reduce the paths of model and data set, which an earlier hf_ser wrote into its report, to their last parts."""
    if not report.is_file():
        return
    text = report.read_text(encoding="utf-8")
    for part in ("model", "dataset"):
        if name := entry(run, part, "name"):
            text = text.replace(str(name), without_local_paths(str(name)))
    write_text(report, text)


def _finish(folder: Path, run: Mapping[str, Any], saved: str, base: tuple[str, str] | None) -> dict[str, Any]:
    """Return the record with how the model is saved and where its base is; remove local paths from the settings."""
    model = {**(run.get("model") or {}), "saved": saved}
    if base is not None:
        model |= {"name": base[0], "local": False, "revision": base[1]}
    for name in (*_SETTINGS, *(_ADAPTER[:1] if saved == "adapter" else ())):
        settings = _read(folder / name)
        if name == _ADAPTER[0]:
            path = str(settings.get("base_model_name_or_path"))
            if base is not None:
                settings |= {"base_model_name_or_path": base[0], "revision": base[1]}
            elif model.get("local") or Path(path).exists():
                raise InputError(
                    f"the adapter's base model '{path}' is a local folder, so nobody else could load the adapter; "
                    "name the base on the Hub by base_model (--base-model USER/NAME), or push merged=True (--merged)"
                )
            settings["revision"] = settings.get("revision") or model.get("revision")
        write_json(folder / name, without_local_paths(settings))
    return shareable_record({**run, "model": model})


def _read(file: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        values = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}; fine-tune again, or restore the file") from error
    return values
