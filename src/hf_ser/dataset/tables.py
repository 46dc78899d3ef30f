"""Tables and folders of one's own: which recordings they name, and the audio of these in one form."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import OTHER_RECORDINGS, visible_files
from hf_ser.dataset.hygiene import Finding
from hf_ser.errors import InputError
from hf_ser.sound import read_file, sound_length
from hf_ser.text import printable

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

TABLE_EXTENSIONS: Final = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"})
"""Extensions, in lower case, of the tables that are read."""

PART_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "holdout"),
}
"""What people call the parts of a data set; `eval` is the part that is not there otherwise."""

_RECORDINGS: Final = AUDIO_EXTENSIONS | OTHER_RECORDINGS
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the columns that they came with.

    Attributes:
        rows: A `datasets.Dataset`.
        root: The folder that relative paths start at; None for data in memory.
        top: The folder of the whole data set, by which files are named; by default `root`.
        closed: Whether only files inside `root` may be read, since the rows are somebody else's.
        lists_all: Whether every recording below `root` ought to be among the rows.
        unused: Files that are not among the rows, each with a reason (see `Finding`) and details.
    """

    rows: Dataset
    root: Path | None = None
    top: Path | None = None
    closed: bool = False
    lists_all: bool = False
    unused: tuple[tuple[str, str, str], ...] = ()

    def unlisted(self, names: Collection[str | None]) -> list[str]:
        """Return the recordings that ought to be among the rows, given the names of those that are."""
        files = visible_files(self.root) if self.lists_all and self.root is not None else ()
        return [it for file in files if file.suffix.lower() in _RECORDINGS and (it := self.name_of(file)) not in names]

    def name_of(self, file: Path) -> str:
        """Return a file's path within the data, else its last two parts, so that no report holds a private path."""
        top = self.top or self.root
        inside = file if top is None else file.relative_to(top) if file.is_relative_to(top) else Path(*file.parts[-2:])
        return inside.as_posix().encode("utf-8", "backslashreplace").decode()

    def resolve(self, value: str) -> Path | str:
        """Return the file that a row names, or why it cannot be used."""
        from datasets.config import HF_CACHE_HOME

        text, root = value.strip().strip("'\"").removeprefix("file://"), self.root or Path()
        if _URL.match(text):
            return "is a URL, which is not fetched; download it and give its path"
        try:
            path = root / text
            if "\\" in text and not path.exists():
                path = root / text.replace("\\", "/")
            # Files of a snapshot from the Hub are links into the cache.
            homes = (root, Path(HF_CACHE_HOME).expanduser()) if self.closed else ()
            inside = Path(os.path.normpath(path)).is_relative_to(root)
            if self.closed and not (inside and any(path.resolve().is_relative_to(it.resolve()) for it in homes)):
                return "lies outside the data set, which is not read"
            return path if path.is_file() else "is not a regular file" if path.exists() else "does not exist"
        except (OSError, RuntimeError, ValueError) as error:
            return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


