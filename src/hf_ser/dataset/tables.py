"""Clips as Arrow tables: the columns of the published data set, in terms that every `datasets` release reads."""

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow

from hf_ser.dataset.collection import CollectedClip
from hf_ser.dataset.votes import VOTE_LABELS
from hf_ser.labels import EMOTIONS

if TYPE_CHECKING:
    from datasets import Features

__all__ = ["SAMPLING_RATE", "feature_list", "features", "schema", "tables"]

SAMPLING_RATE: Final = 16_000
"""What `audio` is decoded to, in hz: the rate of the encoders. The stored bytes keep their own."""

ROWS_OF_A_TABLE: Final = 100
_VOTE_COLUMNS: Final = {"voice_votes": "voice", "face_votes": "face", "multimodal_votes": "multimodal"}

# The types in the words of `datasets`, whose import takes longer than building a corpus does.
_TYPES: Final[dict[str, str]] = {
    "audio": "audio",
    "emotion": "label",
    "corpus": "string",
    "speaker": "string",
    "sex": "string",
    "age": "int32",
    "sentence": "string",
    "intensity": "string",
    "duration": "float64",
    "sampling_rate": "int32",
    "clip_id": "string",
    "flags": "strings",
    "provenance": "string",
    **dict.fromkeys(_VOTE_COLUMNS, "votes"),
}


def features() -> "Features":
    """Return the columns of the data set.

    Example:
        >>> features()["emotion"].names[7], features()["audio"].sampling_rate
        ('surprise', 16000)
    """
    from datasets import Features

    return Features.from_dict(_description())


def _description() -> dict[str, Any]:
    """Return the columns as the metadata of a file describes them.

    Lists are called `Sequence`, which every release of `datasets` reads; `List` is unknown before 4.0.
    """

    def value(name: str) -> dict[str, Any]:
        return {"dtype": name, "_type": "Value"}

    special = {
        "audio": {"sampling_rate": SAMPLING_RATE, "_type": "Audio"},
        "label": {"names": list(EMOTIONS), "_type": "ClassLabel"},
        "strings": {"feature": value("string"), "_type": "Sequence"},
        "votes": {label: value("int32") for label in VOTE_LABELS},
    }
    return {name: special.get(kind) or value(kind) for name, kind in _TYPES.items()}


def feature_list() -> list[dict[str, Any]]:
    """Return the columns as the `dataset_info` of a card lists them.

    Example:
        >>> feature_list()[2]
        {'name': 'corpus', 'dtype': 'string'}
    """

    def special() -> dict[str, dict[str, Any]]:
        return {
            "audio": {"dtype": {"audio": {"sampling_rate": SAMPLING_RATE}}},
            # The card's schema wants the identifiers as text.
            "label": {"dtype": {"class_label": {"names": {str(k): name for k, name in enumerate(EMOTIONS)}}}},
            "strings": {"sequence": "string"},
            "votes": {"struct": [{"name": label, "dtype": "int32"} for label in VOTE_LABELS]},
        }

    return [{"name": name, **special().get(kind, {"dtype": kind})} for name, kind in _TYPES.items()]


def schema() -> pyarrow.Schema:
    """Return the Arrow schema of the data set's files, from which `datasets` restores the columns.

    Example:
        >>> schema().field("age").type
        DataType(int32)
    """
    types = {
        "audio": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}),
        "label": pyarrow.int64(),
        "strings": pyarrow.list_(pyarrow.string()),
        "votes": pyarrow.struct(dict.fromkeys(VOTE_LABELS, pyarrow.int32())),
        "string": pyarrow.string(),
        "int32": pyarrow.int32(),
        "float64": pyarrow.float64(),
    }
    metadata = {"huggingface": json.dumps({"info": {"features": _description()}})}
    return pyarrow.schema([(name, types[kind]) for name, kind in _TYPES.items()], metadata=metadata)


def tables(clips: Sequence[CollectedClip], *, reuse_memory: bool = False) -> Iterator[pyarrow.Table]:
    """Yield clips as tables of at most 100 rows, with the bytes of their files as they are.

    Args:
        clips: The clips.
        reuse_memory: Read each table into the memory of the one before, which is no longer valid then. Fresh memory
            for each table takes as long as writing it does.
    """
    layout = schema()
    scratch = _Scratch() if reuse_memory else None
    for begin in range(0, len(clips), ROWS_OF_A_TABLE):
        rows = clips[begin : begin + ROWS_OF_A_TABLE]
        columns = _columns(rows, scratch)
        yield pyarrow.Table.from_arrays(
            [columns["audio"], *(pyarrow.array(columns[field.name], field.type) for field in list(layout)[1:])],
            schema=layout,
        )


def _columns(rows: Sequence[CollectedClip], scratch: "_Scratch | None") -> dict[str, Any]:
    clips = [entry.clip for entry in rows]
    # Named by the clip: in SAVEE's published folders every speaker has an a01.wav.
    names = [f"{entry.clip.clip_id}{entry.path.suffix.lower()}" for entry in rows]
    contents = _contents([entry.path for entry in rows], scratch)
    return {
        "audio": pyarrow.StructArray.from_arrays([contents, pyarrow.array(names, pyarrow.string())], ["bytes", "path"]),
        "emotion": [EMOTIONS.index(entry.emotion) for entry in rows],
        **{
            name: [getattr(clip, name) for clip in clips]
            for name in ("corpus", "speaker", "sex", "age", "sentence", "intensity", "clip_id")
        },
        "duration": [entry.inspection.duration for entry in rows],
        "sampling_rate": [entry.inspection.sampling_rate for entry in rows],
        "flags": [list(entry.inspection.flags) for entry in rows],
        "provenance": [entry.inspection.provenance for entry in rows],
        **{column: [getattr(entry.votes, way, None) for entry in rows] for column, way in _VOTE_COLUMNS.items()},
    }


class _Scratch:
    """Memory that a table takes over from the one before."""

    def __init__(self) -> None:
        self._memory = pyarrow.allocate_buffer(0)

    def buffer(self, size: int) -> pyarrow.Buffer:
        """Return that many bytes or more."""
        if self._memory.size < size:
            self._memory = pyarrow.allocate_buffer(size)
        return self._memory


def _contents(paths: Sequence[Path], scratch: "_Scratch | None") -> pyarrow.Array:
    """Return the bytes of files as one array, read into its memory (or into `scratch`) without a copy between."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("rb", buffering=0)) for path in paths]
        ends = list(itertools.accumulate((os.fstat(file.fileno()).st_size for file in files), initial=0))
        stored = pyarrow.allocate_buffer(ends[-1]) if scratch is None else scratch.buffer(ends[-1])
        view = memoryview(stored)
        for file, begin, end in zip(files, ends, ends[1:], strict=False):
            position = begin
            while position < end and (count := file.readinto(view[position:end])):
                position += count
            if position < end:
                raise OSError(f"{file.name} became shorter while it was read")
    offsets = pyarrow.array(ends, pyarrow.int32()).buffers()[1]
    return pyarrow.Array.from_buffers(pyarrow.binary(), len(paths), [None, offsets, stored])
