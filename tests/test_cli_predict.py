"""`hf-ser predict`: files and folders, three forms of answers, and what a broken file costs."""

import csv
import json
from io import StringIO

import numpy as np
import pytest
import soundfile

from hf_ser.cli import main

LABELS = ["angry", "calm", "happy", "sad"]


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    (folder / "deeper").mkdir(parents=True)
    for number, name in enumerate(("b.wav", "a.flac", "deeper/c.wav")):
        soundfile.write(folder / name, np.sin(np.arange(8000) / (5 + number)), 16_000)
    (folder / "notes.txt").write_text("no audio")
    (folder / ".hidden.wav").touch()
    return folder


def predict(capsys, *words):
    # What made the model may have drawn a bar.
    capsys.readouterr()
    code = main(["predict", *map(str, words)])
    return (code, *capsys.readouterr())


def test_files_and_folders_one_line_each(capsys, encoder, recordings):
    model = encoder(labels=LABELS)
    code, printed, err = predict(capsys, model, recordings / "deeper/c.wav", recordings)
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in printed.splitlines()]
    names = ["deeper/c.wav", "a.flac", "b.wav", "deeper/c.wav"]
    assert [line[0] for line in lines] == [str(recordings / name) for name in names]
    assert lines[0] == lines[3]
    assert all(line[1] in LABELS and 0.25 <= float(line[2]) <= 1 for line in lines)


def test_json_and_csv_hold_every_score(capsys, encoder, recordings):
    model = encoder(labels=LABELS)
    _, printed, _ = predict(capsys, model, recordings, "--json", "--batch-size", "1")
    objects = [json.loads(line) for line in printed.splitlines()]
    assert [sorted(entry) for entry in objects] == [["file", "label", "scores"]] * 3
    _, printed, _ = predict(capsys, model, recordings, "--csv")
    rows = list(csv.DictReader(StringIO(printed)))
    assert list(rows[0]) == ["file", "label", *LABELS, "error"]
    for row, entry in zip(rows, objects, strict=True):
        assert (row["file"], row["label"], row["error"]) == (entry["file"], entry["label"], "")
        assert all(float(row[label]) == pytest.approx(entry["scores"][label], abs=1e-5) for label in LABELS)


def test_a_broken_file_costs_its_own_line_and_the_exit_code(capsys, encoder, recordings):
    model = encoder(labels=LABELS)
    broken = recordings / "aa.wav"
    broken.write_text("no audio")
    code, printed, err = predict(capsys, model, recordings)
    assert code == 2
    assert len(printed.splitlines()) == 3
    first, second = err.splitlines()
    assert first.startswith(f"hf-ser predict: {broken}: not readable as audio")
    assert second == "hf-ser predict: 1 of 4 files got no answer"
    _, printed, _ = predict(capsys, model, recordings, "--json")
    assert [sorted(json.loads(line)) for line in printed.splitlines()].count(["error", "file"]) == 1
    _, printed, _ = predict(capsys, model, recordings, "--csv")
    assert [bool(row["error"]) for row in csv.DictReader(StringIO(printed))] == [False, True, False, False]


def test_a_folder_without_audio_is_named(capsys, encoder, tmp_path):
    (tmp_path / "notes.txt").write_text("no audio")
    code, _, err = predict(capsys, encoder(labels=LABELS), tmp_path)
    assert code == 2
    assert f"folder {tmp_path} holds no audio" in err
