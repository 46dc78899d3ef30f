import pytest

from hf_ser.corpora import Clip, parse
from hf_ser.corpora.savee import SAVEE

CLIP = Clip(
    corpus="savee",
    clip_id="savee/DC_a01",
    speaker="savee_DC",
    sex="male",
    age=None,
    emotion="angry",
    sentence="a01",
    intensity="unspecified",
)


@pytest.mark.parametrize(
    "path",
    [
        "AudioData/DC/a01.wav",
        "data/SAVEE/DC/a01.wav",
        "/DC/a01.wav",
        "SAVEE/raw/ALL/DC_a01.wav",
        "ALL/DC_a01.wav",
        "savee/DC_a01.wav",
        "DC_a01.wav",
        "dc_A01.WAV",
        "dc/A01.wav",
        # The file's own speaker counts, not the folder's.
        "AudioData/KL/DC_a01.wav",
    ],
)
def test_layouts(path):
    assert parse(path) == CLIP


def test_one_name_of_four_speakers():
    clips = [parse(f"AudioData/{speaker}/a01.wav") for speaker in ("DC", "JE", "JK", "KL")]
    assert len({clip.clip_id for clip in clips}) == 4


@pytest.mark.parametrize(
    ("code", "emotion"),
    [
        ("a", "angry"),
        ("d", "disgust"),
        ("f", "fear"),
        ("h", "happy"),
        ("n", "neutral"),
        ("sa", "sad"),
        ("su", "surprise"),
    ],
)
@pytest.mark.parametrize("pattern", ["AudioData/JK/{}15.wav", "ALL/JK_{}15.wav"])
def test_emotions(pattern, code, emotion):
    clip = parse(pattern.format(code))
    assert (clip.emotion, clip.sentence, clip.clip_id) == (emotion, f"{code}15", f"savee/JK_{code}15")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a01.wav", "a SAVEE name without its speaker: the folder is '', not DC, JE, JK or KL"),
        (
            "recordings/n01.wav",
            "a SAVEE name without its speaker: the folder is 'recordings', not DC, JE, JK or KL",
        ),
        ("DC_a00.wav", "SAVEE has no sentence a00"),
        ("DC_a16.wav", "SAVEE has no sentence a16"),
        ("KL/su16.wav", "SAVEE has no sentence su16"),
        ("DC_n31.wav", "SAVEE has no sentence n31"),
    ],
)
def test_no_clip_with_reason(path, reason):
    assert parse(path) is None
    assert SAVEE.classify(path) == reason


@pytest.mark.parametrize(
    "path",
    [
        "DC_s01.wav",
        "DC_c01.wav",
        "DC_a1.wav",
        "DC_a001.wav",
        "XX_a01.wav",
        "DC_a01_noise.wav",
        "DC/._a01.wav",
    ],
)
def test_other_schemes(path):
    assert parse(path) is None
    assert SAVEE.classify(path) is None


def test_thirty_neutral_sentences():
    assert len(SAVEE.sentences) == 6 * 15 + 30
    assert parse("DC_n30.wav").sentence == "n30"
