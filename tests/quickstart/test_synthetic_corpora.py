"""The miniature is read and split like the four corpora, and says that it is synthetic."""

from collections import Counter

import numpy as np
import pytest
import soundfile

from dataset_files import FOUR, assign
from hf_ser.corpora import CORPORA, discover
from hf_ser.dataset.splits import PARTS
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.quickstart.corpora import write_synthetic_corpora
from hf_ser.quickstart.voice import synthesise


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart") / "corpora"
    state = np.random.get_state()[1].copy()
    counts = write_synthetic_corpora(folder)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    return folder, counts


@pytest.fixture(scope="module")
def found(miniature):
    return [
        (path, clip, assign(clip.corpus, clip.speaker, clip.clip_id)) for path, clip in discover(miniature[0]).found
    ]


def test_every_clip_is_found_and_none_is_reported(miniature, found):
    folder, counts = miniature
    discovery = discover(folder)
    assert not discovery.ignored
    assert all(len(copies) == 1 for copies in discovery.copies.values())
    assert Counter(clip.corpus for _, clip, _ in found) == counts
    assert len(list(folder.rglob("*.wav"))) == len(found)
    for name, corpus in FOUR.items():
        assert {clip.emotion for _, clip, _ in found if clip.corpus == name} == set(corpus.counts)
    text = (folder / "SYNTHETIC.txt").read_text()
    assert text.startswith("SYNTHETIC AUDIO")
    assert f"of the {len(found)} clips contains a recording" in text


@pytest.mark.parametrize(
    "path",
    [
        "ravdess/Actor_01/03-01-01-01-01-01-01.wav",
        "crema_d/AudioWAV/1001_IEO_ANG_HI.wav",
        "tess/OAF_angry/OAF_back_angry.wav",
        "tess/OAF_Pleasant_surprise/OAF_back_ps.wav",
        "savee/AudioData/DC/a01.wav",
    ],
)
def test_layouts_are_the_published_ones(miniature, path):
    assert (miniature[0] / path).is_file()


def test_every_part_has_every_label_and_both_sexes(found):
    for part in PARTS:
        inside = [clip for _, clip, where in found if where == part]
        assert {clip.emotion for clip in inside} == set(EMOTIONS)
        for corpus in ("ravdess", "crema_d"):
            assert {clip.sex for clip in inside if clip.corpus == corpus} == {"female", "male"}
        assert "savee" in {clip.corpus for clip in inside}
    assert {clip.speaker for _, clip, _ in found if clip.corpus == "tess"} == set(CORPORA["tess"].speakers)
    assert {clip.speaker for _, clip, _ in found if clip.corpus == "savee"} == set(CORPORA["savee"].speakers)


def test_audio_has_the_format_of_each_corpus(found):
    rates = {"ravdess": 48_000, "crema_d": 16_000, "tess": 24_414, "savee": 44_100}
    for path, clip, _ in found:
        facts = soundfile.info(path)
        assert (facts.samplerate, facts.channels, facts.subtype) == (rates[clip.corpus], 1, "PCM_16")
        assert 0.75 <= facts.duration <= 1.65


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.wav").write_bytes(b"mine")
    for folder in (tmp_path, tmp_path / "mine.wav"):
        with pytest.raises(InputError, match="is not an empty folder"):
            write_synthetic_corpora(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.wav"]


# --- the voice ---


def clips(emotion, sex="male", count=8, text="a text"):
    for seed in range(count):
        yield synthesise(emotion, sex, text, np.random.default_rng(1000 + seed), np.random.default_rng(seed))


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_clip_is_finite_and_depends_on_its_generators_alone(emotion):
    first, second = clips(emotion, count=2)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert 0.01 < np.abs(first).max() <= 1.0
    np.testing.assert_array_equal(first, next(clips(emotion)))
    length = min(len(first), len(second))
    assert not np.allclose(first[:length], second[:length])
    other = next(clips(emotion, text="another text"))
    assert not np.allclose(first, other)
