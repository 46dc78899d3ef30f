"""Folders as they are found in the wild: which file of a clip is kept, and what is said of the others."""

import shutil
from collections import Counter

import numpy as np
import pytest

from dataset_files import FOUR, noise, write_wav
from hf_ser.dataset.collection import collect
from hf_ser.errors import InputError


def rejected(collection) -> dict[str, str]:
    return {finding.file: finding.reason for finding in collection.rejected}


def reasons(collection) -> Counter:
    return Counter(finding.reason for finding in [*collection.rejected, *collection.flagged])


def test_a_nested_second_copy_is_rejected_and_the_shallow_one_kept(tmp_path):
    first = write_wav(tmp_path / "OAF_back/OAF_back_ps.wav", noise(1))
    second = tmp_path / "TESS Toronto emotional speech set data/OAF_back/OAF_back_ps.wav"
    second.parent.mkdir(parents=True)
    shutil.copy(first, second)
    write_wav(tmp_path / "x/y/OAF_back_ps.wav", noise(2))
    collection = collect({"tess": tmp_path})
    assert list(collection.clips["file"]) == ["OAF_back/OAF_back_ps.wav"]
    details = {finding.file: finding.detail for finding in collection.rejected}
    assert set(rejected(collection).values()) == {"second_copy"}
    assert "the same bytes" in details["TESS Toronto emotional speech set data/OAF_back/OAF_back_ps.wav"]
    assert "other bytes" in details["x/y/OAF_back_ps.wav"]


@pytest.mark.shared
def test_the_original_is_kept_before_a_trimmed_copy_in_a_better_place(shared, tmp_path):
    published = shared / "originals/CREMA-D/AudioWAV/1007_ITS_SAD_XX.wav"
    (tmp_path / "a/b").mkdir(parents=True)
    shutil.copy(published, tmp_path / "a/b")
    write_wav(tmp_path / published.name, noise(1))
    collection = collect({"crema_d": tmp_path})
    assert collection.clips[["file", "provenance"]].values.tolist() == [["a/b/1007_ITS_SAD_XX.wav", "original"]]
    assert rejected(collection) == {"1007_ITS_SAD_XX.wav": "second_copy"}


def test_songs_videos_and_foreign_recordings_are_said_once(tmp_path):
    write_wav(tmp_path / "Actor_01/03-01-01-01-01-01-01.wav", noise(1))
    write_wav(tmp_path / "Actor_01/03-02-01-01-01-01-01.wav", noise(2))
    write_wav(tmp_path / "Actor_01/01-01-01-01-01-01-01.wav", noise(3))
    (tmp_path / "Actor_01/01-01-02-01-01-01-01.mp4").touch()
    write_wav(tmp_path / "my_voice.wav", noise(4))
    write_wav(tmp_path / "1001_DFA_ANG_XX.wav", noise(5))
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "__MACOSX").mkdir()
    write_wav(tmp_path / "__MACOSX/03-01-02-01-01-01-01.wav", noise(6))
    collection = collect({"ravdess": tmp_path})
    assert rejected(collection) == {
        "Actor_01/03-02-01-01-01-01-01.wav": "song_or_video",
        "Actor_01/01-01-01-01-01-01-01.wav": "song_or_video",
        "Actor_01/01-01-02-01-01-01-01.mp4": "song_or_video",
        "my_voice.wav": "not_a_clip",
        "1001_DFA_ANG_XX.wav": "other_corpus",
    }
    both = collect({"ravdess": tmp_path, "crema_d": tmp_path})
    assert Counter(rejected(both).values()) == {"song_or_video": 3, "not_a_clip": 1}
    assert len(both.rejected) == 4
    assert list(both.clips["corpus"]) == ["crema_d", "ravdess"]


def test_identical_samples_are_flagged_and_kept(tmp_path):
    write_wav(tmp_path / "1001_DFA_ANG_XX.wav", noise(1))
    write_wav(tmp_path / "1001_DFA_SAD_XX.wav", noise(1))
    write_wav(tmp_path / "1001_IEO_HAP_LO.wav", noise(2))
    write_wav(tmp_path / "1001_IEO_HAP_HI.wav", noise(2))
    write_wav(tmp_path / "1001_IEO_NEU_XX.wav", np.zeros(800))
    collection = collect({"crema_d": tmp_path})
    assert {file[:-4]: list(flags) for file, flags in collection.clips[["file", "flags"]].values} == {
        "1001_DFA_ANG_XX": ["identical_samples_two_labels"],
        "1001_DFA_SAD_XX": ["identical_samples_two_labels"],
        "1001_IEO_HAP_HI": ["identical_samples_one_label"],
        "1001_IEO_HAP_LO": ["identical_samples_one_label"],
        "1001_IEO_NEU_XX": ["all_zeros"],
    }
    assert len(collection.flagged) == 5


@pytest.mark.shared
def test_a_contradictory_original_is_flagged_without_its_twin(shared, tmp_path):
    shutil.copy(shared / "originals/CREMA-D/AudioWAV/1017_IWW_ANG_XX.wav", tmp_path)
    (flags,) = collect({"crema_d": tmp_path}).clips["flags"]
    assert flags == {"identical_samples_two_labels": "same samples as crema_d/1017_IWW_FEA_XX (fear)"}


@pytest.mark.shared
def test_the_44_originals_are_classified(shared):
    collection = collect(dict.fromkeys(FOUR, shared / "originals"))
    assert collection.rejected == ()
    assert set(collection.clips["provenance"]) == {"original"}
    assert reasons(collection) == {
        "clipped": 5,
        "all_zeros": 1,
        "misnamed": 1,
        "identical_samples_one_label": 2,
        "identical_samples_two_labels": 2,
    }


def votes(**voice: int) -> dict:
    counts = dict.fromkeys(("angry", "disgust", "fear", "happy", "neutral", "sad"), 0)
    return {"voice_votes": counts | voice, "face_votes": counts, "multimodal_votes": counts | {"sad": 1}}


def test_labels_by_vote_reject_ties_and_clips_without_votes_in_the_open(tmp_path):
    for seed, sentence in enumerate(("DFA", "IOM", "TAI")):
        write_wav(tmp_path / f"1001_{sentence}_ANG_XX.wav", noise(seed))
    known = {"crema_d/1001_DFA_ANG_XX": votes(neutral=4, angry=3), "crema_d/1001_IOM_ANG_XX": votes(sad=3, angry=3)}
    voiced = collect({"crema_d": tmp_path}, label_scheme="voice_vote", votes=known)
    assert voiced.clips[["file", "emotion"]].values.tolist() == [["1001_DFA_ANG_XX.wav", "neutral"]]
    assert rejected(voiced) == {"1001_IOM_ANG_XX.wav": "vote_tie", "1001_TAI_ANG_XX.wav": "no_votes"}
    assert "angry 3, sad 3" in next(it.detail for it in voiced.rejected if it.reason == "vote_tie")
    seen = collect({"crema_d": tmp_path}, label_scheme="multimodal_vote", votes=known)
    assert list(seen.clips["emotion"]) == ["sad", "sad"]
    intended = collect({"crema_d": tmp_path}, votes=known)
    assert list(intended.clips["voice_votes"].isna()) == [False, False, True]


def test_a_folder_without_the_corpus_is_an_input_error(tmp_path):
    write_wav(tmp_path / "1001_DFA_ANG_XX.wav", noise(1))
    with pytest.raises(InputError, match=r"holds no clip of savee; .* such as DC_a01.wav"):
        collect({"savee": tmp_path})
    with pytest.raises(InputError, match="does not exist"):
        collect({"savee": tmp_path / "absent"})
