"""Recordings of one's own: tables in many dialects, labels, speakers and splits, each right or refused in one line."""

import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, List, Value

from dataset_files import noise, write_wav
from hf_ser.dataset.source import open_dataset
from hf_ser.errors import InputError

SPEAKERS = ("anna", "bea", "cleo", "dora", "eva")
LABELS = ("anger", "boredom", "sadness")
NAMES = ("angry", "sad", "boredom")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A folder `clips` with three recordings of each of five speakers."""
    folder = tmp_path_factory.mktemp("own")
    for place, (speaker, label) in enumerate((speaker, label) for speaker in SPEAKERS for label in LABELS):
        write_wav(folder / f"clips/{speaker}_{label}.wav", noise(place, 1600))
    return folder


def rows(prefix="clips/") -> list[dict[str, str]]:
    return [{"path": f"{prefix}{s}_{label}.wav", "emotion": label, "speaker": s} for s in SPEAKERS for label in LABELS]


def text(records, delimiter=",", quote="") -> str:
    lines = [list(records[0]), *(list(record.values()) for record in records)]
    return "".join(delimiter.join(f"{quote}{cell}{quote}" for cell in line) + "\n" for line in lines)


def refusal(dataset, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_dataset(dataset, *arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def table(clips, content, name="mine.csv", encoding="utf-8") -> Path:
    file = clips / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return file


def renamed(**names):
    return [{names.get(key, key): value for key, value in record.items()} for record in rows()]


DIALECTS = {
    "comma": lambda c: table(c, text(rows())),
    "semicolon": lambda c: table(c, text(rows(), ";")),
    "tab": lambda c: table(c, text(rows(), "\t")),
    "tsv": lambda c: table(c, text(rows(), "\t"), "mine.tsv"),
    "bar": lambda c: table(c, text(rows(), "|")),
    "byte order mark": lambda c: table(c, text(rows()), encoding="utf-8-sig"),
    "utf-16": lambda c: table(c, text(rows(), ";"), encoding="utf-16"),
    "windows-1252": lambda c: table(c, text([{**row, "who": "Zoë"} for row in rows()]), encoding="cp1252"),
    "line ends": lambda c: table(c, text(rows()).replace("\n", "\r\n") + "\r\n"),
    "quoted": lambda c: table(c, text(rows(), quote='"')),
    "windows paths": lambda c: table(c, text(rows("clips\\"))),
    "absolute paths": lambda c: table(c, text(rows(f"{c}/clips/"))),
    "other names": lambda c: table(c, text(renamed(path="File_Name", emotion="LABEL", speaker="Spk ID"))),
    "json lines": lambda c: (
        pandas.DataFrame(rows()).to_json(c / "mine.jsonl", orient="records", lines=True) or c / "mine.jsonl"
    ),
    "json": lambda c: pandas.DataFrame(rows()).to_json(c / "mine.json", orient="records") or c / "mine.json",
    "parquet": lambda c: pandas.DataFrame(rows()).to_parquet(c / "mine.parquet") or c / "mine.parquet",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_is_read_in_any_dialect(clips, dialect):
    file = DIALECTS[dialect](clips)
    source = open_dataset(file)
    assert (source.name, source.labels, source.protocol) == ("mine", NAMES, "speaker_independent")
    assert {part: len(set(rows["speaker"])) for part, rows in source.parts.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }
    named = {clip for rows in source.parts.values() for clip in rows["clip_id"]}
    assert len(named) == 15
    assert all(clip.startswith("mine/") and clip.endswith(".wav") and str(clips) not in clip for clip in named)
    file.unlink()


def test_numbers_among_texts_in_json_are_texts(clips):
    records = [{**row, "speaker": SPEAKERS.index(row["speaker"]) or "zero"} for row in rows()]
    pandas.DataFrame(records).to_json(clips / "mixed.jsonl", orient="records", lines=True)
    source = open_dataset(clips / "mixed.jsonl")
    named = {it for part in source.parts.values() for it in part["speaker"]}
    assert named == {"mixed_zero", "mixed_1", "mixed_2", "mixed_3", "mixed_4"}


def test_a_delimiter_in_a_quoted_path_and_quotes_of_another_kind(clips):
    odd = clips / "clips/anna, angry; loud.wav"
    shutil.copy(clips / "clips/anna_anger.wav", odd)
    records = [{**record, "path": record["path"].replace("anna_anger", odd.stem)} for record in rows()]
    for name, content in (("commas.csv", text(records, quote='"')), ("tabs.csv", text(records, "\t", "'"))):
        if name == "tabs.csv":
            content = content.replace("'path'\t'emotion'\t'speaker'", "path\temotion\tspeaker")
            content = content.replace("'\t'", "'\t").replace("'\n", "\n").replace("\t'", "\t")
        source = open_dataset(table(clips, content, name))
        assert sum(map(len, source.parts.values())) == 15
    odd.unlink()


REFUSED = {
    "urls": (
        text(rows("https://example.org/")),
        "row 0 of column 'path' ('https://example.org/anna_anger.wav') is a URL",
    ),
    "numbers": (
        text([{**row, "emotion": str(LABELS.index(row["emotion"]))} for row in rows()]),
        "row 0 of column 'emotion' is 0: its labels are numbers without names; --labels 0=angry,1=happy names them",
    ),
    "one row": (text(rows()[:1]), "all clips have the label 'angry'; recognition needs two labels or more"),
    "no rows": ("path,emotion,speaker\n", "has no rows"),
    "no columns": ("a\tb\n1\t2\n", "has no column of audio"),
    "no labels": ("path\nclips/anna_anger.wav\n", "has no column of labels"),
    "no speakers": (text([{k: v for k, v in row.items() if k != "speaker"} for row in rows()]), "no column 'speaker'"),
    "speaker missing": (text(rows()).replace("boredom,bea", "boredom,"), "row 4 of column 'speaker' has no value"),
    "part unknown": (text([{**row, "split": "holdup"} for row in rows()]), "has an unknown part 'holdup'"),
    "part missing": (
        text([{**row, "split": "train"} for row in rows()]).replace("anna,train", "anna,", 1),
        "row 0 has no",
    ),
    "no validation": (
        text([{**row, "split": "test" if row["speaker"] == "eva" else "train"} for row in rows()]),
        "has no validation part, and the test part never chooses a model; add one",
    ),
    "part leaks": (
        text(
            [
                {**row, "split": {"dora": "dev", "eva": "test"}.get(row["speaker"], "train") if k else "test"}
                for k, row in enumerate(rows())
            ]
        ),
        "its parts share speakers, so its scores would be inflated",
    ),
    "ragged": ("path,emotion,speaker\na,b,c\nd,e,f,g,h\n", "cannot be read (Error tokenizing data"),
    "binary": (b"\x00\x81\x8d\xff" * 50, "mine.csv"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_cannot_be_used_is_refused_with_row_and_column(clips, case):
    content, expected = REFUSED[case]
    file = table(clips, content, "refused.csv")
    assert expected.replace("mine.csv", "refused.csv") in refusal(file)
    file.unlink()


def test_numbers_become_labels_by_name_and_a_map_must_fit(clips, tmp_path):
    records = [{**row, "emotion": str(LABELS.index(row["emotion"]))} for row in rows()]
    file = table(clips, text(records))
    source = open_dataset(file, labels={"0": "anger", "1": "", "2": "calm"})
    assert source.labels == ("angry", "calm")
    assert source.renamed == {"0": "angry", "1": "", "2": "calm"}
    assert {found.reason for found in source.findings} == {"dropped_label"}
    assert len(source.findings) == 5
    assert "row 1 of column 'emotion' is 1" in refusal(file, labels={"0": "anger", "2": "calm"})
    named = table(clips, text(rows()))
    assert "labels names 'angre', which is not used" in refusal(named, labels={"angre": "angry"})
    assert open_dataset(named, labels={"ANGER": "Wut", "boredom": "sad", "sadness": "sad"}).labels == ("sad", "wut")
    both = table(clips, text(rows()).replace("boredom,bea", "angry,bea"))
    assert "'anger' and 'angry' are two names of one label, 'angry'; --labels 'angry=angry' makes" in refusal(both)


def test_what_is_left_out_is_counted_named_and_refused_when_strict(clips, caplog):
    records = [*rows(), {"path": "clips/gone.wav", "emotion": "anger", "speaker": "eva"}, rows()[0]]
    records[3] = {**records[3], "emotion": ""}
    (clips / "clips/broken.wav").write_bytes(b"RIFF of nothing")
    records.append({"path": "clips/broken.wav", "emotion": "anger", "speaker": "eva"})
    file = table(clips, text(records))
    with caplog.at_level(logging.WARNING):
        source = open_dataset(file)
    found = {(it.file, it.reason) for it in source.findings}
    assert found == {
        ("clips/gone.wav", "missing_file"),
        ("clips/anna_anger.wav", "duplicate_row"),
        ("clips/bea_anger.wav", "no_label"),
        ("mine/clips/broken.wav", "unreadable"),
    }
    details = {it.reason: it.detail for it in source.findings}
    assert details["missing_file"] == "row 15 of column 'path' ('clips/gone.wav') does not exist"
    assert details["no_label"] == "row 3 of column 'emotion' has no value"
    assert details["duplicate_row"] == "row 16 of column 'path' repeats row 0"
    (line,) = [it.getMessage() for it in caplog.records if "left out" in it.getMessage()]
    assert line.startswith("mine: left out: 1 ")
    assert all(f"1 {reason}" in line for reason in ("missing_file", "duplicate_row", "no_label", "unreadable"))
    assert "4 such in all, which strict treats as errors" in refusal(file, strict=True)
    everything = [{**record, "path": record["path"].replace("clips", "nowhere")} for record in rows()]
    assert "has no clips: the first of 15 findings is: row 0" in refusal(table(clips, text(everything)))
    (clips / "clips/broken.wav").unlink()


def test_columns_are_named_by_the_caller(clips, caplog):
    file = table(clips, text(renamed(path="where", emotion="Gefühl", speaker="who")))
    assert "--columns audio=NAME" in refusal(file)
    asked = {"file": "where", "label": "Gefühl", "spk": "who"}
    with caplog.at_level(logging.INFO):
        assert open_dataset(file, columns=asked).labels == NAMES
    assert "audio is column 'where', emotion is column 'Gefühl', speaker is column 'who'" in caplog.text
    assert "columns names 'wer=who'; give ROLE=COLUMN" in refusal(file, columns={"wer": "who"})
    assert "columns names 'sex', which is not used" in refusal(file, columns={**asked, "sex": "Geschlecht"})


def test_speakers_are_found_in_the_path_or_groups_stand_in_for_them(clips):
    file = table(clips, text([{"path": row["path"], "emotion": row["emotion"]} for row in rows()]))
    named = open_dataset(file, speaker_pattern=r"clips/(\w+?)_")
    assert {it for part in named.parts.values() for it in part["speaker"]} == {f"mine_{name}" for name in SPEAKERS}
    assert "finds no speaker in clips/anna_anger.wav" in refusal(file, speaker_pattern=r"spk(\d+)")
    assert "has no group; put the speaker in brackets" in refusal(file, speaker_pattern="anna")
    assert "cannot be used: missing )" in refusal(file, speaker_pattern="(")
    assert "speakers is 'none'; give 'unknown'" in refusal(file, speakers="none")
    unknown = open_dataset(file, speakers="unknown")
    assert not unknown.proof.speakers_known
    assert not unknown.proof.speaker_disjoint
    assert unknown.proof.render().startswith("The speakers are not known: the parts may share them")
    assert all(len(part) for part in unknown.parts.values())
    with_column = table(clips, text(rows()))
    assert "speakers, which is not used: every data set says it already" in refusal(with_column, speakers="unknown")


def test_without_speakers_folders_and_copies_stay_together(tmp_path):
    place = 0
    for session in range(6):
        for label in LABELS:
            write_wav(tmp_path / f"mine/{label}/session_{session}/{place}.wav", noise(place, 4000))
            place += 1
    louder = noise(0, 4000) // 2
    write_wav(tmp_path / "mine/anger/session_5/copy.wav", np.concatenate([np.zeros(800, int), louder]))
    source = open_dataset(tmp_path / "mine", speakers="unknown")
    part_of = {clip: part for part, rows in source.parts.items() for clip in rows["clip_id"]}
    sessions = {clip.split("/")[2]: set() for clip in part_of}
    for clip, part in part_of.items():
        sessions[clip.split("/")[2]].add(part)
    assert all(len(parts) == 1 for parts in sessions.values())
    assert sessions["session_0"] == sessions["session_5"], "they hold one recording twice"
    assert source.labels == NAMES


def test_labelled_folders_with_and_without_parts(clips, tmp_path):
    parts = dict(zip(SPEAKERS, ("train", "train", "train", "dev", "test"), strict=True))
    for record in rows():
        for folder in (f"plain/{record['emotion']}", f"split/{parts[record['speaker']]}/{record['emotion']}"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(clips / record["path"], tmp_path / folder / f"{record['speaker']}.wav")
    (tmp_path / "plain/anger/notes.txt").write_text("not audio")
    (tmp_path / "plain/stray.wav").write_bytes((tmp_path / "plain/anger/anna.wav").read_bytes())
    plain = open_dataset(tmp_path / "plain", speaker_pattern=r"/(\w+)\.wav")
    assert (plain.labels, plain.protocol) == (NAMES, "speaker_independent")
    assert {(it.file, it.reason) for it in plain.findings} == {
        ("anger/notes.txt", "no_recording"),
        ("stray.wav", "no_label"),
    }
    (tmp_path / "plain/anger" / os.fsdecode(b"b\xe9a.wav")).write_bytes(b"")
    latin = open_dataset(tmp_path / "plain", speaker_pattern=r"/(\w+)\.wav").findings
    assert ("anger/b\\udce9a.wav", "its name is not UTF-8; rename it") in {(it.file, it.detail) for it in latin}
    split = open_dataset(tmp_path / "split", speaker_pattern=r"/(\w+)\.wav")
    assert split.protocol == "given"
    assert {part: sorted(set(rows["speaker"])) for part, rows in split.parts.items()} == {
        "train": ["split_anna", "split_bea", "split_cleo"],
        "validation": ["split_dora"],
        "test": ["split_eva"],
    }
    anew = open_dataset(tmp_path / "split", "fold_2", speaker_pattern=r"/(\w+)\.wav")
    assert anew.protocol == "fold_2"


def test_a_folder_with_metadata_and_files_it_does_not_list(clips, tmp_path):
    shutil.copytree(clips / "clips", tmp_path / "berlin/clips")
    content = text([{"file_name" if k == "path" else k: v for k, v in row.items()} for row in rows()[1:]])
    (tmp_path / "berlin/metadata.csv").write_text(content)
    source = open_dataset(tmp_path / "berlin")
    assert (source.name, sum(map(len, source.parts.values()))) == ("berlin", 14)
    assert [(it.file, it.reason) for it in source.findings] == [("clips/anna_anger.wav", "not_listed")]
    assert open_dataset(tmp_path / "berlin/metadata.csv").fingerprint == source.fingerprint
    for part, names in (("train", SPEAKERS[:3]), ("val", SPEAKERS[3:4]), ("test", SPEAKERS[4:])):
        own = [row for row in rows("") if row["speaker"] in names]
        folder = tmp_path / "parts" / part
        folder.mkdir(parents=True)
        for row in own:
            shutil.copy(clips / "clips" / row["path"], folder)
        (folder / "metadata.jsonl").write_text(
            pandas.DataFrame(own).rename(columns={"path": "file_name"}).to_json(orient="records", lines=True)
        )
    given = open_dataset(tmp_path / "parts")
    assert given.protocol == "given"
    assert {part: len(rows) for part, rows in given.parts.items()} == {"train": 9, "validation": 3, "test": 3}


def test_several_data_sets_are_one_with_speakers_of_their_own(clips, tmp_path, small_corpora):
    shutil.copytree(clips / "clips", tmp_path / "other/clips")
    for place, file in enumerate(sorted((tmp_path / "other/clips").iterdir())):
        write_wav(file, noise(500 + place, 1600))
    first = table(clips, text(rows()))
    second = table(tmp_path / "other", text(rows()), "theirs.csv")
    both = open_dataset([first, second])
    alone = {path: open_dataset(path) for path in (first, second)}
    assert (both.name, both.path) == ("mine, theirs", None)
    assert len({it for part in both.parts.values() for it in part["speaker"]}) == 10
    for source in alone.values():
        for part, rows_ in source.parts.items():
            assert set(rows_["clip_id"]) <= set(both.parts[part]["clip_id"]), "another source moves no clip"
    left = open_dataset([first, second], "leave_out_theirs")
    assert set(left.parts["test"]["corpus"]) == {"theirs"}
    assert "which holds no clip" not in str(left.proof)
    same = table(tmp_path / "other", text(rows()), "mine.csv")
    assert "two data sets are called 'mine'; name one, as in NAME=" in refusal([first, same])
    assert open_dataset([first, f"ours={same}"]).name == "mine, ours"
    assert "are the same recording" in refusal([first, f"again={first}"])
    joint = open_dataset([small_corpora, first])
    assert joint.labels[-1] == "boredom"
    assert {"ravdess", "mine"} <= set(joint.parts["test"]["corpus"])
    known = open_dataset(small_corpora)
    assert all(set(part["clip_id"]) <= set(joint.parts[name]["clip_id"]) for name, part in known.parts.items())
    memory = Dataset.from_dict({k: [str(clips / r[k]) if k == "path" else r[k] for r in rows()] for k in rows()[0]})
    assert open_dataset([memory, second]).name == "data_1, theirs"
    assert "the list of data sets is empty" in refusal([])
    assert "open_dataset has no option 'lables'" in refusal(first, lables={})


def test_the_types_that_columns_come_in(clips, tmp_path, monkeypatch):
    import soundfile

    plain = {key: [row[key] for row in rows()] for key in rows()[0]}
    paths = [str(clips / path) for path in plain.pop("path")]
    expected = open_dataset(Dataset.from_dict({"audio": paths, **plain})).fingerprint
    contents = [Path(path).read_bytes() for path in paths]
    samples = [soundfile.read(path, dtype="float32")[0] for path in paths]
    decoded = [{"array": it, "sampling_rate": 16_000, "path": "secret.wav"} for it in samples]
    kinds = {
        "paths": Dataset.from_dict({"file": paths, **plain}),
        "audio": Dataset.from_dict({"audio": paths, **plain}).cast_column("audio", Audio()),
        "bytes": Dataset.from_dict({"audio": contents, **plain}),
        "structs": Dataset.from_dict({"audio": [{"bytes": it, "path": None} for it in contents], **plain}),
        "decoded": Dataset.from_dict({"audio": decoded, **plain}),
        "arrays": Dataset.from_dict({"audio": samples, "sampling_rate": [16_000] * 15, **plain}),
        "integers": Dataset.from_dict(
            {"audio": [(it * 32768).astype(np.int16) for it in samples], "sampling_rate": [16_000] * 15, **plain},
            features=Features(
                {"audio": List(Value("int16")), "sampling_rate": Value("int32"), "emotion": Value("string"),
                 "speaker": Value("string")}
            ),
        ),
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.wav").write_bytes(contents[3])
    for kind, rows_ in kinds.items():
        source = open_dataset(rows_)
        assert source.labels == NAMES, kind
        part = source.parts["test"]
        assert set(part["duration"]) == {0.1}, kind
        if kind in ("paths", "audio"):
            assert source.fingerprint == expected
    wide = Features({**kinds["integers"].features, "audio": List(Value("int64"))})
    loud = {**kinds["integers"].to_dict(), "audio": [(it * 2**31).astype(np.int64) for it in samples]}
    assert "integers of more than 16 bits; give int32" in refusal(Dataset.from_dict(loud, features=wide))
    rows_ = kinds["arrays"].remove_columns("sampling_rate")
    assert "the audio column holds samples without a sampling rate" in refusal(rows_)
    disk = tmp_path / "saved"
    kinds["paths"].save_to_disk(str(disk))
    assert open_dataset(disk).labels == NAMES
    numbered = kinds["paths"].cast_column("emotion", ClassLabel(names=list(LABELS)))
    assert open_dataset(DatasetDict({"train": numbered})).labels == NAMES


def test_rows_of_others_open_no_file_outside_their_folder(clips, tmp_path):
    private = tmp_path / "private.wav"
    shutil.copy(clips / "clips/anna_anger.wav", private)
    folder = tmp_path / "theirs/data"
    folder.mkdir(parents=True)
    columns = {key: [row[key] for row in rows()] for key in ("emotion", "speaker")}
    contents = [{"bytes": (clips / row["path"]).read_bytes(), "path": row["path"]} for row in rows()]
    for stolen in (str(private), "../../private.wav", "https://example.org/a.wav"):
        audio = [{"bytes": None, "path": stolen}, *contents[1:]]
        kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
        whole = pyarrow.table({"audio": pyarrow.array(audio, kind), **columns})
        pyarrow.parquet.write_table(whole, folder / "train.parquet")
        source = open_dataset(tmp_path / "theirs")
        (finding,) = source.findings
        assert finding.detail.endswith("has no audio")
        whole = pyarrow.table({"audio": pyarrow.array([audio[0], *audio[:1] * 14], kind), **columns})
        pyarrow.parquet.write_table(whole, folder / "train.parquet")
        assert re.search("lies outside the data set|is a URL", refusal(tmp_path / "theirs"))


HUB_FOLDER = """
from hf_ser import open_dataset
source = open_dataset("alice/voices")
print(source.name, source.labels, sum(map(len, source.parts.values())), source.path)
for finding in source.findings:
    print(finding.detail)
