"""Clips as Arrow tables: the columns of the published data set, in terms that every `datasets` release reads."""

import json
from collections.abc import Iterator, Sequence
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


def features() -> "Features":
    """Return the columns of the data set.

    Example:
        >>> features()["emotion"].names[7], features()["audio"].sampling_rate
        ('surprise', 16000)
    """
    from datasets import Audio, ClassLabel, Features, Sequence, Value

    votes = {label: Value("int32") for label in VOTE_LABELS}
    return Features(
        {
            "audio": Audio(sampling_rate=SAMPLING_RATE),
            "emotion": ClassLabel(names=list(EMOTIONS)),
            "corpus": Value("string"),
            "speaker": Value("string"),
            "sex": Value("string"),
            "age": Value("int32"),
            "sentence": Value("string"),
            "intensity": Value("string"),
            "duration": Value("float64"),
            "sampling_rate": Value("int32"),
            "clip_id": Value("string"),
            "flags": Sequence(Value("string")),
            "provenance": Value("string"),
            **dict.fromkeys(_VOTE_COLUMNS, votes),
        }
    )


def feature_list() -> list[dict[str, Any]]:
    """Return the columns as the `dataset_info` of a card lists them.

    Example:
        >>> feature_list()[2]
        {'name': 'corpus', 'dtype': 'string'}
    """
    listed: list[dict[str, Any]] = _for_old_readers(features()._to_yaml_list(), "list", "sequence")
    return listed


def schema() -> pyarrow.Schema:
    """Return the Arrow schema of the data set's files, from which `datasets` restores the columns.

    Example:
        >>> schema().field("age").type
        DataType(int32)
    """
    described = _for_old_readers(features().to_dict(), "List", "Sequence")
    metadata = {"huggingface": json.dumps({"info": {"features": described}})}
    return features().arrow_schema.with_metadata(metadata)


def _for_old_readers(described: Any, new: str, old: str) -> Any:
    """Return a description of columns in which lists bear the name that `datasets` before 4.0 knows."""
    if isinstance(described, dict):
        return {
            (old if key == new else key): _for_old_readers(value, new, old)
            if key != "_type"
            else (old if value == new else value)
            for key, value in described.items()
        }
    return [_for_old_readers(entry, new, old) for entry in described] if isinstance(described, list) else described


def tables(clips: Sequence[CollectedClip]) -> Iterator[pyarrow.Table]:
    """Yield clips as tables of at most 100 rows, with the bytes of their files as they are."""
    layout = schema()
    for begin in range(0, len(clips), ROWS_OF_A_TABLE):
        yield pyarrow.Table.from_pylist(
            [_row(entry) for entry in clips[begin : begin + ROWS_OF_A_TABLE]], schema=layout
        )


def _row(entry: CollectedClip) -> dict[str, Any]:
    clip, inspection, votes = entry.clip, entry.inspection, entry.votes
    return {
        # Named by the clip: in SAVEE's published folders every speaker has an a01.wav.
        "audio": {"bytes": entry.path.read_bytes(), "path": f"{clip.clip_id}{entry.path.suffix.lower()}"},
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
        **{column: getattr(votes, way, None) for column, way in _VOTE_COLUMNS.items()},
    }
