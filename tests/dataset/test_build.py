"""The built folder: what it holds, and that it is whole or absent."""

import json
import shutil
import zipfile
from collections import Counter

import pandas
import pyarrow.parquet
import pytest
import yaml

from dataset_files import FOUR, contents, noise, published_names, write_wav
from hf_ser.cli import main
from hf_ser.corpora import parse
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.splits import PROTOCOLS, split
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS


def rows_of(folder) -> list[dict]:
    return [row for path in sorted((folder / "data").iterdir()) for row in pyarrow.parquet.read_table(path).to_pylist()]


def front_matter(folder) -> dict:
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def test_every_clip_is_stored_once_with_its_own_bytes_and_facts(built, small_corpora):
    rows = {row["clip_id"]: row for row in rows_of(built)}
    assert len(rows) == len(rows_of(built)) == len(published_names())
    for name in published_names():
        path = small_corpora / name
        clip = parse(path)
        row = rows[clip.clip_id]
        assert row["audio"] == {"bytes": path.read_bytes(), "path": f"{clip.clip_id}.wav"}
        assert EMOTIONS[row["emotion"]] == clip.emotion
        shown = ("corpus", "speaker", "sex", "age", "sentence", "intensity", "clip_id")
        assert {key: row[key] for key in shown} == {key: getattr(clip, key) for key in shown}
        assert row["duration"] == (path.stat().st_size - 44) / 2 / 16_000
        assert (row["sampling_rate"], row["flags"], row["provenance"]) == (16_000, [], "unknown")
        assert row["voice_votes"] is row["face_votes"] is row["multimodal_votes"] is None


def test_report_compares_counts_with_table_2(built):
    report = json.loads((built / "build_report.json").read_text())
    expected = Counter((parse(name).corpus, parse(name).emotion) for name in published_names())
    assert Counter({(corpus, it): n for corpus, of in report["counts"].items() for it, n in of.items()}) == expected
    published = {name: sum(counts.values()) for name, counts in report["table_2"].items()}
    assert published == {"ravdess": 1440, "crema_d": 7442, "tess": 2800, "savee": 480}
    assert len(report["missing"]) == 12_162 - len(published_names())
    assert (report["rejected"], report["flagged"]) == ([], [])
    assert "| savee | 4 of 60 | 0 | 4 of 60 |" in (built / "build_report.md").read_text()
    proofs = json.loads((built / "split_proof.json").read_text())
    assert set(proofs) == set(PROTOCOLS)
    assert {name for name, proof in proofs.items() if not proof["speaker_disjoint"]} == {"paper"}
    assert proofs["fold_0"]["overlaps"]["train/test"]["identical_samples"] == []


def test_card_has_the_configurations_and_their_sizes(built):
    matter = front_matter(built)
    assert matter["configs"][0]["config_name"] == "speaker_independent"
    assert [config["config_name"] for config in matter["configs"] if config.get("default")] == ["speaker_independent"]
    assert {config["config_name"] for config in matter["configs"]} == {*PROTOCOLS, *FOUR, "all"}
    rows = rows_of(built)
    columns = {key: [row[key] for row in rows] for key in ("corpus", "speaker", "clip_id")}
    for info in matter["dataset_info"]:
        if info["config_name"] in PROTOCOLS:
            sizes = {part: len(members) for part, members in split(columns, info["config_name"]).items()}
            assert {entry["name"]: entry["num_examples"] for entry in info["splits"]} == sizes
        assert info["dataset_size"] == sum(entry["num_bytes"] for entry in info["splits"])
    assert not list(built.glob("*.py"))


def test_same_input_gives_the_same_bytes_wherever_it_lies(built, four, tmp_path):
    moved = {name: tmp_path / f"elsewhere_{name}" for name in four}
    for name, folder in four.items():
        # A flat layout, copied backwards: neither folders nor their order may leave a trace.
        moved[name].mkdir()
        for path in sorted(folder.rglob("*.wav"), reverse=True):
            prefix = f"{path.parent.name}_" if name == "savee" else ""
            shutil.copy(path, moved[name] / f"{prefix}{path.name}")
    again = build_dataset(out=tmp_path / "again", num_proc=1, **moved).folder
    assert contents(again) == contents(built)


def test_zip_files_give_what_their_folders_give(built, four, tmp_path):
    zips = {name: tmp_path / f"{name}.zip" for name in four}
    for name, folder in four.items():
        with zipfile.ZipFile(zips[name], "w") as archive:
            for path in folder.rglob("*.wav"):
                archive.write(path, path.relative_to(folder.parent))
            archive.writestr("__MACOSX/._x.wav", b"junk")
    result = build_dataset(out=tmp_path / "out", **zips)
    assert contents(result.folder) == contents(built)
    assert {path.name for path in tmp_path.iterdir()} == {"out", *(f"{name}.zip" for name in four)}


def test_zip_members_that_leave_the_folder_are_refused_and_listed(savee, tmp_path):
    archive = tmp_path / "nest" / "savee.zip"
    archive.parent.mkdir()
    link = zipfile.ZipInfo("DC_a05.wav")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as opened:
        for path in savee.rglob("*.wav"):
            opened.write(path, f"AudioData/{path.parent.name}/{path.name}")
        evil = (savee / "DC/a01.wav").read_bytes()
        for name in ("../../DC_a02.wav", "/tmp/DC_a03.wav", "C:/DC_a04.wav", "..\\DC_a06.wav"):
            opened.writestr(name, evil)
        opened.writestr(link, "/etc/passwd")
        opened.writestr("DC/03-02-01-01-01-01-01.mp4", b"a video")
    before = contents(tmp_path)
    result = build_dataset(out=tmp_path / "nest" / "out", savee=archive)
    found = {entry["file"]: entry["reason"] for entry in result.report["rejected"]}
    assert Counter(found.values()) == {"unsafe_path": 5, "song_or_video": 1}
    assert result.report["clips"] == 4
    kept = {path: digest for path, digest in contents(tmp_path).items() if not path.startswith("nest/out/")}
    assert kept == before


