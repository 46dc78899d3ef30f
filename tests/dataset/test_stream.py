"""A data set in Parquet opened by its columns alone, and its audio read by row groups."""

import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from hf_ser.dataset.source import PARTS, open_source
from hf_ser.dataset.stream import open_stream
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS


def clip(seed: int) -> bytes:
    file = io.BytesIO()
    samples = np.random.default_rng(seed).integers(-8000, 8000, 1600 + 10 * seed).astype(np.int16)
    soundfile.write(file, samples, 16_000, format="WAV")
    return file.getvalue()


def write(folder, per_part=8, row_group=3, without=(), **changes):
    """Write two files a part, four speakers each; every clip is noise of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, part in enumerate(PARTS):
        numbers = range(100 * place, 100 * place + per_part)
        columns = {
            "audio": pa.array([{"bytes": clip(k), "path": f"{k}.wav"} for k in numbers]),
            "emotion": [EMOTIONS[k % 8] for k in numbers],
            "speaker": [f"speaker_{k // 4}" for k in numbers],
            "clip_id": [f"clip/{k}" for k in numbers],
            "duration": [(1600 + 10 * k) / 16_000 for k in numbers],
            "flags": pa.array([["all_zeros"] if k == 3 else [] for k in numbers], pa.list_(pa.string())),
            **{name: make(numbers) for name, make in changes.items()},
        }
        table = pa.table({name: values for name, values in columns.items() if name not in without})
        half = per_part // 2
        pq.write_table(table[:half], folder / f"{part}-00000-of-00002.parquet", row_group_size=row_group)
        pq.write_table(table[half:], folder / f"{part}-00001-of-00002.parquet", row_group_size=row_group)
    return folder


def everything(source):
    """Return every clip's bytes by its identifier, read as training reads them."""
    found = {}
    for rows in source.parts.values():
        places = zip(rows["clip_id"], rows["file"], rows["row_group"], rows["row"], strict=True)
        for name, file, group, row in places:
            found[name] = source.audio.read(file, group, [row])[0]
    return found


def test_columns_parts_and_audio_are_those_of_the_data_set_that_is_loaded(tmp_path, caplog):
    folder = write(tmp_path / "data")
    streamed, loaded = open_stream(folder), open_source(folder)
    for part in PARTS:
        for column in ("clip_id", "emotion", "speaker", "corpus", "duration"):
            assert list(streamed.parts[part][column]) == list(loaded.parts[part][column]), (part, column)
    assert "audio" not in streamed.parts["train"].column_names
    assert (streamed.labels, streamed.protocol, streamed.name) == (loaded.labels, loaded.protocol, loaded.name)
    assert streamed.left_out == loaded.left_out == {"all_zeros": 1}
    assert "clip/3" not in streamed.parts["train"]["clip_id"]
    assert streamed.proof.speaker_disjoint
    assert all(overlap.identical_samples is None for overlap in streamed.proof.overlaps.values())
    bytes_of = everything(streamed)
    assert {name: hashlib.sha256(encoded).hexdigest() for name, encoded in bytes_of.items()} == {
        name: digest
        for rows in loaded.parts.values()
        for name, digest in zip(rows["clip_id"], rows["audio_sha256"], strict=True)
    }


def test_opening_reads_no_audio(tmp_path):
    """With every byte of audio gone bad, the columns are all there; the audio then is refused by its file's name."""
    folder = write(tmp_path / "data")
    fingerprint = open_stream(folder).fingerprint
    for file in folder.iterdir():
        content = bytearray(file.read_bytes())
        metadata = pq.ParquetFile(file).metadata
        for group in range(metadata.num_row_groups):
            column = metadata.row_group(group).column(0)
            assert column.path_in_schema == "audio.bytes"
            start = column.dictionary_page_offset or column.data_page_offset
            content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
        file.write_bytes(content)
    source = open_stream(folder)
    assert source.fingerprint == fingerprint
    assert source.proof.speaker_disjoint
    with pytest.raises(InputError, match=r"train-00000-of-00002\.parquet"):
        everything(source)


def test_a_built_data_set_follows_its_protocol(built):
    for protocol in ("fold_3", "leave_out_savee"):
        streamed, loaded = open_stream(built, protocol), open_source(built, protocol)
        assert streamed.protocol == loaded.protocol == protocol
        for part in PARTS:
            assert sorted(streamed.parts[part]["clip_id"]) == sorted(loaded.parts[part]["clip_id"])
            assert len(streamed.parts[part]) > 0
        assert streamed.proof.as_dict()["parts"] == loaded.proof.as_dict()["parts"]


def test_one_part_is_split_by_the_protocol(tmp_path):
    folder = write(tmp_path / "data", per_part=80)
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"clips-{number}.parquet")
    streamed, loaded = open_stream(folder), open_source(folder)
    assert streamed.protocol == "speaker_independent"
    for part in PARTS:
        assert sorted(streamed.parts[part]["clip_id"]) == sorted(loaded.parts[part]["clip_id"])
    assert len(everything(streamed)) == 3 * 80 - 1


def test_a_clip_without_a_name_is_called_by_its_file(tmp_path):
    source = open_stream(write(tmp_path / "data", without=("clip_id", "flags")))
    assert list(source.parts["train"]["clip_id"]) == [f"{k}.wav" for k in range(8)]


def test_what_cannot_be_streamed_is_refused_by_name(tmp_path, toy_dataset):
    with pytest.raises(InputError, match="in memory"):
        open_stream(toy_dataset)
    with pytest.raises(InputError, match="no such folder"):
        open_stream(tmp_path / "absent")
    (tmp_path / "corpora").mkdir()
    with pytest.raises(InputError, match="holds no Parquet file"):
        open_stream(tmp_path / "corpora")
    for column in ("audio", "emotion", "speaker", "duration"):
        with pytest.raises(InputError, match=f"no column '{column}'"):
            open_stream(write(tmp_path / f"no_{column}", without=(column,)))
    shared = write(tmp_path / "shared", speaker=lambda numbers: [f"speaker_{k % 4}" for k in numbers])
    with pytest.raises(InputError, match="share speakers"):
        open_stream(shared)
    assert not open_stream(shared, allow_speaker_overlap=True).proof.speaker_disjoint
    paths = write(
        tmp_path / "paths",
        audio=lambda numbers: pa.array(
            [{"bytes": None, "path": f"/gone/{k}.wav"} for k in numbers],
            pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        ),
    )
    with pytest.raises(InputError, match="names audio files instead of holding them"):
        everything(open_stream(paths))
    (paths / "train-00000-of-00002.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match=r"train-00000-of-00002\.parquet"):
        open_stream(paths)


@pytest.fixture
def toy_dataset():
    from datasets import Dataset

    return Dataset.from_dict({"emotion": ["sad"]})
