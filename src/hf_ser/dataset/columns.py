"""The columns of a data set under the names used here, checked row by row."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS, canonical_emotion

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["labels_of", "normalised", "with_audio_facts", "with_label_ids"]

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
        rows = rows.cast_column("audio", Audio(decode=False)).cast_column("speaker", Value("string"))
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


def labels_of(parts: Mapping[str, Dataset]) -> tuple[str, ...]:
    """Return the labels without synonyms, in the order of their ids, given the parts by what messages call them.

    Raises:
        InputError: A row has no label, or the labels are numbers without names.
    """
    from datasets import ClassLabel

    features = [rows.features["emotion"] for rows in parts.values()]
    if all(isinstance(feature, ClassLabel) for feature in features):
        for (subject, rows), feature in zip(parts.items(), features, strict=True):
            _check(rows, "emotion", range(len(feature.names)).__contains__, subject)
        return tuple(dict.fromkeys(canonical_emotion(name) for feature in features for name in feature.names))
    for subject, rows in parts.items():
        if any(isinstance(value, int | float) for value in rows.unique("emotion")):
            raise InputError(f"{subject}: its labels are numbers without names; cast the column to ClassLabel")
        _check(rows, "emotion", lambda value: isinstance(value, str) and value.strip() != "", subject)
    names = {canonical_emotion(value) for rows in parts.values() for value in rows.unique("emotion")}
    return EMOTIONS if names <= set(EMOTIONS) else tuple(sorted(names))


def with_label_ids(rows: Dataset, labels: Sequence[str]) -> Dataset:
    """Return rows whose column `emotion` contains identifiers of these labels."""
    from datasets import ClassLabel

    feature = rows.features["emotion"]
    names = [canonical_emotion(name) for name in feature.names] if isinstance(feature, ClassLabel) else None
    if names == list(labels):
        return rows
    ids = [labels.index(names[value] if names else canonical_emotion(value)) for value in rows["emotion"][:]]
    return rows.remove_columns("emotion").add_column("emotion", ids).cast_column("emotion", ClassLabel(names=labels))


def with_audio_facts(rows: Dataset, subject: str) -> Dataset:
    """Return rows with the digests and lengths of their audio, and with `clip_id` where it was missing.

    Columns `audio_sha256` and `duration` (seconds) that are there already may be wrong: the bytes decide.

    Raises:
        InputError: A row has no audio, or its file cannot be read.
    """
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
            unknown = "not audio that soundfile reads" if isinstance(error, soundfile.LibsndfileError) else str(error)
            fault = (
                f"row {row} of column 'audio' ('{path}') cannot be read ({getattr(error, 'strerror', '') or unknown})"
            )
            raise InputError(f"{subject}: {fault}; download it again or remove the row") from error

    with ThreadPoolExecutor() as pool:
        paths, digests, seconds = zip(*pool.map(facts, range(len(rows))), strict=True)
    for name, values in (("clip_id", paths), ("duration", seconds), ("audio_sha256", digests)):
        if name != "clip_id" and name in rows.column_names:
            rows = rows.remove_columns(name)
        if name not in rows.column_names:
            rows = rows.add_column(name, list(values))
    return rows