def test_a_damaged_zip_member_is_listed_and_a_damaged_zip_refused(savee, tmp_path):
    archive = tmp_path / "savee.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(savee.rglob("*.wav")):
            opened.write(path, f"{path.parent.name}_{path.name}")
    damaged = bytearray(archive.read_bytes())
    damaged[200] ^= 0xFF
    archive.write_bytes(damaged)
    report = build_dataset(out=tmp_path / "out", savee=archive).report
    assert [(entry["file"], entry["reason"]) for entry in report["rejected"]] == [("DC_a01.wav", "unreadable")]
    archive.write_bytes(bytes(damaged[:-100]))
    with pytest.raises(InputError, match="not a zip file, or truncated"):
        build_dataset(out=tmp_path / "other", savee=archive)
    assert not (tmp_path / "other").exists()


def test_a_subset_builds_and_strict_makes_any_finding_an_error(savee, tmp_path):
    result = build_dataset(out=tmp_path / "fine", savee=savee, strict=True)
    assert {row["clip_id"] for row in rows_of(result.folder)} == {f"savee/{it}_a01" for it in ("DC", "JE", "JK", "KL")}
    assert "speaker_independent" in result.report["protocols"]
    assert "leave_out_ravdess" in result.report["protocols_left_out"]
    assert front_matter(result.folder)["license"] == "other"
    (savee / "DC/a02.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"savee/DC/a02.wav: lfs_pointer .* 1 findings in all"):
        build_dataset(out=tmp_path / "out", savee=savee, strict=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fine", "in"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "no data is given"),
        ({"savee": "in", "label_scheme": "vote"}, "label_scheme 'vote' is unknown"),
        ({"savee": "in", "label_scheme": "voice_vote"}, "need CREMA-D"),
        ({"savee": "in", "num_proc": 0}, "num_proc is 0"),
        ({"crema_d": "in", "votes": "absent"}, "absent: no tabulatedVotes.csv there"),
        ({"savee": "absent"}, "does not exist"),
        ({"tess": "in"}, "no clip of tess"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(savee, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        build_dataset(out="out", **arguments)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_votes_are_found_beside_the_audio_and_make_labels(tmp_path):
    header = '"","A","D","F","H","N","S","fileName"'
    names = [f"{speaker}_DFA_ANG_XX" for speaker in range(1001, 1092)]
    rows = [f'"{way}0000{k}",1,0,0,0,9,0,"{name}"' for way in (1, 2, 3) for k, name in enumerate(names)]
    (tmp_path / "CREMA-D/processedResults").mkdir(parents=True)
    (tmp_path / "CREMA-D/processedResults/tabulatedVotes.csv").write_text("\n".join([header, *rows]))
    for seed, name in enumerate(names):
        write_wav(tmp_path / f"CREMA-D/AudioWAV/{name}.wav", noise(seed, 100))
    for place in ("CREMA-D", "CREMA-D/AudioWAV"):
        out = tmp_path / f"out_{place.count('/')}"
        result = build_dataset(out=out, crema_d=tmp_path / place, label_scheme="voice_vote")
        row = rows_of(result.folder)[0]
        assert EMOTIONS[row["emotion"]] == "neutral"
        assert row["voice_votes"] == {"angry": 1, "disgust": 0, "fear": 0, "happy": 0, "neutral": 9, "sad": 0}
        assert result.report["counts"]["crema_d"]["neutral"] == 91
        assert "those that most people heard" in (out / "README.md").read_text()
    shutil.rmtree(tmp_path / "CREMA-D/processedResults")
    with pytest.raises(InputError, match="needs CREMA-D's votes"):
        build_dataset(out=tmp_path / "out", crema_d=tmp_path / "CREMA-D", label_scheme="voice_vote")


@pytest.mark.shared
def test_table_2_exactly_over_the_manifest(shared):
    from hf_ser.dataset.collection import Collection
    from hf_ser.dataset.data_card import render_report, report

    rows = pandas.read_csv(shared / "manifest.csv.gz")
    clips = pandas.DataFrame([parse(path) for path in rows["path"]])
    clips = clips.assign(duration=rows["frames"] / rows["sampling_rate"], provenance="original", flags=[{}] * len(rows))
    collection = Collection(tuple(FOUR), clips.assign(file=rows["path"]), (), "intended")
    facts = report(collection, list(PROTOCOLS), {})
    assert facts["counts"] == facts["table_2"]
    assert (facts["clips"], facts["missing"], facts["hours"]) == (12_162, [], 8.847)
    assert " of " not in render_report(facts).split("## Provenance")[0].split("Table 2")[1]


def test_command_line_builds_prints_and_fails_in_one_line(savee, tmp_path, capsys):
    assert main(["build", "--savee", str(savee), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "savee         4 of 480 clips (4 unknown)" in printed
    assert "rejected 0, flagged 0" in printed
    assert main(["build", "--savee", str(savee), "--out", str(tmp_path / "out"), "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 4
    assert main(["build", "--savee", str(savee), "--out", str(tmp_path / "out")]) == 2
    assert "contains an earlier build" in capsys.readouterr().err
    assert main(["build", "--savee", str(savee), "--out", str(tmp_path / "x"), "--public"]) == 2
    assert "--push-to" in capsys.readouterr().err
