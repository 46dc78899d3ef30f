import pytest

from hf_ser.corpora import Clip, parse
from hf_ser.corpora.tess import TESS

ROOT = "TESS Toronto emotional speech set data"
FOLDERS = {
    "OAF_angry": "angry",
    "OAF_disgust": "disgust",
    "OAF_Fear": "fear",
    "OAF_happy": "happy",
    "OAF_neutral": "neutral",
    "OAF_Pleasant_surprise": "ps",
    "OAF_Sad": "sad",
    "YAF_angry": "angry",
    "YAF_disgust": "disgust",
    "YAF_fear": "fear",
    "YAF_happy": "happy",
    "YAF_neutral": "neutral",
    "YAF_pleasant_surprised": "ps",
    "YAF_sad": "sad",
}


@pytest.mark.parametrize(("folder", "code"), FOLDERS.items())
def test_published_folders(folder, code):
    talker = folder[:3]
    clip = parse(f"{ROOT}/{folder}/{talker}_back_{code}.wav")
    assert clip == Clip(
        corpus="tess",
        clip_id=f"tess/{talker}_back_{code}",
        speaker=f"tess_{talker}",
        sex="female",
        age={"OAF": 64, "YAF": 26}[talker],
        emotion={"ps": "surprise"}.get(code, code),
        sentence="back",
        intensity="unspecified",
    )


@pytest.mark.parametrize(
    "path",
    [
        f"{ROOT}/{ROOT}/OAF_Fear/OAF_should_fear.wav",
        f"TESS/{ROOT}/OAF_Fear/OAF_should_fear.wav",
        "tess/OAF_should_fear.wav",
        "TESS/data/OAF_angry/OAF_should_fear.wav",
        "oaf_SHOULD_Fear.WAV",
        "OA_should_fear.flac",
    ],
)
def test_layouts(path):
    assert parse(path).clip_id == "tess/OAF_should_fear"


def test_the_misnamed_talker():
    clip = parse(f"{ROOT}/OAF_neutral/OA_bite_neutral.wav")
    assert clip == parse("tess/OAF_bite_neutral.wav")
    assert (clip.speaker, clip.clip_id) == ("tess_OAF", "tess/OAF_bite_neutral")


@pytest.mark.parametrize("suffix", ["ps", "PS", "surprise", "Surprised", "pleasant_surprise", "Pleasant_surprised"])
def test_surprise_under_every_name(suffix):
    clip = parse(f"YAF_youth_{suffix}.wav")
    assert (clip.clip_id, clip.emotion) == ("tess/YAF_youth_ps", "surprise")


def test_sentence_words():
    assert len(TESS.sentences) == 200
    assert TESS.sentences[parse("YAF_germ_angry.wav").sentence] == "Say the word germ"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("OAF_hello_angry.wav", "TESS has no word 'hello'"),
        ("OAF_back_calm.wav", "TESS has no emotion 'calm'"),
        ("OAF_back_angry_noise.wav", "TESS has no emotion 'angry_noise'"),
        ("OAF_back_angry (1).wav", "TESS has no emotion 'angry (1)'"),
    ],
)
def test_no_clip_with_reason(path, reason):
    assert parse(path) is None
    assert TESS.classify(path) == reason


@pytest.mark.parametrize(
    "path",
    ["OAF_angry.wav", "XAF_back_angry.wav", "YA_back_angry.wav", "back_angry.wav", "._OAF_back_angry.wav"],
)
def test_other_schemes(path):
    assert parse(path) is None
    assert TESS.classify(path) is None
