"""Segments: decoded once, whatever reads them; their lengths come from the audio."""

import hashlib
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from hf_ser.audio import clips
from hf_ser.audio.augment import Augmentation, augment
from hf_ser.audio.clips import Segments
from hf_ser.audio.decode import decode
from hf_ser.errors import InputError

RATE = 16_000
LENGTHS = (24_000, 5_000, 16_000, 40_000)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_SER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def encoded(length, seed):
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).normal(0, 0.1, length), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def rows(lengths=LENGTHS, **columns):
    from datasets import Audio, Dataset

    files = [encoded(length, seed) for seed, length in enumerate(lengths)]
    table = {
        "audio": [{"bytes": file, "path": None} for file in files],
        "audio_sha256": [hashlib.sha256(file).hexdigest() for file in files],
        "clip_id": [f"toy/{number}" for number in range(len(files))],
        "emotion": list(range(len(files))),
        **columns,
    }
    return Dataset.from_dict(table).cast_column("audio", Audio(decode=False))


def segments(data=None, **options):
    options = {"sampling_rate": RATE, "segment_seconds": 1.5, **options}
    return Segments(rows() if data is None else data, **options)


def decoded_by(monkeypatch):
    calls = []
    monkeypatch.setattr(clips, "decode", lambda *a, name, **b: calls.append(name) or decode(*a, name=name, **b))
    return calls


@pytest.mark.parametrize("kept", [True, False])
def test_segments_come_in_the_order_of_the_rows(kept, monkeypatch):
    if not kept:
        monkeypatch.setenv("HF_SER_CACHE", "off")
    data = rows(duration=[0.001, None, 3e9, -1.0])
    found = segments(data)
    assert found.lengths == [24_000, 5_000, 16_000, 24_000, 24_000]
    assert found.clip_index.tolist() == [0, 1, 2, 3, 3]
    assert found.labels.tolist() == [0, 1, 2, 3, 3]
    bounds = [(0, 24_000), (0, 5_000), (0, 16_000), (0, 24_000), (16_000, 40_000)]
    sha256 = data["audio_sha256"]
    for item, (start, stop) in enumerate(bounds):
        row = int(found.clip_index[item])
        assert found.keys[item] == f"{sha256[row]}:{start}:{stop}"
        samples = decode(data[row]["audio"])[start:stop]
        assert np.array_equal(found[item]["samples"], samples)
        assert found[item]["labels"] == row
        assert not found[item]["training"]
    assert len(found) == 5


def test_a_clip_is_decoded_once_for_all_runs(monkeypatch, tmp_path):
    calls = decoded_by(monkeypatch)
    first = segments()
    assert sorted(calls) == [f"toy/{clip}" for clip in range(4)]
    # The same clips in a data set on disk, in other segments.
    rows().save_to_disk(str(tmp_path / "data"))
    from datasets import load_from_disk

    again = segments(load_from_disk(str(tmp_path / "data")), segment_seconds=9.0)
    assert np.array_equal(again[3]["samples"][:24_000], first[3]["samples"])
    assert len(calls) == 4
    assert np.array_equal(pickle.loads(pickle.dumps(first))[1]["samples"], first[1]["samples"])
    segments(sampling_rate=8_000)
    segments(rows((100, 200)))
    assert len(calls) == 10


@pytest.mark.parametrize("harm", ["gone", "flipped", "cut", "emptied", "text"])
def test_a_kept_file_that_is_gone_or_damaged_is_made_again(harm, cache, monkeypatch, caplog):
    expected = [item["samples"].copy() for item in segments()]
    (file,) = cache.rglob("*.arrow")
    content = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    elif harm == "flipped":
        for place in range(1000, len(content) - 2000, len(content) // 7):
            content[place] ^= 64
        file.write_bytes(content)
    else:
        file.write_bytes({"cut": content[: len(content) // 2], "emptied": b"", "text": b"Hello" * 100}[harm])
    calls = decoded_by(monkeypatch)
    found = segments()
    assert len(calls) == 4
    assert ("is damaged and is computed again" in caplog.text) == (harm != "gone")
    assert all(np.array_equal(item["samples"], samples) for item, samples in zip(found, expected, strict=True))
    segments()
    assert len(calls) == 4


def test_two_runs_at_once_leave_one_whole_file(cache):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [item["samples"] for item in segments()], range(4)))
    for samples in found[1:]:
        assert all(np.array_equal(one, other) for one, other in zip(samples, found[0], strict=True))
    assert len([file for file in cache.rglob("*") if file.is_file()]) == 1


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_SER_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cache folder '.*file' cannot be written \(.*\); free the disk"):
        segments()


def test_a_clip_that_cannot_be_decoded_is_named():
    with pytest.raises(InputError, match="toy/2: the file is empty"):
        segments(rows(audio=[{"bytes": encoded(99, 0) if clip != 2 else b"", "path": None} for clip in range(4)]))


def test_augmentation_belongs_to_an_epoch():
    augmentation = Augmentation(noise_probability=1.0, views=2)
    found = segments(augmentation=augmentation, seed=5)
    plain, item = found[4], found[1, 4]
    assert item["training"]
    expected = augment(plain["samples"], RATE, augmentation, 5, 1, clip_id="toy/3:16000")
    assert np.array_equal(item["samples"], expected)
    assert np.array_equal(found[3, 4]["samples"], expected)
    keys = [found.epoch_key(epoch) for epoch in (None, 0, 1, 2)]
    assert keys[1] == keys[3]
    assert len(set(keys)) == 3
    assert segments(augmentation=augmentation, seed=6).epoch_key(0) != keys[1]
    assert segments().epoch_key(0) == ""


def test_no_rows_are_no_segments():
    assert len(segments(rows(()))) == 0
