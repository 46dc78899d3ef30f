"""The four corpora together: counts, speakers, descriptions, and that no name whatever breaks `parse`."""

import random
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import PurePosixPath

import pytest

from hf_ser.corpora import CORPORA, Clip, parse
from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.labels import EMOTIONS

TABLE_2 = {
    "ravdess": {
        "angry": 192,
        "calm": 192,
        "disgust": 192,
        "fear": 192,
        "happy": 192,
        "neutral": 96,
        "sad": 192,
        "surprise": 192,
    },
    "crema_d": {"angry": 1271, "disgust": 1271, "fear": 1271, "happy": 1271, "neutral": 1087, "sad": 1271},
    "tess": dict.fromkeys(("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"), 400),
    "savee": {
        "angry": 60,
        "disgust": 60,
        "fear": 60,
        "happy": 60,
        "neutral": 120,
        "sad": 60,
        "surprise": 60,
    },
}


def test_order_and_table_2():
    assert list(CORPORA) == ["ravdess", "crema_d", "tess", "savee"]
    assert {name: corpus.counts for name, corpus in CORPORA.items()} == TABLE_2
    assert sum(sum(corpus.counts.values()) for corpus in CORPORA.values()) == 12_162


@pytest.mark.parametrize("name", CORPORA)
def test_published_names_give_table_2(name, published_names):
    clips = [parse(path) for path in published_names[name]]
    assert None not in clips
    assert Counter(clip.emotion for clip in clips) == TABLE_2[name]
    assert {clip.corpus for clip in clips} == {name}
    assert len({clip.clip_id for clip in clips}) == len(clips)
    assert {clip.speaker for clip in clips} == set(CORPORA[name].speakers)
    assert {clip.sentence for clip in clips} == set(CORPORA[name].sentences)
    for path, clip in zip(published_names[name], clips, strict=True):
        assert clip.clip_id == f"{name}/{PurePosixPath(path).stem}"
        speaker = CORPORA[name].speakers[clip.speaker]
        assert (clip.sex, clip.age) == (speaker.sex, speaker.age)


def test_speakers():
    assert {name: len(corpus.speakers) for name, corpus in CORPORA.items()} == {
        "ravdess": 24,
        "crema_d": 91,
        "tess": 2,
        "savee": 4,
    }
    speakers = [speaker for corpus in CORPORA.values() for speaker in corpus.speakers]
    assert len(set(speakers)) == 121
    assert {s.sex for s in CORPORA["savee"].speakers.values()} == {"male"}
    assert {k: (s.sex, s.age) for k, s in CORPORA["tess"].speakers.items()} == {
        "tess_OAF": ("female", 64),
        "tess_YAF": ("female", 26),
    }


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_description(corpus):
    assert set(corpus.counts) <= set(EMOTIONS)
    assert list(corpus.counts) == sorted(corpus.counts)
    assert corpus.citation.startswith("@")
    assert corpus.citation.count("{") == corpus.citation.count("}")
    assert corpus.homepage.startswith("http")
    assert all(corpus.parse(example) for example in corpus.examples)


def test_licences():
    assert {name: corpus.licence.id for name, corpus in CORPORA.items()} == {
        "ravdess": "cc-by-nc-sa-4.0",
        "crema_d": "odbl",
        "tess": "cc-by-nc-nd-4.0",
        "savee": "other",
    }
    assert [n for n, corpus in CORPORA.items() if not corpus.licence.redistribution] == ["tess", "savee"]
    assert [n for n, corpus in CORPORA.items() if not corpus.licence.non_commercial] == ["crema_d"]


@pytest.mark.parametrize("extension", sorted(AUDIO_EXTENSIONS))
def test_every_audio_extension(extension):
    assert parse(f"OAF_back_ps{extension}") == parse(f"OAF_back_ps{extension.upper()}")
    assert isinstance(parse(f"OAF_back_ps{extension}"), Clip)


@pytest.mark.parametrize("path", ["", ".", "..", "/", ".wav", "a.wav", "DC/", "\x00.wav", "\udcff.wav", "a" * 9999])
def test_odd_paths(path):
    assert parse(path) is None


def test_random_names_never_crash_and_clips_are_canonical(published_names):
    generator = random.Random(20)
    names = [name for group in published_names.values() for name in generator.sample(group, 200)]
    alphabet = "0123456789-_./ aAdDfFhHnNsSuUpPxXOAFYKk" + "\n\x00\\٣\u212a\u017f😀\udc80"
    clips = 0
    for name in names:
        for _ in range(10):
            letters = list(name)
            for _ in range(generator.randint(1, 3)):
                place = generator.randrange(len(letters) + 1)
                letters[place : place + generator.randint(0, 2)] = generator.choices(
                    alphabet, k=generator.randint(0, 2)
                )
            clip = parse("".join(letters))
            if clip is not None:
                clips += 1
                assert parse(f"{clip.clip_id}.wav") == clip
                assert clip.emotion in CORPORA[clip.corpus].counts
                assert clip.speaker in CORPORA[clip.corpus].speakers
                assert clip.sentence in CORPORA[clip.corpus].sentences
    # Some mutants are clips still, most are not: otherwise the sweep would show nothing.
    assert 100 < clips < 4000


def test_clips_are_values():
    clip = parse("DC_a01.wav")
    assert hash(clip) == hash(parse("DC/a01.flac"))
    with pytest.raises(FrozenInstanceError):
        clip.emotion = "happy"


def test_import_takes_the_standard_library_only():
    program = (
        "import sys; before = set(sys.modules); import hf_ser.corpora; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(finished.stdout.split())
    assert "hf_ser" in imported
    assert imported - set(sys.stdlib_module_names) == {"hf_ser"}
