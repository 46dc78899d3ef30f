"""The miniature reads like the four corpora, says that it is none, and splits like them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_ser.audio.collate import Collator
from hf_ser.audio.decode import decode
from hf_ser.corpora import CORPORA, discover
from hf_ser.dataset.splits import PARTS, assign
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.quickstart.corpora import choose_speakers, write_synthetic_corpora
from hf_ser.quickstart.encoder import write_tiny_encoder


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart") / "corpora"
    write_synthetic_corpora(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.wav")}


def part_of(clip):
    return assign(clip.corpus, clip.speaker, clip.clip_id)


def test_every_clip_is_found_and_nothing_is_odd(miniature):
    discovery = discover(miniature)
    assert not discovery.ignored
    assert not discovery.duplicates
    assert len(discovery.found) == len(contents(miniature))
    assert 400 <= len(discovery.found) <= 600
    counts = Counter((clip.corpus, clip.emotion) for _, clip in discovery.found)
    for name, corpus in CORPORA.items():
        assert {emotion for found, emotion in counts if found == name} == set(corpus.counts)


def test_layouts_are_the_published_ones(miniature):
    for pattern in (
        "ravdess/Actor_01/03-01-0?-0?-0?-0?-01.wav",
        "crema_d/AudioWAV/1001_IEO_ANG_HI.wav",
        "tess/OAF_angry/OAF_back_angry.wav",
        "tess/OAF_Pleasant_surprise/OAF_back_ps.wav",
        "savee/AudioData/DC/a01.wav",
    ):
        assert list(miniature.glob(pattern)), pattern


def test_every_part_has_every_label_and_no_speaker_is_in_two(miniature):
    clips = [clip for _, clip in discover(miniature).found]
    for part in PARTS:
        inside = [clip for clip in clips if part_of(clip) == part]
        assert {clip.emotion for clip in inside} == set(EMOTIONS)
        assert {clip.sex for clip in inside if clip.corpus == "ravdess"} == {"female", "male"}
        assert {clip.sex for clip in inside if clip.corpus == "crema_d"} == {"female", "male"}
        assert {clip.corpus for clip in inside} >= {"ravdess", "crema_d", "savee"}
    parts_of_speaker = {
        clip.speaker: {part_of(other) for other in clips if other.speaker == clip.speaker} for clip in clips
    }
    assert {len(parts) for parts in parts_of_speaker.values()} == {1}


def test_audio_is_of_each_corpus_kind(miniature):
    rates = {"ravdess": 48_000, "crema_d": 16_000, "tess": 24_414, "savee": 44_100}
    for path, clip in discover(miniature).found:
        facts = soundfile.info(path)
        assert (facts.samplerate, facts.channels, facts.subtype) == (rates[clip.corpus], 1, "PCM_16")
        assert 0.8 <= facts.duration <= 1.6
    path = next(path for path, clip in discover(miniature).found if clip.corpus == "tess")
    samples = decode(path)
    assert 0.001 < np.sqrt(np.mean(samples**2)) < 0.4
    assert abs(samples.mean()) < 0.01


def test_it_says_what_it_is(miniature):
    text = (miniature / "SYNTHETIC.txt").read_text()
    assert text.startswith("SYNTHETIC AUDIO")
    assert "evidence of nothing" in text
    assert f"{len(contents(miniature))} clips" in text


def test_a_clip_depends_on_the_seed_and_its_name_alone(miniature, tmp_path):
    write_synthetic_corpora(tmp_path / "same", speakers={"savee": ["savee_JK", "savee_DC"]})
    write_synthetic_corpora(tmp_path / "other", seed=1, speakers={"savee": ["savee_DC"]})
    everything, same, other = contents(miniature), contents(tmp_path / "same"), contents(tmp_path / "other")
    assert len(same) == 42
    assert all(everything[name] == content for name, content in same.items())
    assert len(other) == 21
    assert all(everything[name] != content for name, content in other.items())


def test_writing_changes_no_global_generator(tmp_path):
    before = np.random.get_state()
    write_synthetic_corpora(tmp_path / "mini", speakers={"savee": ["savee_DC"]})
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_speakers_are_chosen_by_the_split():
    chosen = choose_speakers()
    assert list(chosen) == ["ravdess", "crema_d", "tess", "savee"]
    for name in ("ravdess", "crema_d"):
        places = Counter(
            (assign(name, speaker, "", "speaker_independent"), CORPORA[name].speakers[speaker].sex)
            for speaker in chosen[name]
        )
        assert places == {
            (part, sex): count
            for part, count in (("train", 2), ("validation", 1), ("test", 1))
            for sex in ("female", "male")
        }
    assert set(chosen["tess"]) == set(CORPORA["tess"].speakers)
    assert set(chosen["savee"]) == set(CORPORA["savee"].speakers)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.wav").write_bytes(b"mine")
    with pytest.raises(InputError, match="is not an empty folder"):
        write_synthetic_corpora(tmp_path)
    with pytest.raises(InputError, match="is not an empty folder"):
        write_synthetic_corpora(tmp_path / "mine.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.wav"]


@pytest.mark.parametrize("speakers", [{"emodb": ["03"]}, {"savee": ["savee_XX"]}, {"savee": ["tess_OAF"]}])
def test_unknown_speakers_leave_nothing_behind(tmp_path, speakers):
    with pytest.raises(InputError, match=r"'(emodb|savee_XX|tess_OAF)' is (unknown|not of corpus)"):
        write_synthetic_corpora(tmp_path / "mini", speakers=speakers)
    assert not (tmp_path / "mini").exists()


def test_a_linear_probe_beats_chance_but_is_far_from_perfect(tmp_path, miniature):
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from transformers import AutoFeatureExtractor, AutoModel

    folder = write_tiny_encoder(tmp_path / "tiny")
    model = AutoModel.from_pretrained(folder).eval()
    collate = Collator(AutoFeatureExtractor.from_pretrained(folder), model.config, training=False)
    found = discover(miniature).found
    features = []
    with torch.no_grad():
        for start in range(0, len(found), 32):
            batch = collate([{"samples": decode(path)} for path, _ in found[start : start + 32]])
            frames = model(**batch).last_hidden_state
            mask = model._get_feature_vector_attention_mask(frames.shape[1], batch["attention_mask"])[..., None]
            features.append(((frames * mask).sum(dim=1) / mask.sum(dim=1)).numpy())
    features = np.concatenate(features)
    labels = np.array([clip.emotion for _, clip in found])
    trains = np.array([assign(clip.corpus, clip.speaker, clip.clip_id) == "train" for _, clip in found])
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    probe.fit(features[trains], labels[trains])
    uar = recall_score(labels[~trains], probe.predict(features[~trains]), average="macro")
    # Chance is 0.125.
    assert 0.3 < uar < 0.8
