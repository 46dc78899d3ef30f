"""Whatever a user calls a data set: opened with the right names, or refused in one line that names row and column."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, DatasetDict, IterableDataset, Value

from dataset_files import noise, write_wav
from hf_ser.dataset.opening import SYNTHETIC_MARK
from hf_ser.dataset.source import Source, open_dataset
from hf_ser.errors import InputError


def table(folder, part=0, clips=4):
    """Columns of one speaker per two clips, with files of noise."""
    numbers = range(100 * part, 100 * part + clips)
    return {
        "audio": [str(write_wav(folder / f"{k}.wav", noise(k, 4000))) for k in numbers],
        "emotion": [("calm", "sad")[k % 2] for k in numbers],
        "speaker": [f"speaker_{k // 2}" for k in numbers],
    }


@pytest.fixture
def given(tmp_path):
    """A `DatasetDict` as `load_dataset("csv")` makes it."""
    parts = enumerate(("train", "validation", "test"))
    return DatasetDict({name: Dataset.from_dict(table(tmp_path / "clips", part)) for part, name in parts})


def refusal(dataset, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_dataset(dataset, *arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def changed(given, column, row, value, part="test"):
    columns = given[part].to_dict()
    columns.setdefault(column, [None] * len(given[part]))
    columns[column][row] = value
    return DatasetDict({**given, part: Dataset.from_dict(columns)})


def test_parts_in_memory_get_the_columns_names_and_language_that_are_given(given):
    source = open_dataset(given, name="mine", language="de", licence="mit")
    assert (source.name, source.path, source.protocol) == ("mine", None, "given")
    assert (source.languages, source.licence, source.labels) == (("de",), "mit", ("calm", "sad"))
    row = source.parts["validation"][0]
    assert row["clip_id"].endswith("clips/100.wav")
    assert (row["speaker"], row["corpus"], row["duration"]) == ("speaker_50", "mine", 0.25)
    assert len(row["audio_sha256"]) == 64
    assert open_dataset(source) is source
    assert open_dataset(DatasetDict(source.parts)).fingerprint == source.fingerprint
    plain = open_dataset(given)
    assert (plain.name, plain.languages, plain.licence) == ("in-memory data set", (), None)


def test_a_folder_of_corpora_states_its_language_and_licence(small_corpora, tmp_path):
    source = open_dataset(small_corpora)
    assert (source.name, source.path) == (small_corpora.name, str(small_corpora))
    assert (source.languages, source.licence, source.synthetic) == (("en",), "other", False)
    write_wav(tmp_path / SYNTHETIC_MARK, [])
    for path in (small_corpora / "CREMA-D").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    synthetic = open_dataset(tmp_path)
    assert (synthetic.synthetic, synthetic.languages, synthetic.licence) == (True, (), None)


def test_a_registered_corpus_is_read_split_and_described(outside_corpus, savee):
    for seed, speaker in enumerate(("anna", "bea", "cleo", "dora", "eva")):
        for label in ("angry", "bored"):
            write_wav(savee / f"mycorpus_{speaker}_01_{label}.wav", noise(100 + seed + 10 * (label == "bored"), 4000))
    source = open_dataset(savee, "leave_out_mycorpus")
    assert set(source.parts["test"]["corpus"]) == {"mycorpus"}
    assert set(source.parts["train"]["corpus"]) == {"savee"}
    assert (source.languages, source.licence) == (("de", "en"), "other")
    mine = open_dataset(savee, "speaker_independent")
    held = {part: len([name for name in rows["corpus"] if name == "mycorpus"]) for part, rows in mine.parts.items()}
    assert held == {"train": 6, "validation": 2, "test": 2}
    assert mine.labels == ("angry", "bored")


@pytest.mark.parametrize(
    "names", [("training", "val", "testing"), ("train", "dev", "eval"), ("TRAIN", "eval", "holdout")]
)
def test_synonyms_of_parts(given, names):
    renamed = dict(zip(names, given.values(), strict=True))
    assert open_dataset(DatasetDict(renamed)).fingerprint == open_dataset(given).fingerprint


def test_parts_that_are_unknown_double_or_missing_are_refused(given):
    assert "unknown part 'extra'; rename it to train (training)" in refusal(DatasetDict(extra=given["test"], **given))
    assert "two parts for validation, one of them 'dev'" in refusal(DatasetDict(**given, dev=given["test"]))
    assert "has no validation part" in refusal(DatasetDict(train=given["train"], test=given["test"]))
    assert "has no test part; add one" in refusal(DatasetDict(train=given["train"], val=given["test"]))
    for empty in (DatasetDict(), DatasetDict(train=given["train"].select([]))):
        assert "has no clips" in refusal(empty)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("speaker", None, "row 1 of column 'speaker' has no value"),
        ("speaker", " ", "row 1 of column 'speaker' has no value"),
        ("corpus", "x", "row 0 of column 'corpus' has no value"),
        ("flags", ["all_zeros"], "row 0 of column 'flags' is not a list of flags"),
        ("flags", "all_zeros", "row 0 of column 'flags' is not a list of flags"),
        ("emotion", "happy", "row 1 of column 'emotion' has the label 'happy', which no training clip has"),
    ],
)
def test_a_row_without_a_value_is_named(given, column, value, expected):
    text = refusal(changed(given, column, 1, value))
    assert text.startswith("data set 'in-memory data set', part 'test': ")
    assert expected in text


def test_a_text_column_of_flags_is_not_searched_for_the_names_of_flags(given):
    flagged = given["train"].add_column("flags", ["none, not all_zeros"] * 4)
    assert "row 0 of column 'flags' is not a list of flags ('none, not all_zeros')" in refusal(
        DatasetDict({**given, "train": flagged})
    )


def test_labels_that_are_numbers_or_minus_one_are_refused(given):
    named = given.cast_column("emotion", ClassLabel(names=["calm", "sad"]))
    assert open_dataset(named).labels == ("calm", "sad")
    numbers = named.cast_column("emotion", Value("int64"))
    assert "its labels are numbers without names" in refusal(numbers)
    unlabelled = Dataset.from_dict(
        {**named["test"].to_dict(), "emotion": [0, 1, -1, 0]}, features=named["test"].features
    )
    assert "row 2 of column 'emotion' has no value ('-1')" in refusal(DatasetDict({**named, "test": unlabelled}))


def test_two_names_of_one_label_are_refused_with_the_ways_out(given):
    names = ClassLabel(names=["happy", "happiness", "calm"])
    rows = given["train"].remove_columns("emotion").add_column("emotion", [0, 1, 2, 1]).cast_column("emotion", names)
    parts = DatasetDict({**given, "train": rows})
    expected = "row 1 of column 'emotion': 'happy' and 'happiness' are two names of one label, 'happy'"
    assert expected in refusal(parts)
    sad = {"sad": "happy"}
    assert open_dataset(parts, labels={"happiness": "happy", **sad}).labels == ("calm", "happy")
    assert open_dataset(parts, labels={"happiness": "happiness", **sad}).labels == ("calm", "happy", "happiness")


def test_large_strings_and_bytes_are_read(given):
    def strings(rows):
        return Dataset(rows.data.table.cast(pa.schema([(name, pa.large_string()) for name in rows.column_names])))

    def structs(rows):
        audio = [{"bytes": Path(path).read_bytes(), "path": path} for path in rows["audio"]]
        kind = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])
        return Dataset(strings(rows).data.table.set_column(0, "audio", pa.array(audio, kind)))

    for large in (strings, structs):
        opened = open_dataset(DatasetDict({part: large(rows) for part, rows in given.items()}))
        assert opened.fingerprint == open_dataset(given).fingerprint


def test_other_objects_and_paths_are_refused_with_the_way_in(given, tmp_path):
    import pandas

    for other in ({"audio": []}, pandas.DataFrame({"audio": []}), IterableDataset.from_generator(lambda: iter(())), 7):
        assert f"a {type(other).__name__} is not a data set; give a folder, a table, a Hub id, a datas" in refusal(
            other
        )
    assert "streaming is not supported" in refusal("me/speech", streaming=True)
    assert "protocol 'random' is unknown" in refusal(given, "random")
    assert "there is no such folder" in refusal(tmp_path / "absent")
    (tmp_path / "file.zip").touch()
    assert "is a file, and no table (.csv" in refusal(tmp_path / "file.zip")
    for column in ("audio", "emotion", "speaker"):
        assert f"'{column}'" in refusal(given["train"].remove_columns(column))
    numbers = given["train"].remove_columns("audio").add_column("audio", [1.0] * 4)
    assert "column 'audio' (Value('float64')) has the wrong type" in refusal(numbers)


def encoded(samples, rate=16_000, **how):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **(how or {"format": "WAV"}))
    return file.getvalue()


def speech(seed, seconds=1.0):
    """Noise with the slow swell and the low tone of a voice, so that it survives a lossy codec."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(16_000 * seconds)) / 16_000
    pitch = generator.uniform(100, 300) * (1 + 0.2 * np.sin(2 * np.pi * generator.uniform(1, 3) * time))
    tone = sum(np.sin(2 * np.pi * harmonic * np.cumsum(pitch) / 16_000) / harmonic for harmonic in range(1, 8))
    swell = np.interp(time, np.linspace(0, seconds, 9), generator.uniform(0.1, 1, 9))
    return 0.2 * swell * (tone + 0.1 * generator.normal(size=time.size))


