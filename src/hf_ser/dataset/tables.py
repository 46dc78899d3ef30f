"""The columns of the published data set, and clips as Arrow tables."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pandas
import pyarrow

from hf_ser.dataset.votes import VOTE_COLUMNS, VOTE_LABELS
from hf_ser.labels import EMOTIONS

if TYPE_CHECKING:
    from datasets import Features

__all__ = ["feature_list", "features", "schema", "tables"]

# In Hz, on decoding: the rate of the encoders. The stored bytes keep their own rate.
_SAMPLING_RATE: Final = 16_000
_ROWS_OF_A_TABLE: Final = 100
_BYTES_OF_A_TABLE: Final = 1 << 26
_TYPES: Final[dict[str, pyarrow.DataType]] = {
    "audio": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}),
    "emotion": pyarrow.int64(),
    "corpus": pyarrow.string(),
    "speaker": pyarrow.string(),
    "sex": pyarrow.string(),
    "age": pyarrow.int32(),
    "sentence": pyarrow.string(),
    "intensity": pyarrow.string(),
    "duration": pyarrow.float64(),
    "sampling_rate": pyarrow.int32(),
    "clip_id": pyarrow.string(),
    "flags": pyarrow.list_(pyarrow.string()),
    "provenance": pyarrow.string(),
    **dict.fromkeys(VOTE_COLUMNS, pyarrow.struct(dict.fromkeys(VOTE_LABELS, pyarrow.int32()))),
}


def _value(arrow: pyarrow.DataType) -> dict[str, Any]:
    return {"dtype": "float64" if arrow == pyarrow.float64() else str(arrow), "_type": "Value"}


def _metadata() -> dict[str, Any]:
    """Return the columns as `datasets` describes them in a file, in terms that every release of it reads."""
    return {name: _value(arrow) for name, arrow in _TYPES.items()} | {
        "audio": {"sampling_rate": _SAMPLING_RATE, "_type": "Audio"},
        "emotion": {"names": list(EMOTIONS), "_type": "ClassLabel"},
        # `List` is unknown before `datasets` 4.0.
        "flags": {"feature": _value(pyarrow.string()), "_type": "Sequence"},
        **dict.fromkeys(VOTE_COLUMNS, dict.fromkeys(VOTE_LABELS, _value(pyarrow.int32()))),
    }


def features() -> "Features":
    """Return the columns of the data set."""
    from datasets import Features

    return Features.from_dict(_metadata())


def feature_list() -> list[dict[str, Any]]:
    """Return the columns as the `dataset_info` of a card lists them."""
    special: dict[str, dict[str, Any]] = {
        "audio": {"dtype": {"audio": {"sampling_rate": _SAMPLING_RATE}}},
        # The Hub's schema of cards requires the ids as text.
        "emotion": {"dtype": {"class_label": {"names": {str(k): name for k, name in enumerate(EMOTIONS)}}}},
        "flags": {"sequence": "string"},
    }
    for column in VOTE_COLUMNS:
        # A new list for each column: YAML would refer back to a shared one by an alias.
        special[column] = {"struct": [{"name": label, "dtype": "int32"} for label in VOTE_LABELS]}
    return [{"name": name, **special.get(name, {"dtype": _value(arrow)["dtype"]})} for name, arrow in _TYPES.items()]


def schema() -> pyarrow.Schema:
    """Return the Arrow schema of the files; `datasets` restores the columns from its metadata."""
    return pyarrow.schema(_TYPES, metadata={"huggingface": json.dumps({"info": {"features": _metadata()}})})


def tables(clips: pandas.DataFrame) -> Iterator[pyarrow.Table]:
    """Yield clips as tables of at most 100 rows and about 64 MiB, with the unchanged bytes of their files."""
    batch: list[dict[str, Any]] = []
    size = 0
    for clip in [*clips.to_dict("records"), None]:
        size += clip["size"] if clip else 0
        if batch and (clip is None or len(batch) == _ROWS_OF_A_TABLE or size > _BYTES_OF_A_TABLE):
            yield pyarrow.Table.from_pylist([_row(row) for row in batch], schema=schema())
            batch, size = [], clip["size"] if clip else 0
        batch += [clip] if clip else []


def _row(clip: dict[str, Any]) -> dict[str, Any]:
    content = clip["path"].read_bytes()
    if len(content) != clip["size"]:
        raise OSError(f"{clip['path']} changed while it was read")
    # Named after the clip: in the published folders of SAVEE, every speaker has a file a01.wav.
    audio = {"bytes": content, "path": f"{clip['clip_id']}{clip['path'].suffix.lower()}"}
    return clip | {"audio": audio, "emotion": EMOTIONS.index(clip["emotion"]), "flags": list(clip["flags"])}
