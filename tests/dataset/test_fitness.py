"""What training leaves out, of built data sets and of plain folders, and which split a data set is opened with."""

import shutil

import numpy as np
import pytest

from dataset_files import noise, write_wav
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.source import open_dataset
from hf_ser.dataset.splits import PROTOCOLS, split


@pytest.fixture(scope="module")
def faulty(small_corpora, tmp_path_factory):
    """The small corpora with a silent, a nearly silent and two contradictory clips of training speakers, and a
    silent one of a tested speaker."""
    root = shutil.copytree(small_corpora, tmp_path_factory.mktemp("faulty") / "corpora")
    write_wav(root / "TESS/x/OAF_bar_sad.wav", np.zeros(500))
    write_wav(root / "TESS/x/OAF_base_sad.wav", np.tile([2, -2], 250))
    write_wav(root / "TESS/x/OAF_bath_sad.wav", noise(7777))
    write_wav(root / "TESS/x/OAF_bath_ps.wav", noise(7777))
    write_wav(root / "TESS/x/YAF_bar_sad.wav", np.zeros(600))
    return root


@pytest.fixture(scope="module")
def faulty_build(faulty, tmp_path_factory):
    folders = {"ravdess": "RAVDESS", "crema_d": "CREMA-D", "tess": "TESS", "savee": "SAVEE"}
    given = {name: faulty / folder for name, folder in folders.items()}
    return build_dataset(out=tmp_path_factory.mktemp("faulty") / "out", **given).folder


def test_training_leaves_flagged_clips_out_and_says_how_many(faulty_build, caplog):
    source = open_dataset(faulty_build)
    assert source.left_out == {"all_zeros": 1, "identical_samples_two_labels": 2, "near_silent": 1}
    assert "4 clips are left out of training" in caplog.text
    kept = {part: set(rows["clip_id"]) for part, rows in source.parts.items()}
    gone = {"tess/OAF_bar_sad", "tess/OAF_base_sad", "tess/OAF_bath_sad", "tess/OAF_bath_ps"}
    assert not gone & set.union(*kept.values())
    # What is tested stays as it is: leaving a clip out there would flatter the score.
    assert "tess/YAF_bar_sad" in kept["test"]


def test_a_plain_folder_loses_equal_files_with_two_labels(faulty):
    source = open_dataset(faulty)
    assert source.left_out == {"all_zeros": 1, "identical_samples_two_labels": 2, "near_silent": 1}


@pytest.mark.shared
def test_published_faults_are_known_without_decoding_all(shared, faulty, tmp_path):
    root = shutil.copytree(faulty, tmp_path / "corpora")
    published = shared / "originals/CREMA-D/AudioWAV"
    shutil.copy(published / "1076_MTI_SAD_XX.wav", root)
    shutil.copy(published / "1017_IWW_ANG_XX.wav", root)
    write_wav(root / "1006_TIE_HAP_XX.wav", noise(3))
    left_out = open_dataset(root, "leave_out_tess").left_out
    assert left_out == {"all_zeros": 1, "identical_samples_two_labels": 1}


@pytest.mark.parametrize("protocol", ["speaker_independent", "fold_2", "leave_out_savee"])
def test_a_built_data_set_is_split_as_its_corpora_are(built, small_corpora, protocol):
    from_folder, from_corpora = open_dataset(built, protocol), open_dataset(small_corpora, protocol)
    assert from_folder.protocol == from_corpora.protocol == protocol
    for part in ("train", "validation", "test"):
        assert sorted(from_folder.parts[part]["clip_id"]) == sorted(from_corpora.parts[part]["clip_id"])
    assert from_folder.fingerprint == from_corpora.fingerprint
    assert from_folder.proof.speaker_disjoint


def test_without_a_configuration_the_whole_is_split_or_the_protocol_is_not_claimed(built, tmp_path):
    import pandas

    copy = shutil.copytree(built, tmp_path / "copy")
    card = (copy / "README.md").read_text()
    (copy / "README.md").write_text(card.replace("config_name: fold_2", "config_name: another"))
    source = open_dataset(copy, "fold_2")
    whole = pandas.concat([pandas.DataFrame(rows.remove_columns("audio")) for rows in source.parts.values()])
    parts = split({name: list(whole[name]) for name in ("corpus", "speaker", "clip_id")}, "fold_2")
    assert source.protocol == "fold_2"
    assert {part: len(rows) for part, rows in parts.items()} == {part: len(rows) for part, rows in source.parts.items()}
    (copy / "README.md").unlink()
    foreign = tmp_path / "foreign/data"
    foreign.mkdir(parents=True)
    for part, file in (("train", "train"), ("validation", "validation"), ("test", "test")):
        path = next(path for path in (built / "data").glob(f"crema_d-{part}-*"))
        shutil.copy(path, foreign / f"{file}-00000-of-00001.parquet")
    assert open_dataset(foreign.parent).protocol == "given"
    assert "fold_2" in PROTOCOLS
