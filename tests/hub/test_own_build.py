"""Recordings of one's own as a data set of Parquet files: loads plainly, states facts alone, and asks for consent."""

import json
import subprocess
import sys

import pandas
import pytest
import yaml
from datasets import Audio, load_dataset
from test_publish import publish

from dataset_files import contents, noise, write_wav
from hf_ser.cli import main
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.source import open_dataset
from hf_ser.errors import InputError
from hub_server.cards import validate

LABELS = ("anger", "boredom")


def check_front_matter(card):
    assert validate(card, "dataset") == ([], [])
    return yaml.safe_load(card.split("---\n")[1])


def recordings(folder, speakers="abcdef", start=0, **more):
    rows = []
    for place, (speaker, label) in enumerate((s, label) for s in speakers for label in LABELS):
        write_wav(folder / f"clips/{place}.wav", noise(start + place, 1600))
        rows.append({"file": f"clips/{place}.wav", "label": label, "speaker": speaker, **more})
    pandas.DataFrame(rows).to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    return recordings(folder, sex="f")


def test_a_table_becomes_a_data_set_that_loads_plainly(mine, tmp_path):
    words = ["build", "--dataset", str(mine), "--out", str(tmp_path / "built"), "--language", "de", "--acted", "no",
             "--licence", "cc-by-4.0", "--labels", "anger=angry"]  # fmt: skip
    assert main(words) == 0
    built = tmp_path / "built"
    card = (built / "README.md").read_text()
    front = check_front_matter(card)
    assert (front["license"], front["language"], front["pretty_name"]) == ("cc-by-4.0", ["de"], "mine")
    assert "Acted" not in card
    assert "The speech is not acted" in card
    assert "English" not in card
    assert "`anger` became `angry`" in card
    names = [config["config_name"] for config in front["configs"]]
    assert names == ["speaker_independent", *(f"fold_{k}" for k in range(5)), "mine", "all"]
    whole = load_dataset(str(built), "all", split="train").cast_column("audio", Audio(decode=False))
    originals = {(mine.parent / f"clips/{place}.wav").read_bytes() for place in range(12)}
    assert {row["audio"]["bytes"] for row in whole} == originals
    assert len(whole) == 12
    assert whole.features["emotion"].names == ["angry", "boredom"]
    assert set(whole["sex"]) == {"female"}
    parts = load_dataset(str(built))
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 8, "validation": 2, "test": 2}
    proof = json.loads((built / "split_proof.json").read_text())["speaker_independent"]
    assert proof["speaker_disjoint"]
    # The same clips in the same parts, whether read from the table or from what was built.
    given, again = open_dataset(mine, "fold_2", labels={"anger": "angry"}), open_dataset(built, "fold_2")
    assert again.fingerprint == given.fingerprint
    for part in given.parts:
        assert sorted(again.parts[part]["clip_id"]) == sorted(given.parts[part]["clip_id"])
    before = contents(built)
    assert main([*words, "--overwrite"]) == 0
    assert contents(built) == before, "the same files give the same bytes"


def test_given_parts_and_unknown_speakers_stay_what_they_are(tmp_path):
    table = recordings(tmp_path)
    rows = pandas.read_csv(table)
    rows["split"] = ["test" if s == "a" else "validation" if s == "b" else "train" for s in rows["speaker"]]
    rows.to_csv(table, index=False)
    given = build_dataset(out=tmp_path / "given", dataset=table)
    assert given.report["protocols"] == ["given"]
    source = open_dataset(tmp_path / "given")
    assert source.protocol == "given"
    assert {part: len(it) for part, it in source.parts.items()} == {"train": 8, "validation": 2, "test": 2}
    rows.drop(columns=["split", "speaker"]).to_csv(table, index=False)
    unknown = build_dataset(out=tmp_path / "unknown", dataset=table, speakers="unknown")
    assert not unknown.report["speakers_known"]
    assert "**The speakers are not known.**" in (tmp_path / "unknown/README.md").read_text()
    assert not open_dataset(tmp_path / "unknown").proof.speakers_known


def test_several_data_sets_are_built_together_with_what_is_known_of_each(tmp_path, small_corpora):
    table = recordings(tmp_path, start=700)
    built = build_dataset(out=tmp_path / "both", dataset=[small_corpora / "CREMA-D", table])
    card = (tmp_path / "both/README.md").read_text()
    assert "leave_out_mine" in built.report["protocols"]
    assert "boredom" in built.report["labels"]
    assert "Open Database License" in card
    assert check_front_matter(card).get("license") is None
    assert "no licence was given" in card.lower()


def test_what_does_not_go_together_is_refused(mine, tmp_path):
    with pytest.raises(InputError, match="dataset and savee do not go together"):
        build_dataset(out=tmp_path / "x", dataset=mine, savee=tmp_path)
    with pytest.raises(InputError, match="dataset and labels do not go together"):
        build_dataset(out=tmp_path / "x", savee=tmp_path, labels={"a": "b"})
    assert not (tmp_path / "x").exists()


def test_public_needs_a_licence_and_gated_asks_for_consent_before_any_file(hub, mine, tmp_path):
    without = build_dataset(out=tmp_path / "without", dataset=mine).folder
    licensed = build_dataset(out=tmp_path / "licensed", dataset=mine, licence="cc-by-4.0").folder
    terms = "I use these recordings for research, and do not pass them on."
    answers = publish(
        hub,
        (without, "alice/mine", {"private": False}),
        (without, "alice/mine", {}),
        (licensed, "alice/open", {"private": False}),
        (licensed, "alice/asked", {"private": False, "gated": terms}),
        (licensed, "alice/asked", {"private": False, "gated": " "}),
        token=hub.token("alice"),
    )
    assert "would publish audio without a licence; build it again with one (--licence" in answers[0]
    assert all(answer[0] for answer in answers[1:4])
    assert "gated has no text" in answers[4]
    asked = hub.repo("alice/asked", kind="dataset")
    assert (asked.gated, asked.private) == ("auto", False)
    card = hub.files("alice/asked", kind="dataset")["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["extra_gated_prompt"] == terms
    assert hub.repo("alice/open", kind="dataset").gated is False
    code = f"""
import sys
from hf_ser.cli import main
words = ["build", "--dataset", {str(mine)!r}, "--out", {str(tmp_path / "cli")!r}, "--push-to", "alice/cli-mine"]
assert main(words) == 0
from hf_ser import open_dataset
source = open_dataset("alice/cli-mine")
print(source.protocol, source.labels, source.proof.speaker_disjoint)
"""
    printed = hub.run(code, token=hub.token("alice"))
    assert "speaker_independent ('angry', 'boredom') True" in printed
    loads = "import datasets; print(datasets.load_dataset('alice/cli-mine', 'fold_0')['test'].num_rows)"
    assert hub.run(loads, token=hub.token("alice")).strip() == "4"


def test_the_plain_loader_needs_nothing_of_this_library(mine, tmp_path):
    folder = build_dataset(out=tmp_path / "built", dataset=mine).folder
    code = (
        "import sys, datasets; rows = datasets.load_dataset(sys.argv[1], split='test')\n"
        "print(len(rows), 'hf_ser' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
