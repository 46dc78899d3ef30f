"""Tables and folders of one's own: which recordings they name, in the columns that they came with."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import OTHER_RECORDINGS, visible_files
from hf_ser.errors import InputError
from hf_ser.text import printable

if TYPE_CHECKING:
    import pandas
    from datasets import Dataset

TABLE_EXTENSIONS: Final = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"})
"""Extensions, in lower case, of the tables that are read."""

PART_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "holdout"),
}
"""What people call the parts of a data set; `eval` is the part that is not there otherwise."""

_ENCODINGS: Final = ("utf-8-sig", "utf-16", "cp1252")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the columns that they came with.

    Attributes:
        rows: A `datasets.Dataset`.
        root: The folder that relative paths start at; None for data in memory.
        closed: Whether only files inside `root` may be read, since the rows are somebody else's.
        unused: Files of the folder that are not among the rows, each with a reason (see `REASONS`) and details.
    """

    rows: Dataset
    root: Path | None = None
    closed: bool = False
    unused: tuple[tuple[str, str, str], ...] = ()


def read_table(file: Path) -> Table:
    """Read a CSV, TSV, JSON-lines, JSON or Parquet file; texts stay as they are written.

    Delimiter (comma, semicolon, tab, bar) and encoding (UTF-8, UTF-16, Windows-1252) of text files are found.
    """
    from datasets import Dataset

    kind = file.suffix.lower()
    try:
        if kind == ".parquet":
            return Table(Dataset.from_parquet(str(file)), file.parent)
        if kind in (".csv", ".tsv"):
            frame = _delimited(file)
        else:
            import pandas

            frame = pandas.read_json(file, lines=kind != ".json", dtype=False, encoding="utf-8-sig")
        rows = Dataset.from_pandas(frame, preserve_index=False)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError, csv.Error) as error:
        reason = printable((str(error).strip() or type(error).__name__).splitlines()[0][:200])
        raise InputError(f"table '{file}' cannot be read ({reason}); save it as CSV in UTF-8 and try again") from error
    if not len(rows):
        raise InputError(f"table '{file}' has no rows; it needs a line of column names and a line for each recording")
    return Table(rows, file.parent)


def _delimited(file: Path) -> pandas.DataFrame:
    import io

    import pandas

    content = file.read_bytes()
    # UTF-16 without its mark is not told from other encodings; all bytes are valid Windows-1252 here.
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in _ENCODINGS[1:2] if marked else _ENCODINGS[::2]:
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise InputError(f"table '{file}' is not text in UTF-8, UTF-16 or Windows-1252; save it as CSV in UTF-8")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = "\t" if file.suffix.lower() == ".tsv" else max(",;\t|", key=lambda it: (first.count(it), it == ","))
    return pandas.read_csv(
        io.StringIO(text), sep=delimiter, dtype="str", skipinitialspace=True, encoding="utf-8", on_bad_lines="error"
    )


def read_metadata(top: Path) -> Table | None:
    """Read a folder with `metadata.csv` (or `.jsonl`, `.parquet`), as `AudioFolder` has it; None if there is none.

    Each part may have a table of its own, such as `train/metadata.csv`.
    """
    from datasets import Dataset

    found = sorted(file for pattern in ("metadata.*", "*/metadata.*") for file in top.glob(pattern))
    found = [file for file in found if file.suffix.lower() in TABLE_EXTENSIONS and not file.parent.name.startswith(".")]
    tables = [file for file in found if file.parent == top] or found
    if not tables:
        return None
    if len(tables) > 1 and len({file.parent for file in tables}) < len(tables):
        raise InputError(
            f"folder '{top}' has two tables, '{tables[0].name}' and '{tables[1].name}'; remove one of them"
        )
    frames = [(file, read_table(file)) for file in tables]
    if len(frames) == 1:
        file, table = frames[0]
        rows = table.rows
    else:
        import pandas

        parts = []
        for file, table in frames:
            frame = table.rows.to_pandas()
            name = next((it for it in _FILE_COLUMNS if it in frame.columns), None)
            if name is None:
                raise InputError(f"table '{file}' names no files: it has no column {', '.join(_FILE_COLUMNS)}")
            frame[name] = [None if value is None else f"{file.parent.name}/{value}" for value in frame[name]]
            parts.append(frame if "split" in frame.columns else frame.assign(split=file.parent.name))
        rows = Dataset.from_pandas(pandas.concat(parts, ignore_index=True), preserve_index=False)
    table = Table(rows, top)
    return Table(rows, top, unused=_unnamed(table, top))


_FILE_COLUMNS: Final = ("file_name", "file", "path", "audio", "filename")


def _unnamed(table: Table, top: Path) -> tuple[tuple[str, str, str], ...]:
    """Return the recordings in the folder that the table does not name."""
    column = next((it for it in _FILE_COLUMNS if it in table.rows.column_names), None)
    if column is None or not isinstance(table.rows[0][column], str):
        return ()
    named = {str(value).replace("\\", "/").removeprefix("./") for value in table.rows[column][:]}
    extensions = AUDIO_EXTENSIONS | OTHER_RECORDINGS
    files = (path for path in visible_files(top) if path.suffix.lower() in extensions)
    paths = (path.relative_to(top).as_posix() for path in files)
    return tuple((path, "not_listed", "no row of the metadata names it") for path in paths if path not in named)


def read_labelled_folders(top: Path) -> Table | None:
    """Read recordings whose folder names their label (`angry/a.wav`, `train/angry/a.wav`); None if there are none."""
    from datasets import Dataset

    synonyms = {name for names in PART_SYNONYMS.values() for name in names} | {"eval", "evaluation"}
    extensions = AUDIO_EXTENSIONS | OTHER_RECORDINGS
    rows: dict[str, list[str | None]] = {"path": [], "label": [], "split": []}
    unused = []
    for path in visible_files(top):
        inside = path.relative_to(top)
        if path.suffix.lower() not in extensions:
            detail = f"{path.suffix or 'a file without extension'} is no recording"
            unused.append((inside.as_posix(), "no_recording", detail))
            continue
        folders = list(inside.parts[:-1])
        part = folders.pop(0) if folders and folders[0].lower() in synonyms else None
        if not folders:
            unused.append((inside.as_posix(), "no_label", "it lies in no folder that names a label"))
            continue
        # A deeper folder (a session, a speaker) says nothing about the label.
        for column, value in (("path", inside.as_posix()), ("label", folders[0]), ("split", part)):
            rows[column].append(value)
    if not rows["path"]:
        return None
    if not any(rows["split"]):
        del rows["split"]
    return Table(Dataset.from_dict(rows), top, unused=tuple(unused))


def resolve(value: str, table: Table) -> Path | str:
    """Return the file that a row names, or why it cannot be used."""
    text = value.strip().strip("'\"").removeprefix("file://")
    if _URL.match(text):
        return "is a URL, which is not fetched; download it and give its path"
    if not text or "\0" in text:
        return "is no path"
    root = table.root or Path()
    path = root / text
    try:
        if "\\" in text and not path.exists():
            path = root / text.replace("\\", "/")
        if table.closed and not path.resolve().is_relative_to(root.resolve()):
            return "lies outside the data set, which is not read"
        if path.is_file():
            return path
        return "is not a regular file" if path.exists() else "does not exist"
    except (OSError, RuntimeError) as error:
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


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