def read_table(file: Path) -> Table:
    """Read a CSV, TSV, JSON-lines, JSON or Parquet file; texts stay as they are written.

    Delimiter (comma, semicolon, tab, bar) and encoding (UTF-8, UTF-16, Windows-1252) of text files are found.
    """
    import pandas
    from datasets import Audio, Dataset

    kind, closed = file.suffix.lower(), False
    try:
        if kind == ".parquet":
            rows = Dataset.from_parquet(str(file))
            # Rows that hold audio were written by a program, perhaps of somebody else, and name no file elsewhere.
            closed = any(isinstance(it, Audio | dict) for it in rows.features.values())
        elif kind in (".csv", ".tsv"):
            text = _text_of(file)
            first = next((line for line in text.splitlines() if line.strip()), "")
            mark = "\t" if kind == ".tsv" else max(",;\t|", key=lambda it: (first.count(it), it == ","))
            frame = pandas.read_csv(io.StringIO(text), sep=mark, dtype="str", skipinitialspace=True)
            rows = Dataset.from_pandas(frame, preserve_index=False)
        else:
            frame = pandas.read_json(file, lines=kind != ".json", dtype=False, encoding="utf-8-sig")
            # Numbers among texts, as in speakers 1, 2 and 2b.
            mixed = [
                it for it in frame if {*frame[it].map(type)} >= {str, int} or {*frame[it].map(type)} >= {str, float}
            ]
            frame[mixed] = frame[mixed].map(lambda it: None if it is None or it != it else str(it))
            rows = Dataset.from_pandas(frame, preserve_index=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        reason = printable((str(error).strip() or type(error).__name__).splitlines()[0][:200])
        raise InputError(f"table '{file}' cannot be read ({reason}); save it as CSV in UTF-8 and try again") from error
    if not len(rows):
        raise InputError(f"table '{file}' has no rows; it needs a line of column names and a line for each recording")
    return Table(rows, file.parent, closed=closed)


def _text_of(file: Path) -> str:
    content = file.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def read_metadata(top: Path) -> dict[str, Table]:
    """Read a folder with `metadata.csv` (or `.jsonl`, `.parquet`), as `AudioFolder` has it; empty if there is none.

    Each part may have a table of its own, such as `train/metadata.csv`.
    """
    for pattern in ("metadata.*", "*/metadata.*"):
        files = [file for file in sorted(top.glob(pattern)) if file.suffix.lower() in TABLE_EXTENSIONS]
        if len({file.parent for file in files}) < len(files):
            raise InputError(f"folder '{top}' has two tables, such as '{files[0].name}'; remove one of them")
        if files:
            names = [file.parent.name if len(files) > 1 else "train" for file in files]
            tables = (Table(read_table(file).rows, file.parent, top, lists_all=True) for file in files)
            return dict(zip(names, tables, strict=True))
    return {}


def read_labelled_folders(top: Path) -> Table | None:
    """Read recordings whose folder names their label (`angry/a.wav`, `train/angry/a.wav`); None if there are none."""
    from datasets import Dataset

    synonyms = {name for names in PART_SYNONYMS.values() for name in names} | {"eval", "evaluation"}
    rows, unused = [], []
    for path in visible_files(top):
        inside = path.relative_to(top)
        parts, folders = [it for it in inside.parts[:-1][:1] if it.lower() in synonyms], inside.parts[:-1]
        label = folders[len(parts) :][:1]
        if (shown := inside.as_posix().encode("utf-8", "backslashreplace").decode()) != inside.as_posix():
            unused.append((shown, "unreadable", "its name is not UTF-8; rename it"))
        elif path.suffix.lower() not in _RECORDINGS:
            unused.append((inside.as_posix(), "no_recording", "its extension is that of no recording"))
        elif not label:
            unused.append((inside.as_posix(), "no_label", "it lies in no folder that names a label"))
        else:
            # A deeper folder (a session, a speaker) says nothing about the label.
            rows.append({"path": inside.as_posix(), "label": label[0], "split": parts[0] if parts else None})
    table = Dataset.from_list(rows)
    split = [] if any(row["split"] for row in rows) or not rows else ["split"]
    return Table(table.remove_columns(split), top, unused=tuple(unused)) if rows else None


def part_named(value: str, others: Sequence[str], subject: str) -> str:
    """Return train, validation or test for what a data set calls a part, given the names of all its parts."""
    names = {synonym: part for part, synonyms in PART_SYNONYMS.items() for synonym in synonyms}
    # Where another part validates, `eval` is the test part.
    validated = any(names.get(str(other).lower()) == "validation" for other in others)
    names |= dict.fromkeys(("eval", "evaluation"), "test" if validated else "validation")
    if str(value).lower() not in names:
        known = ", ".join(f"{part} ({', '.join(others)})" for part, (_, *others) in PART_SYNONYMS.items())
        raise InputError(f"{subject} has an unknown part '{printable(str(value))}'; rename it to {known}, or remove it")
    return names[str(value).lower()]


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
        of_row, wide = rows.column_names, "int32" in str(kind)
        rows = rows.map(
            lambda row: {"audio": _encoded(row[column], row[rates[0]] if rates else None, wide, subject)},
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


def _encoded(audio: Any, rate: Any, wide: bool, subject: str) -> dict[str, Any]:
    """Return bytes as they are, and samples, or what `datasets` decodes audio to, as the bytes of a WAV file.

    Integers keep their scale of 16 bits, or of 32 if the column is `wide`.
    """
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
    kind, subtype = ("int32", "PCM_32") if wide else ("int16", "PCM_16")
    kind, subtype = ("float64", "DOUBLE") if samples.dtype.kind == "f" else (kind, subtype)
    if kind != "float64" and np.abs(samples).max(initial=0) > np.iinfo(kind).max + 1:
        raise InputError(f"{subject}: the audio column holds integers of more than 16 bits; give int32, or floats")
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


def audio_bytes(audio: Mapping[str, Any], name: str | None = None) -> bytes:
    """Return the bytes of what a column of `Audio(decode=False)` holds; `name` is what errors call it."""
    content: bytes = read_file(audio["path"], name) if audio["bytes"] is None else audio["bytes"]
    return content


def _facts(audio: Mapping[str, Any], corpus: str, clip_id: str, row: int) -> tuple[str, float, int] | Finding:
    name = printable(clip_id)
    try:
        content = audio_bytes(audio, name)
        return hashlib.sha256(content).hexdigest(), *sound_length(content, name)
    except InputError as error:
        detail = f"row {row} of column 'audio' ({name!r}): {str(error).removeprefix(f'{name}: ')}"
        return Finding(corpus, name, None, "unreadable", detail)


def warn_of_contradictions(table: Table, rows: Dataset, subject: str) -> None:
    """Say where a column is wrong about the audio; what it says is not used."""
    import pandas

    for column in {"duration", "sampling_rate"} & set(table.rows.column_names):
        stated = pandas.Series(table.rows[column][:], dtype=object)[rows["row"][:]]
        found = pandas.Series(rows[column][:], index=stated.index)
        agree = (pandas.to_numeric(stated, errors="coerce") - found).abs() <= 0.05 * found
        if len(wrong := stated.index[stated.notna() & ~agree]):
            what = f"row {wrong[0]} has {stated[wrong[0]]!r} where the audio has {found[wrong[0]]:g}"
            text = "%s: column '%s' is wrong in %d rows and not used: %s"
            logger.warning(text, subject, column, len(wrong), what)
