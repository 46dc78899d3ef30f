import pytest

from hf_ser.corpora import Clip, parse
from hf_ser.corpora.ravdess import RAVDESS

NAME = "03-01-02-01-01-02-01"
CALM = Clip(
    corpus="ravdess",
    clip_id=f"ravdess/{NAME}",
    speaker="ravdess_01",
    sex="male",
    age=None,
    emotion="calm",
    sentence="01",
    intensity="normal",
)


@pytest.mark.parametrize(
    "path",
    [
        f"Actor_01/{NAME}.wav",
        f"Audio_Speech_Actors_01-24/Actor_01/{NAME}.wav",
        f"RAVDESS/audio_speech_actors_01-24/Actor_01/{NAME}.wav",
        f"data/RAVDESS-nosil/{NAME}.wav",
        f"resources/labelled_audio/calm/{NAME}.wav",
        # The folder contradicts the name: the name is the publication's word.
        f"labelled_audio/angry/{NAME}.wav",
        f"data/training/Actor_01/{NAME}_calm.wav",
        f"data/training/Actor_01/{NAME}_Calm.WAV",
        f"crema_d/{NAME}.wav",
        f"1001_DFA_ANG_XX/{NAME}.flac",
        f"{NAME}.opus",
        f"{NAME}.MP3",
        f"{NAME}.aiff",
    ],
)
def test_layouts(path):
    assert parse(path) == CALM


@pytest.mark.parametrize(
    ("code", "emotion", "suffix"),
    [
        ("01", "neutral", "neutral"),
        ("02", "calm", "calm"),
        ("03", "happy", "happy"),
        ("04", "sad", "sad"),
        ("05", "angry", "angry"),
        ("06", "fear", "fearful"),
        ("07", "disgust", "disgust"),
        ("08", "surprise", "surprised"),
    ],
)
def test_emotions_with_and_without_suffix(code, emotion, suffix):
    plain = parse(f"03-01-{code}-01-02-01-12.wav")
    assert plain is not None
    assert plain.emotion == emotion
    assert parse(f"03-01-{code}-01-02-01-12_{suffix}.wav") == plain


@pytest.mark.parametrize(("actor", "sex"), [("01", "male"), ("02", "female"), ("23", "male"), ("24", "female")])
def test_odd_actors_are_male(actor, sex):
    clip = parse(f"03-01-05-02-01-01-{actor}.wav")
    assert (clip.speaker, clip.sex) == (f"ravdess_{actor}", sex)
    assert RAVDESS.speakers[f"ravdess_{actor}"].sex == sex


def test_intensity_and_sentence():
    clip = parse("03-01-05-02-02-01-07.wav")
    assert clip.intensity == "strong"
    assert RAVDESS.sentences[clip.sentence] == "Dogs are sitting by the door"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("Actor_01/03-02-02-01-01-02-01.wav", "RAVDESS song (vocal channel 02), not speech"),
        ("Actor_01/03-02-02-01-01-02-01_calm.wav", "RAVDESS song (vocal channel 02), not speech"),
        ("01-01-02-01-01-02-01.wav", "RAVDESS video recording (modality 01), not an audio-only one"),
        ("02-01-06-01-02-01-12.mp4", "RAVDESS video recording (modality 02), not an audio-only one"),
        ("01-02-06-01-02-01-12.mp4", "RAVDESS video recording (modality 01), not an audio-only one"),
        ("04-01-02-01-01-02-01.wav", "RAVDESS has no modality 04"),
        ("03-03-02-01-01-02-01.wav", "RAVDESS has no vocal channel 03"),
        ("03-01-09-01-01-02-01.wav", "RAVDESS has no emotion 09"),
        ("03-01-00-01-01-02-01.wav", "RAVDESS has no emotion 00"),
        ("03-01-02-03-01-02-01.wav", "RAVDESS has no intensity 03"),
        ("03-01-02-01-03-02-01.wav", "RAVDESS has no statement 03"),
        ("03-01-02-01-01-03-01.wav", "RAVDESS has no repetition 03"),
        ("03-01-02-01-01-02-25.wav", "RAVDESS has no actor 25"),
        ("03-01-02-01-01-02-00.wav", "RAVDESS has no actor 00"),
        ("03-01-01-02-01-02-01.wav", "RAVDESS has no strong neutral"),
        (
            "03-01-05-01-01-02-01_calm.wav",
            "the suffix _calm is not the emotion 'angry' that the RAVDESS name codes",
        ),
        (
            "03-01-02-01-01-02-01_noise.wav",
            "the suffix _noise is not the emotion 'calm' that the RAVDESS name codes",
        ),
    ],
)
def test_no_clip_with_reason(path, reason):
    assert parse(path) is None
    assert RAVDESS.classify(path) == reason


@pytest.mark.parametrize(
    "path",
    [
        "01_01_01_01_dogs-sitting_angry.wav",
        "3-1-2-1-1-2-1.wav",
        "03-01-02-01-01-02.wav",
        "03-01-02-01-01-02-01-01.wav",
        "03-01-02-01-01-02-01 (1).wav",
        "copy of 03-01-02-01-01-02-01.wav",
        "._03-01-02-01-01-02-01.wav",
        "٠٣-01-02-01-01-02-01.wav",
        "03-01-02-01-01-02-01\n.wav",
    ],
)
def test_other_schemes(path):
    assert parse(path) is None
    assert RAVDESS.classify(path) is None


@pytest.mark.parametrize("extension", ["mp4", "txt", "npy", "json", "m4a"])
def test_only_audio_is_a_clip(extension):
    assert parse(f"{NAME}.{extension}") is None
