"""What `check` finds before training, and that it refuses what `finetune` would refuse."""

import json

import numpy as np
import pandas
import pytest
import soundfile

from dataset_files import noise, write_wav
from hf_ser.cli import main
from hf_ser.dataset.check import check_dataset
from hf_ser.errors import InputError

LABELS = ("Anger", "bored", "Sadness")


@pytest.fixture
def mine(tmp_path):
    """Recordings of five speakers, with a fault of each kind."""
    rows = []
    for place, (speaker, label) in enumerate((s, label) for s in "abcde" for label in LABELS):
        file = write_wav(tmp_path / f"clips/{place}.wav", noise(place, 3200), rate=(16_000, 8_000)[speaker == "e"])
        rows.append({"file": f"clips/{file.name}", "label": label, "spk": speaker})
    write_wav(tmp_path / "clips/zeros.wav", np.zeros(1600, int))
    write_wav(tmp_path / "clips/loud.wav", np.clip(noise(90, 3200) * 5, -32768, 32767))
    soundfile.write(tmp_path / "clips/quiet.wav", np.full(3200, 1e-5), 16_000, subtype="FLOAT")
    cut = (tmp_path / "clips/1.wav").read_bytes()[:3000]
    (tmp_path / "clips/cut.wav").write_bytes(cut)
    (tmp_path / "clips/pointer.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    write_wav(tmp_path / "clips/twin.wav", noise(0, 3200))
    write_wav(tmp_path / "clips/copy.wav", np.concatenate([np.zeros(500, int), noise(3, 3200) // 2]))
    for name, speaker in zip(("zeros", "loud", "quiet", "cut", "pointer", "twin", "copy"), "aaaaaab", strict=True):
        rows.append({"file": f"clips/{name}.wav", "label": "bored", "spk": speaker})
    pandas.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


def test_what_is_there_and_what_is_wrong_with_it(mine, tmp_path):
    found = check_dataset(mine, language="de")
    facts = found.facts
    assert found.refused is None
    assert facts["labels"] == {"angry": {"mine": 5}, "sad": {"mine": 5}, "bored": {"mine": 11}}
    assert facts["synonyms"] == {"Anger": "angry", "Sadness": "sad"}
    assert facts["speakers"] == {"mine": 5}
    assert facts["sampling_rates"] == {"8000": 3, "16000": 18}
    assert facts["languages"] == ["de"]
    assert [(it["file"], it["reason"]) for it in facts["left_out"]] == [("mine/clips/pointer.wav", "unreadable")]
    assert "Git LFS pointer" in facts["left_out"][0]["detail"]
    assert facts["flags"] == {
        "all_zeros": 1, "clipped": 1, "identical_samples_two_labels": 2, "near_silent": 1, "truncated": 1,
    }  # fmt: skip
    assert ["mine/clips/3.wav", "mine/clips/copy.wav"] in [sorted(pair) for pair in facts["near_identical"]]
    assert facts["left_out_of_training"].keys() <= {"all_zeros", "near_silent", "identical_samples_two_labels"}
    dropped = sum(facts["left_out_of_training"].values())
    assert sum(part["clips"] for part in facts["parts"].values()) + dropped == len(found.clips)
    text = found.render()
    for words in (
        "taken as",
        "Anger is angry",
        "1 truncated: the file ends before",
        "finetune would take this.",
        "8000 Hz (3)",
    ):
        assert words in text
    folder = found.save(tmp_path / "report")
    assert json.loads((folder / "check.json").read_text())["clips"] == 21
    assert (folder / "check.png").stat().st_size > 10_000


def test_the_exit_code_is_that_of_finetune(mine, tmp_path, capsys, encoder):
    assert main(["check", str(mine), "--json", "--language", "de"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] is None
    rows = pandas.read_csv(mine)
    rows.loc[rows["spk"].isin(["a", "b"])].to_csv(tmp_path / "few.csv", index=False)
    (tmp_path / "empty").mkdir()
    cases = {
        "two speakers": ["few.csv"],
        "a typing error": ["mine.csv", "--columns", "speaker=who"],
        "an unused option": ["mine.csv", "--speakers", "unknown"],
        "an empty folder": ["empty"],
        "strict": ["mine.csv", "--strict"],
        "a protocol": ["mine.csv", "--protocol", "leave_out_tess"],
    }
    for case, (file, *more) in cases.items():
        assert main(["check", str(tmp_path / file), *more]) == 1, case
        line = next(it for it in capsys.readouterr().out.splitlines() if it.startswith("finetune would refuse this: "))
        where = ["--model", str(encoder()), "--dataset", str(tmp_path / file), "--output-dir", str(tmp_path / "out")]
        assert main(["finetune", *where, *more, "--use_cpu", "true"]) == 2, case
        assert capsys.readouterr().err.strip().endswith(line.removeprefix("finetune would refuse this: ")), case
    assert main(["check", str(tmp_path / "absent.csv")]) == 2


def test_a_check_that_cannot_be_saved(mine, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be created"):
        check_dataset(mine).save(tmp_path / "file")
