"""Tables and folders of one's own: which recordings they name, in the columns that they came with."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import OTHER_RECORDINGS, visible_files
from hf_ser.errors import InputError
from hf_ser.text import printable

if TYPE_CHECKING:
    from datasets import Dataset

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
        unused: Files that are not among the rows, each with a reason (see `REASONS`) and details.
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
        text, root = value.strip().strip("'\"").removeprefix("file://"), self.root or Path()
        if _URL.match(text):
            return "is a URL, which is not fetched; download it and give its path"
        try:
            path = root / text
            if "\\" in text and not path.exists():
                path = root / text.replace("\\", "/")
            if self.closed and not path.resolve().is_relative_to(root.resolve()):
                return "lies outside the data set, which is not read"
            return path if path.is_file() else "is not a regular file" if path.exists() else "does not exist"
        except (OSError, RuntimeError, ValueError) as error:
            return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


def read_table(file: Path) -> Table:
    """Read a CSV, TSV, JSON-lines, JSON or Parquet file; texts stay as they are written.

    Delimiter (comma, semicolon, tab, bar) and encoding (UTF-8, UTF-16, Windows-1252) of text files are found.
    """
    import pandas
    from datasets import Dataset

    kind = file.suffix.lower()
    try:
        if kind == ".parquet":
            rows = Dataset.from_parquet(str(file))
        elif kind in (".csv", ".tsv"):
            text = _text_of(file)
            first = next((line for line in text.splitlines() if line.strip()), "")
            mark = "\t" if kind == ".tsv" else max(",;\t|", key=lambda it: (first.count(it), it == ","))
            frame = pandas.read_csv(io.StringIO(text), sep=mark, dtype="str", skipinitialspace=True)
            rows = Dataset.from_pandas(frame, preserve_index=False)
        else:
            frame = pandas.read_json(file, lines=kind != ".json", dtype=False, encoding="utf-8-sig")
            rows = Dataset.from_pandas(frame, preserve_index=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        reason = printable((str(error).strip() or type(error).__name__).splitlines()[0][:200])
        raise InputError(f"table '{file}' cannot be read ({reason}); save it as CSV in UTF-8 and try again") from error
    if not len(rows):
        raise InputError(f"table '{file}' has no rows; it needs a line of column names and a line for each recording")
    return Table(rows, file.parent)


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
        if path.suffix.lower() not in _RECORDINGS:
            unused.append((inside.as_posix(), "no_recording", "its extension is that of no recording"))
        elif not label:
            unused.append((inside.as_posix(), "no_label", "it lies in no folder that names a label"))
        else:
            # A deeper folder (a session, a speaker) says nothing about the label.
            rows.append({"path": inside.as_posix(), "label": label[0], "split": parts[0] if parts else None})
    return Table(Dataset.from_list(rows), top, unused=tuple(unused)) if rows else None


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
