import pytest

from hf_ser.corpora import Clip, parse
from hf_ser.corpora.crema_d import CREMA_D

CLIP = Clip(
    corpus="crema_d",
    clip_id="crema_d/1040_ITH_SAD_XX",
    speaker="crema_d_1040",
    sex="male",
    age=42,
    emotion="sad",
    sentence="ITH",
    intensity="unspecified",
)


@pytest.mark.parametrize(
    "path",
    [
        "AudioWAV/1040_ITH_SAD_XX.wav",
        "cremad/AudioWAV/1040_ITH_SAD_XX.wav",
        "data/CREMA-D/1040_ITH_SAD_XX.wav",
        "CremaTrain/1040_ITH_SAD_XX.wav",
        "data/AudioWAV/train/1040_ITH_SAD_XX.wav",
        "CREMA/data/split_1/1040_ITH_SAD_XX.wav",
        "Crema/1040_ITH_SAD_XX.wav",
        "AudioMP3/1040_ITH_SAD_XX.mp3",
        # The misnamed file of many copies.
        "Crema/1040_ITH_SAD_X.wav",
        # Folders with underscores break the widespread path.split("_")[2].
        "crema_d/audio_wav/1040_ITH_SAD_XX.wav",
        "tess_OAF_angry/03-01-02-01-01-02-01/1040_ITH_SAD_XX.wav",
        "1040_ith_sad_xx.WAV",
    ],
)
def test_layouts(path):
    assert parse(path) == CLIP


@pytest.mark.parametrize(
    ("code", "emotion"),
    [
        ("ANG", "angry"),
        ("DIS", "disgust"),
        ("FEA", "fear"),
        ("HAP", "happy"),
        ("NEU", "neutral"),
        ("SAD", "sad"),
    ],
)
def test_emotions(code, emotion):
    assert parse(f"1001_DFA_{code}_XX.wav").emotion == emotion


@pytest.mark.parametrize(
    ("level", "intensity"), [("LO", "low"), ("MD", "medium"), ("HI", "high"), ("XX", "unspecified")]
)
def test_intensities(level, intensity):
    assert parse(f"1001_IEO_ANG_{level}.wav").intensity == intensity


def test_sentence_words():
    assert CREMA_D.sentences[parse("1001_WSI_FEA_XX.wav").sentence] == "We'll stop in a couple of minutes"


def test_demographics():
    assert list(CREMA_D.speakers) == [f"crema_d_{number}" for number in range(1001, 1092)]
    ages = [speaker.age for speaker in CREMA_D.speakers.values()]
    sexes = [speaker.sex for speaker in CREMA_D.speakers.values()]
    assert (min(ages), max(ages), round(sum(ages) / len(ages), 1)) == (20, 74, 36.4)
    assert (sexes.count("male"), sexes.count("female")) == (48, 43)
    # The first, the oldest and the last, so that a shifted list shows.
    ends = [CREMA_D.speakers[f"crema_d_{number}"] for number in (1001, 1002, 1034, 1091)]
    assert [(speaker.sex, speaker.age) for speaker in ends] == [
        ("male", 51),
        ("female", 21),
        ("male", 74),
        ("female", 29),
    ]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("1000_ITH_SAD_XX.wav", "CREMA-D has no speaker 1000"),
        ("1092_ITH_SAD_XX.wav", "CREMA-D has no speaker 1092"),
        ("1040_ABC_SAD_XX.wav", "CREMA-D has no sentence ABC"),
        ("1040_ITH_SUR_XX.wav", "CREMA-D has no emotion SUR"),
        ("1040_ITH_SAD_ZZ.wav", "CREMA-D has no emotion level ZZ"),
        ("1040_ITH_SAD_L.wav", "CREMA-D has no emotion level L"),
    ],
)
def test_no_clip_with_reason(path, reason):
    assert parse(path) is None
    assert CREMA_D.classify(path) == reason


@pytest.mark.parametrize(
    "path",
    [
        "1040_ITH_SAD.wav",
        "1040_ITH_SAD_XX_noise.wav",
        "1040_ITH_SAD_XX (1).wav",
        "1040-ITH-SAD-XX.wav",
        "._1040_ITH_SAD_XX.wav",
        # Kelvin sign and long s, which case folding would take for K and s.
        "1040_ITH_\u017fAD_XX.wav",
        "1040_ITH_SAD_XX\n.wav",
    ],
)
def test_other_schemes(path):
    assert parse(path) is None
    assert CREMA_D.classify(path) is None