COPIES = {
    "bytes": lambda samples: encoded(samples),
    "level": lambda samples: encoded(0.3 * samples),
    "silence": lambda samples: encoded(np.concatenate([np.zeros(3000), samples, np.zeros(1000)])),
    "noise": lambda samples: encoded(samples + np.random.default_rng(0).normal(size=samples.size) * 1e-4),
    "flac": lambda samples: encoded(samples, format="FLAC"),
    "mp3": lambda samples: encoded(samples, format="MP3"),
}


@pytest.mark.parametrize("copy", [None, *COPIES])
def test_test_audio_in_training_under_another_speakers_name_is_refused(copy, caplog):
    parts, number = {}, 0
    for part in ("train", "validation", "test"):
        rows = {"audio": [], "emotion": [], "speaker": [], "clip_id": []}
        for label in ("calm", "sad", "calm", "sad"):
            rows["audio"].append({"bytes": encoded(speech(number)), "path": None})
            for name, value in zip(("emotion", "speaker", "clip_id"), (label, part, f"clip/{number}"), strict=True):
                rows[name].append(value)
            number += 1
        if part == "train":
            rows["audio"][3] = {"bytes": encoded(np.zeros(4000)), "path": None}
        if part == "test" and copy:
            rows["audio"][2] = {"bytes": COPIES[copy](speech(1)), "path": None}
        parts[part] = Dataset.from_dict(rows).cast_column("audio", Audio(decode=False))
    if copy is None:
        assert open_dataset(DatasetDict(parts)).proof.speaker_disjoint
        return
    text = refusal(DatasetDict(parts))
    assert "'clip/1' (train) and 'clip/10' (test) are the same recording, so its scores would be inflated" in text
    source = open_dataset(DatasetDict(parts), allow_speaker_overlap=True)
    assert isinstance(source, Source)
    overlap = source.proof.overlaps["train", "test"]
    assert overlap.recordings == (("clip/1", "clip/10"),)
    assert bool(overlap.identical_samples) == (copy == "bytes")
    assert not source.proof.as_dict()["speaker_disjoint"]


@pytest.mark.shared
def test_real_speech_has_no_false_copies(shared):
    proof = open_dataset(shared / "originals", "paper").proof
    assert all(overlap.near_identical is None for overlap in proof.overlaps.values())


@pytest.mark.parametrize("duration", [None, "long", 3600.0, -1.0, float("nan")])
def test_lengths_are_those_of_the_audio_whatever_a_column_says(given, duration, caplog):
    claimed = DatasetDict({part: rows.add_column("duration", [duration] * 4) for part, rows in given.items()})
    source = open_dataset(claimed)
    assert {part: list(rows["duration"]) for part, rows in source.parts.items()} == dict.fromkeys(given, [0.25] * 4)
    assert source.fingerprint == open_dataset(given).fingerprint
    wrong = [it.getMessage() for it in caplog.records if "column 'duration' is wrong in 4 rows" in it.getMessage()]
    assert len(wrong) == (3 if duration in ("long", 3600.0, -1.0) else 0)
    assert all(f"row 0 has {duration!r} where the audio has 0.25" in line for line in wrong)