"""


def test_recordings_as_files_on_the_hub_need_no_torchcodec_and_open_nothing_else(clips, tmp_path, hub):
    private = write_wav(tmp_path / "private.wav", noise(999, 1600))
    shutil.copytree(clips / "clips", tmp_path / "repo/clips")
    stolen = [{"path": str(private), "emotion": "anger", "speaker": "eva"},
              {"path": "../../../../private.wav", "emotion": "anger", "speaker": "eva"}]  # fmt: skip
    named = [{"file_name" if key == "path" else key: value for key, value in row.items()} for row in [*rows(), *stolen]]
    (tmp_path / "repo/metadata.csv").write_text(text(named))
    hub.create_from_folder("alice/voices", tmp_path / "repo", kind="dataset")
    printed = hub.run(HUB_FOLDER).splitlines()
    assert printed[0] == "voices ('angry', 'sad', 'boredom') 15 alice/voices"
    assert len(printed) == 3
    assert all(line.endswith("lies outside the data set, which is not read") for line in printed[1:])


def test_pipes_devices_links_and_odd_names_are_one_line_each(clips, tmp_path, caplog):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    shutil.copytree(clips / "clips", tmp_path / "clips")
    odd = "new\nline \x1b[31m.wav"
    shutil.copy(clips / "clips/eva_anger.wav", tmp_path / odd)
    bad = [{"path": name, "emotion": "anger", "speaker": "eva"} for name in ("pipe.wav", "device.wav", "loop.wav", odd)]
    pandas.DataFrame([*rows(), *bad]).to_json(tmp_path / "mine.jsonl", orient="records", lines=True)
    with caplog.at_level(logging.INFO):
        source = open_dataset(tmp_path / "mine.jsonl")
    reasons = ["is not a regular file", "is not a regular file", "does not exist"]
    assert [it.detail.partition("') ")[2].partition(" (")[0] for it in source.findings[:2]] == reasons[:2]
    assert "loop.wav" in source.findings[2].detail
    assert len(source.findings) == 3
    assert "\x1b" not in caplog.text
    assert any(odd in clip for rows_ in source.parts.values() for clip in rows_["clip_id"])


def test_a_table_called_like_a_known_corpus_is_not_that_corpus(clips):
    source = open_dataset(table(clips, text(rows()), "tess.csv"))
    assert set(source.parts["test"]["corpus"]) == {"tess_own"}
    assert (source.languages, source.licence, source.acted) == ((), None, None)
    given = open_dataset(clips / "tess.csv", language="sv", licence="mit", acted=False)
    assert (given.languages, given.licence, given.acted) == (("sv",), "mit", False)


@pytest.mark.shared
def test_somebody_elses_data_is_what_its_names_say(shared):
    source = open_dataset(shared / "other/emo_db")
    assert source.labels == ("angry", "disgust", "fear", "happy", "neutral", "sad", "boredom")
    assert (source.languages, source.acted) == (("de",), True)
    assert source.proof.speaker_disjoint
    assert {part: len(set(rows_["speaker"])) for part, rows_ in source.parts.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }
