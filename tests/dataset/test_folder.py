"""A folder of corpora as a data set, and one clear line for everything that can be wrong with it."""

import csv
import gzip
import hashlib
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile

from hf_ser.dataset.collection import collect, read_folder
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:6d369d9d261a003f018fbdeaadf0d9c1de15fb517e3cf6cebdb685c7ba0ef77b\n"
    "size 87598\n"
)
COLUMNS = ["audio", "emotion", "corpus", "speaker", "sex", "age", "sentence", "intensity", "clip_id", "duration",
           "sampling_rate", "audio_sha256"]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """A folder with one clip of each corpus, of differing lengths, rates and formats."""
    clips = {
        "RAVDESS/Actor_09/03-01-05-02-02-01-09.wav": (48_000, 72_000),
        "AudioWAV/1040_ITH_SAD_X.flac": (16_000, 16_000),
        "tess/OAF_Fear/OAF_food_fear.wav": (24_414, 36_621),
        "SAVEE/AudioData/DC/su03.ogg": (44_100, 88_200),
    }
    for name, (sampling_rate, samples) in clips.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.sin(np.arange(samples) / 9) / 4, sampling_rate)
    return tmp_path


def spoil(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def message(root) -> str:
    with pytest.raises(InputError) as caught:
        read_folder(root)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


def test_columns(root):
    dataset = read_folder(root)
    assert dataset.column_names == COLUMNS
    assert dataset.features["audio"] == datasets.Audio(decode=False)
    assert dataset.features["emotion"] == datasets.ClassLabel(names=list(EMOTIONS))
    assert dataset["clip_id"][:] == [
        "crema_d/1040_ITH_SAD_XX",
        "ravdess/03-01-05-02-02-01-09",
        "savee/DC_su03",
        "tess/OAF_food_fear",
    ]
    assert dataset[0] == {
        "audio": {"bytes": None, "path": str(root / "AudioWAV/1040_ITH_SAD_X.flac")},
        "emotion": EMOTIONS.index("sad"),
        "corpus": "crema_d",
        "speaker": "crema_d_1040",
        "sex": "male",
        "age": 42,
        "sentence": "ITH",
        "intensity": "unspecified",
        "clip_id": "crema_d/1040_ITH_SAD_XX",
        "duration": 1.0,
        "sampling_rate": 16_000,
        "audio_sha256": hashlib.sha256((root / "AudioWAV/1040_ITH_SAD_X.flac").read_bytes()).hexdigest(),
    }
    assert dataset["age"][:] == [42, None, None, 64]
    assert dataset["duration"][:] == [1.0, 1.5, 2.0, 1.5]
    assert dataset["sampling_rate"][:] == [16_000, 48_000, 44_100, 24_414]


def test_no_torchcodec_is_needed(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setattr(datasets.config, "TORCHCODEC_AVAILABLE", False)
    assert read_folder(root)[3]["audio"]["path"].endswith("OAF_food_fear.wav")


def test_what_is_left_out_is_logged(root, caplog):
    copy = root / "tess/copy/OAF_Fear/OAF_food_fear.wav"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((root / "tess/OAF_Fear/OAF_food_fear.wav").read_bytes())
    spoil(root, "Actor_01/03-02-05-01-01-01-01.wav", b"song")
    spoil(root, "me.wav", b"")
    assert len(read_folder(root)) == 4
    assert caplog.messages == [
        f"1 further copies of clips were left out, such as {copy} (a second copy of tess/OAF_food_fear (the same "
        "bytes); kept: tess/OAF_Fear/OAF_food_fear.wav)",
        f"2 other files were left out, such as {root}/Actor_01/03-02-05-01-01-01-01.wav (RAVDESS song (vocal channel "
        "02), not speech)",
    ]


def test_folder_without_clips(tmp_path):
    spoil(tmp_path, "interview.wav", b"")
    assert message(tmp_path) == (
        f"folder {tmp_path} holds no clip of ravdess, crema_d, tess, savee, emo_db (1 files ignored, such as "
        "interview.wav: the name is not that of a clip of a known corpus); recordings of your own need a table, a "
        "metadata.csv or a folder for each label, and known corpora their published names, such as "
        "03-01-05-01-02-01-09.wav (ravdess), 1001_DFA_ANG_XX.wav (crema_d), OAF_back_angry.wav (tess), DC_a01.wav or "
        "DC/a01.wav (savee), 03a01Fa.wav (emo_db)"
    )


@pytest.mark.parametrize("pointers", ["AudioMP3", "AudioWAV", None])
def test_of_copies_of_a_clip_the_readable_lossless_one_is_read(tmp_path, pointers):
    """CREMA-D's repository holds every clip twice, and a clone may lack the files of Git LFS."""
    for code in ("ANG", "SAD"):
        for folder, extension in (("AudioMP3", "mp3"), ("AudioWAV", "wav")):
            path = tmp_path / f"{folder}/1001_DFA_{code}_XX.{extension}"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, np.sin(np.arange(16_000) / 9) / 4, 16_000)
            if folder == pointers:
                path.write_text(POINTER)
    used = "AudioMP3" if pointers == "AudioWAV" else "AudioWAV"
    assert {Path(audio["path"]).parent.name for audio in read_folder(tmp_path)["audio"]} == {used}
    built = collect({"crema_d": tmp_path})
    assert {path.parent.name for path in built.clips["path"]} == {used}
    assert {finding.reason for finding in built.rejected} == {"lfs_pointer" if pointers else "second_copy"}


def test_a_clip_without_any_readable_copy_is_refused(tmp_path):
    first = spoil(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav", POINTER.encode())
    spoil(tmp_path, "AudioMP3/1001_DFA_ANG_XX.mp3", b"")
    assert message(tmp_path).startswith(f"{first} is a Git LFS pointer, not audio; run `git lfs pull`")


def test_labels_of_a_registered_corpus_follow_the_eight(tmp_path, outside_corpus):
    soundfile.write(tmp_path / "mycorpus_anna_01_bored.wav", np.zeros(800), 16_000)
    dataset = read_folder(tmp_path)
    assert dataset.features["emotion"].names == [*EMOTIONS, "bored"]
    assert (dataset[0]["clip_id"], dataset[0]["emotion"]) == ("mycorpus/anna_01_bored", 8)


def silent_header() -> bytes:
    """A well-formed wav file of 44 bytes: a header and no samples."""
    header = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0"
    assert len(header) == 44
    return header


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty (0 bytes); download it again or remove it"),
        (POINTER.encode(), "is a Git LFS pointer, not audio; run `git lfs pull` in a clone of its repository"),
        (
            b"<!DOCTYPE html><title>404</title>",
            "is not readable as audio (Format not recognised); download it again or remove it",
        ),
        (silent_header(), "holds no samples; download it again or remove it"),
    ],
    ids=["empty", "pointer", "html", "no samples"],
)
def test_a_bad_file(root, content, expected):
    path = spoil(root, "AudioWAV/1001_DFA_ANG_XX.wav", content)
    assert message(root) == f"{path} {expected}"


