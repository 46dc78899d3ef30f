"""The columns of a data set under the names used here, checked row by row."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS, canonical_emotion

if TYPE_CHECKING:
    from datasets import Dataset

_LABEL_COLUMNS = ("emotion", "label", "labels")
_PLAIN = {"large_string": "string", "string_view": "string", "large_binary": "binary", "binary_view": "binary"}


def normalised(rows: Dataset, subject: str, corpus: str) -> Dataset:
    """Return rows with checked columns `audio`, `emotion`, `speaker` and `corpus` (as given, where there is none).

    Raises:
        InputError: A column is missing or of the wrong type, or a row lacks a value.
    """
    from datasets import Audio, Value

    names = ", ".join(rows.column_names)
    label = next((column for column in _LABEL_COLUMNS if column in rows.column_names), None)
    if "audio" not in rows.column_names:
        raise InputError(f"{subject} has no column 'audio'; its columns are {names}")
    if label is None:
        raise InputError(f"{subject} has no labels: no column 'emotion' or 'label' among {names}")
    if "speaker" not in rows.column_names:
        raise InputError(f"{subject} has no column 'speaker', which a split by speaker needs; add it")
    if label != "emotion":
        rows = rows.rename_column(label, "emotion")
    for name, feature in rows.features.items():
        if (plain := _plain(feature)) != feature:
            rows = rows.cast_column(name, plain)
    try:
        rows = rows.cast_column("audio", Audio(decode=False))
        if rows.features["speaker"] != Value("string"):
            rows = rows.cast_column("speaker", Value("string"))
    except (TypeError, ValueError, NotImplementedError) as error:
        kinds = f"'audio' ({rows.features['audio']}) or 'speaker' ({rows.features['speaker']})"
        raise InputError(f"{subject}: column {kinds} has the wrong type; give paths or Audio, and text") from error
    if "corpus" not in rows.column_names:
        rows = rows.add_column("corpus", [corpus] * len(rows))
    for column in ("speaker", "corpus", "clip_id"):
        if column in rows.column_names:
            _check(rows, column, lambda value: value is not None and str(value).strip() != "", subject)
    if "flags" in rows.column_names:
        _check(rows, "flags", lambda value: isinstance(value, list), subject, "is not a list of flags")
    return rows


def _plain(feature: Any) -> Any:
    """Return a type without Arrow's large and view variants, which `Audio` cannot be cast from."""
    from datasets import Value

    if isinstance(feature, Mapping):
        return {name: _plain(inner) for name, inner in feature.items()}
    return Value(_PLAIN[feature.dtype]) if isinstance(feature, Value) and feature.dtype in _PLAIN else feature


def _check(rows: Dataset, column: str, valid: Callable[[Any], bool], subject: str, fault: str = "has no value") -> None:
    row = next((row for row, value in enumerate(rows[column][:]) if not valid(value)), None)
    if row is not None:
        shown = "" if rows[row][column] is None else f" ({str(rows[row][column])[:40]!r})"
        raise InputError(f"{subject}: row {row} of column '{column}' {fault}{shown}; fill it in or remove the row")


def with_label_ids(parts: Mapping[str, Dataset]) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """Return the parts with identifiers in column `emotion`, and the labels without synonyms; keys name the parts.

    Raises:
        InputError: A row has no label, or the labels are numbers without names.
    """
    from datasets import ClassLabel

    known: dict[str, None] | None = {}
    named = {}
    for subject, rows in parts.items():
        names = getattr(rows.features["emotion"], "names", None)
        if names is None and any(isinstance(value, int | float) for value in rows.unique("emotion")):
            raise InputError(f"{subject}: its labels are numbers without names; cast the column to ClassLabel")
        _check(rows, "emotion", range(len(names)).__contains__ if names else _is_text, subject)
        named[subject] = [canonical_emotion(names[value] if names else value) for value in rows["emotion"][:]]
        known = None if known is None or names is None else known | dict.fromkeys(map(canonical_emotion, names))
    found = {name for values in named.values() for name in values}
    labels = tuple(known or (EMOTIONS if found <= set(EMOTIONS) else sorted(found)))
    coded = {}
    for subject, rows in parts.items():
        ids = [labels.index(name) for name in named[subject]]
        rows = rows.remove_columns("emotion")
        coded[subject] = rows.add_column("emotion", ids, feature=ClassLabel(names=list(labels)))
    return coded, labels


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def with_audio_facts(rows: Dataset, subject: str) -> Dataset:
    """Return rows with `audio_sha256` and `duration` (seconds) of their bytes, and `clip_id` where it was missing."""
    import soundfile

    audio = rows.select_columns(["audio"])

    def facts(row: int) -> tuple[str, str, float]:
        found = audio[row]["audio"] or {"bytes": None, "path": None}
        content, path = found["bytes"], found["path"]
        if content is None and not path:
            raise InputError(f"{subject}: row {row} of column 'audio' has no value; fill it in or remove the row")
        try:
            content = Path(path).read_bytes() if content is None else content
            seconds = float(soundfile.info(io.BytesIO(content)).duration)
            return path or str(row), hashlib.sha256(content).hexdigest(), seconds
        except (OSError, ValueError, soundfile.LibsndfileError) as error:
            reason = getattr(error, "strerror", None) or "not audio that soundfile reads"
            fault = f"row {row} of column 'audio' ('{path}') cannot be read ({reason})"
            raise InputError(f"{subject}: {fault}; download it again or remove the row") from error

    with ThreadPoolExecutor() as pool:
        paths, digests, seconds = zip(*pool.map(facts, range(len(rows))), strict=True)
    # Columns of these names may be wrong, or of another part: the bytes decide.
    rows = rows.remove_columns([name for name in ("duration", "audio_sha256") if name in rows.column_names])
    rows = rows if "clip_id" in rows.column_names else rows.add_column("clip_id", list(paths))
    return rows.add_column("duration", list(seconds)).add_column("audio_sha256", list(digests))
