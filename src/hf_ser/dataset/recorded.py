"""The audio of a table in one form, whatever its column holds, and what the bytes say about it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hf_ser.dataset.hygiene import Finding
from hf_ser.dataset.tables import Table
from hf_ser.errors import InputError
from hf_ser.sound import read_file, sound_length
from hf_ser.text import printable

if TYPE_CHECKING:
    from datasets import Dataset

FACTS: Final = {"audio_sha256": "string", "duration": "float64", "sampling_rate": "int32"}
"""The columns that say what the bytes of a recording are, with their types."""

_PLAIN = {"large_string": "string", "string_view": "string", "large_binary": "binary", "binary_view": "binary"}
_BATCH = 64
_MOST_CHANNELS = 8


def with_audio(table: Table, column: str, subject: str) -> tuple[Dataset, list[str | None], dict[int, str]]:
    """Return rows with the one column `audio`, the name of each recording within the data, and rows that have none.

    The column may hold paths, bytes, what `datasets.Audio` holds or decodes to, or samples beside a sampling rate.
    """
    import pyarrow.compute as compute
    from datasets import Audio, Dataset, Features, Value

    rates = [it for it in ("sampling_rate", "sample_rate", "rate") if it in table.rows.column_names][:1]
    kind = table.rows.features[column]
    rows = table.rows.select_columns([column, *rates])
    rows = rows.cast_column(column, _plain(kind)) if _plain(kind) != kind else rows
    samples = "array" in kind if isinstance(kind, Mapping) else type(kind).__name__ in ("List", "LargeList", "Sequence")
    if samples or rows.features[column] == Value("binary"):
        form = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
        of_row = rows.column_names
        rows = rows.map(
            lambda row: {"audio": _encoded(row[column], row[rates[0]] if rates else None, subject)},
            features=form, remove_columns=of_row if "audio" not in of_row else [it for it in of_row if it != "audio"],
        )  # fmt: skip
    else:
        rows = rows.select_columns([column])
        rows = rows if column == "audio" else rows.rename_column(column, "audio")
    try:
        rows = rows.cast_column("audio", Audio(decode=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        ways = "give paths, Audio, bytes, or samples with their sampling_rate"
        raise InputError(f"{subject}: column '{column}' ({kind}) has the wrong type; {ways}") from error
    held: list[bool] = []
    paths: list[str | None] = []
    for batch in rows.with_format("arrow").iter(1000):
        held += compute.is_valid(compute.struct_field(batch["audio"], "bytes")).to_pylist()
        paths += compute.struct_field(batch["audio"], "path").to_pylist()
    if any(held):
        return rows, paths, {row: "has no audio" for row, one in enumerate(held) if not one}
    files = [table.resolve(path) if path and path.strip() else "has no value" for path in paths]
    # A reason in the place of a path.
    faults = {row: file for row, file in enumerate(files) if isinstance(file, str)}
    rows = Dataset.from_dict({"audio": ["" if isinstance(file, str) else str(file) for file in files]})
    names = [path if isinstance(file, str) else table.name_of(file) for path, file in zip(paths, files, strict=True)]
    return rows.cast_column("audio", Audio(decode=False)), names, faults


def _plain(feature: Any) -> Any:
    """Return a type without Arrow's large and view variants, which `Audio` cannot be cast from."""
    from datasets import Value

    if isinstance(feature, Mapping):
        return {name: _plain(inner) for name, inner in feature.items()}
    return Value(_PLAIN[feature.dtype]) if isinstance(feature, Value) and feature.dtype in _PLAIN else feature


def _encoded(audio: Any, rate: Any, subject: str) -> dict[str, Any]:
    """Return bytes as they are, and samples, or what `datasets` decodes audio to, as the bytes of a WAV file."""
    import soundfile

    if isinstance(audio, Mapping):
        audio, rate = audio["array"], audio.get("sampling_rate") or rate
    if audio is None or isinstance(audio, bytes):
        return {"bytes": audio, "path": None}
    samples = np.asarray(audio)
    if samples.ndim == 2 and len(samples) <= _MOST_CHANNELS:
        samples = samples.T
    if not rate or samples.ndim > 2:
        raise InputError(
            f"{subject}: the audio column holds samples without a sampling rate in hertz; add sampling_rate"
        )
    # Integers keep their scale: 16 bits, or 32.
    largest = np.abs(samples).max(initial=0) if samples.dtype.kind == "i" else 0
    kind, subtype = ("int16", "PCM_16") if largest < 32_768 else ("int32", "PCM_32")
    kind, subtype = ("float64", "DOUBLE") if samples.dtype.kind == "f" else (kind, subtype)
    file = io.BytesIO()
    soundfile.write(file, samples.astype(kind), int(rate), format="WAV", subtype=subtype)
    return {"bytes": file.getvalue(), "path": None}


def with_audio_facts(rows: Dataset) -> tuple[Dataset, list[Finding]]:
    """Return rows with `audio_sha256`, `duration` (seconds) and `sampling_rate` (hertz) of their bytes.

    Columns of these names may be wrong: the bytes decide. Rows whose audio cannot be read are left out, each with a
    finding.
    """
    from datasets import Value

    audio = rows.select_columns(["audio", "corpus", "clip_id", "row"])

    def facts(begin: int) -> list[tuple[str, float, int] | Finding]:
        batch = audio[begin : begin + _BATCH]
        return [_facts(*one) for one in zip(*(batch[name] for name in audio.column_names), strict=True)]

    with ThreadPoolExecutor() as pool:
        found = [one for batch in pool.map(facts, range(0, len(rows), _BATCH)) for one in batch]
    kept = [row for row, one in enumerate(found) if not isinstance(one, Finding)]
    rows = rows.select(kept)
    for place, (name, kind) in enumerate(FACTS.items() if kept else ()):
        rows = rows.add_column(name, [found[row][place] for row in kept], feature=Value(kind))
    return rows, [one for one in found if isinstance(one, Finding)]


def _facts(audio: Mapping[str, Any], corpus: str, clip_id: str, row: int) -> tuple[str, float, int] | Finding:
    name = printable(clip_id)
    try:
        content = audio["bytes"] if audio["bytes"] is not None else read_file(audio["path"], name)
        return hashlib.sha256(content).hexdigest(), *sound_length(content, name)
    except InputError as error:
        detail = f"row {row} of column 'audio' ({name!r}): {str(error).removeprefix(f'{name}: ')}"
        return Finding(corpus, name, None, "unreadable", detail)