def test_many_bad_files_are_one_line(root):
    first = spoil(root, "AudioWAV/1001_DFA_ANG_XX.wav", POINTER.encode())
    spoil(root, "AudioWAV/1001_DFA_DIS_XX.wav", POINTER.encode())
    spoil(root, "JK_a01.wav", b"")
    text = message(root)
    assert text.startswith(f"{first} is a Git LFS pointer, not audio; ")
    assert text.endswith("(2 more of 7 clips are unusable)")


@pytest.mark.shared
def test_the_originals(shared):
    dataset = read_folder(shared / "originals")
    rows = {row["clip_id"]: row for row in dataset}
    assert len(rows) == 44
    with gzip.open(shared / "manifest.csv.gz", "rt", encoding="utf-8", newline="") as file:
        manifest = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    for clip_id, row in rows.items():
        stem = clip_id.partition("/")[2].replace("OAF_bite", "OA_bite")
        assert row["sampling_rate"] == int(manifest[stem]["sampling_rate"])
        assert row["duration"] == int(manifest[stem]["frames"]) / row["sampling_rate"]
    # An AIFF file under a .wav name, and the one recording at 96 kHz.
    assert rows["tess/YAF_germ_angry"]["sampling_rate"] == 24_414
    assert rows["tess/OAF_food_fear"]["sampling_rate"] == 96_000


@pytest.mark.shared
def test_the_re_encoded_corpora(shared):
    dataset = read_folder(shared / "corpora")
    assert len(dataset) == 10_774
    assert set(dataset["sampling_rate"][:]) == {16_000}
    assert 1.2 < min(dataset["duration"][:]) < max(dataset["duration"][:]) < 7.2
