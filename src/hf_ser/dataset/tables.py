"""Clips as Arrow tables: the columns of the published data set, in terms that every `datasets` release reads."""

import array
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow
import pyarrow.json

from hf_ser.dataset.collection import CollectedClip
from hf_ser.dataset.votes import VOTE_LABELS
from hf_ser.labels import EMOTIONS

if TYPE_CHECKING:
    from datasets import Features

__all__ = ["SAMPLING_RATE", "feature_list", "features", "schema", "tables"]

SAMPLING_RATE: Final = 16_000
"""What `audio` is decoded to, in hz: the rate of the encoders. The stored bytes keep their own."""

_ROWS_OF_A_TABLE: Final = 100
_BYTES_OF_A_TABLE: Final = 1 << 26
_AUDIO_NAME: Final = "audio.path"
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
    """Yield clips as tables of at most 100 rows and about 64 MiB, with the bytes of their files as they are.

    Args:
        clips: The clips.
        reuse_memory: Read each table into the memory of the one before, which is no longer valid then. Fresh memory
            for each table takes as long as writing it does.

    Raises:
        OSError: A file is gone, or its size is not what it was when it was inspected.
    """
    layout = schema()
    scratch = _Scratch() if reuse_memory else None
    for rows in _portions(clips):
        described = _described(rows)
        names = described.column(_AUDIO_NAME).chunk(0)
        audio = pyarrow.StructArray.from_arrays([_contents(rows, scratch), names], ["bytes", "path"])
        yield pyarrow.Table.from_arrays([audio, *described.columns[1:]], schema=layout)


def _portions(clips: Sequence[CollectedClip]) -> Iterator[Sequence[CollectedClip]]:
    """Cut clips into the rows of a table each; a file above the limit has a table of its own."""
    begin, held = 0, 0
    for position, entry in enumerate(clips):
        held += entry.inspection.size
        if position > begin and (position - begin == _ROWS_OF_A_TABLE or held > _BYTES_OF_A_TABLE):
            yield clips[begin:position]
            begin, held = position, entry.inspection.size
    if begin < len(clips):
        yield clips[begin:]


def _described(rows: Sequence[CollectedClip]) -> pyarrow.Table:
    """Return all columns but the bytes of the files; the first is the names of the files.

    As JSON: Arrow reads it faster than Python lists, on which it would import pandas first.
    """
    columns = [pyarrow.field(_AUDIO_NAME, pyarrow.string()), *list(schema())[1:]]
    lines = "\n".join(json.dumps(_row(entry)) for entry in rows).encode()
    return pyarrow.json.read_json(
        pyarrow.BufferReader(lines),
        # One block, so that each column is one array.
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines)),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=pyarrow.schema(columns), unexpected_field_behavior="error"
        ),
    )


def _row(entry: CollectedClip) -> dict[str, Any]:
    clip, inspection, votes = entry.clip, entry.inspection, entry.votes
    return {
        # Named by the clip: in SAVEE's published folders every speaker has an a01.wav.
        _AUDIO_NAME: f"{clip.clip_id}{entry.path.suffix.lower()}",
        "emotion": EMOTIONS.index(entry.emotion),
        "corpus": clip.corpus,
        "speaker": clip.speaker,
        "sex": clip.sex,
        "age": clip.age,
        "sentence": clip.sentence,
        "intensity": clip.intensity,
        "duration": inspection.duration,
        "sampling_rate": inspection.sampling_rate,
        "clip_id": clip.clip_id,
        "flags": list(inspection.flags),
        "provenance": inspection.provenance,
        **{column: None if votes is None else getattr(votes, way) for column, way in _VOTE_COLUMNS.items()},
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


def _contents(rows: Sequence[CollectedClip], scratch: "_Scratch | None") -> pyarrow.Array:
    """Return the bytes of files as one array, read into its memory (or into `scratch`) without a copy between."""
    ends = list(itertools.accumulate((entry.inspection.size for entry in rows), initial=0))
    stored = pyarrow.allocate_buffer(ends[-1]) if scratch is None else scratch.buffer(ends[-1])
    view = memoryview(stored)
    for entry, begin, end in zip(rows, ends, ends[1:], strict=False):
        with io.FileIO(entry.path) as file:
            if os.fstat(file.fileno()).st_size != end - begin:
                raise OSError(f"{entry.path} changed while it was read")
            position = begin
            while position < end and (count := file.readinto(view[position:end])):
                position += count
        if position < end:
            raise OSError(f"{entry.path} changed while it was read")
    offsets = pyarrow.py_buffer(array.array("i", ends))
    return pyarrow.Array.from_buffers(pyarrow.binary(), len(rows), [None, offsets, stored])
