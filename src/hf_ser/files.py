"""Files that are written whole or not at all, and where kept data lies."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_ser.errors import InputError


def write_text(file: Path, text: str) -> None:
    """Write a text file atomically: a reader sees the old file or the new one, and no partial file is left."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"'{file}' cannot be written: {error.strerror}; free the disk or choose a folder") from error


def write_json(file: Path, values: Any) -> None:
    """Write JSON atomically, indented; NaN is refused, since JSON has none."""
    write_text(file, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def entry(values: Any, *path: str) -> Any:
    """Return the value at a path of nested mappings, as JSON has them, or None where there is none."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def cache_folder() -> Path | None:
    """Return where decoded audio and frozen states are kept; None where nothing is kept between runs.

    `HF_SER_CACHE` names the folder, or is `off`; without it, it is `hf_ser` in the Hugging Face home (`HF_HOME`).
    Deleting the folder is always safe.
    """
    setting = os.environ.get("HF_SER_CACHE")
    if setting == "off":
        return None
    if setting:
        return Path(setting)
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "hf_ser"


def new_folder(folder: str | Path) -> Path:
    """Create a folder where there is none, and return its path."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder '{folder}' cannot be created ({error.strerror}); choose another one") from error
    return Path(folder)
