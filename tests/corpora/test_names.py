"""The file names of the four corpora in every common layout, and names that only look like theirs."""

import pytest

from hf_ser.corpora import CORPORA, Clip, parse
from hf_ser.corpora.clip import AUDIO_EXTENSIONS

CALM = "03-01-02-01-01-02-01"
TESS = "TESS Toronto emotional speech set data"
LAYOUTS = {
    Clip("ravdess", f"ravdess/{CALM}", "ravdess_01", "male", None, "calm", "01", "normal"): [
        f"Audio_Speech_Actors_01-24/Actor_01/{CALM}.wav",
        f"data/RAVDESS-nosil/{CALM}.wav",
        f"labelled_audio/angry/{CALM}.wav",
        f"data/training/Actor_01/{CALM}_calm.wav",
        f"data/training/Actor_01/{CALM}_Calm.WAV",
        f"crema_d/{CALM}.wav",
        f"1001_DFA_ANG_XX/{CALM}.flac",
        f"{CALM}.opus",
        f"{CALM}.MP3",
    ],
    Clip("crema_d", "crema_d/1040_ITH_SAD_XX", "crema_d_1040", "male", 42, "sad", "ITH", "unspecified"): [
        "cremad/AudioWAV/1040_ITH_SAD_XX.wav",
        "data/AudioWAV/train/1040_ITH_SAD_XX.wav",
        "AudioMP3/1040_ITH_SAD_XX.mp3",
        "Crema/1040_ITH_SAD_X.wav",
        "crema_d/audio_wav/1040_ITH_SAD_XX.wav",
        "tess_OAF_angry/03-01-02-01-01-02-01/1040_ITH_SAD_XX.wav",
        "1040_ith_sad_xx.WAV",
    ],
    Clip("tess", "tess/OAF_bite_neutral", "tess_OAF", "female", 64, "neutral", "bite", "unspecified"): [
        f"{TESS}/{TESS}/OAF_Neutral/OAF_bite_neutral.wav",
        f"{TESS}/OAF_neutral/OA_bite_neutral.wav",
        "TESS/data/YAF_angry/OAF_bite_neutral.wav",
        "oaf_BITE_Neutral.flac",
    ],
    Clip("tess", "tess/YAF_youth_ps", "tess_YAF", "female", 26, "surprise", "youth", "unspecified"): [
        f"{TESS}/YAF_pleasant_surprised/YAF_youth_ps.wav",
        *(f"YAF_youth_{suffix}.wav" for suffix in ("PS", "surprise", "Surprised", "pleasant_surprise")),
    ],
    Clip("savee", "savee/DC_a01", "savee_DC", "male", None, "angry", "a01", "unspecified"): [
        "AudioData/DC/a01.wav",
        "/DC/a01.wav",
        "SAVEE/raw/ALL/DC_a01.wav",
        "dc_A01.WAV",
        "dc/A01.wav",
        "AudioData/KL/DC_a01.wav",
    ],
}
CODES = {
    "03-01-{}-01-02-01-12.wav": "01 neutral 02 calm 03 happy 04 sad 05 angry 06 fear 07 disgust 08 surprise",
    "1001_DFA_{}_XX.wav": "ANG angry DIS disgust FEA fear HAP happy NEU neutral SAD sad",
    "AudioData/JK/{}15.wav": "a angry d disgust f fear h happy n neutral sa sad su surprise",
    "OAF_back_{}.wav": "angry angry disgust disgust fear fear happy happy neutral neutral ps surprise sad sad",
}
REASONS = {
    "Actor_01/03-02-02-01-01-02-01_calm.wav": "RAVDESS song (vocal channel 02), not speech",
    "01-01-02-01-01-02-01.wav": "RAVDESS video recording (modality 01), not an audio-only one",
    "01-02-06-01-02-01-12.mp4": "RAVDESS video recording (modality 01), not an audio-only one",
    "04-01-02-01-01-02-01.wav": "RAVDESS has no modality 04",
    "03-03-02-01-01-02-01.wav": "RAVDESS has no vocal channel 03",
    "03-01-09-01-01-02-01.wav": "RAVDESS has no emotion 09",
    "03-01-02-03-01-02-01.wav": "RAVDESS has no intensity 03",
    "03-01-02-01-03-02-01.wav": "RAVDESS has no statement 03",
    "03-01-02-01-01-03-01.wav": "RAVDESS has no repetition 03",
    "03-01-02-01-01-02-25.wav": "RAVDESS has no actor 25",
    "03-01-01-02-01-02-01.wav": "RAVDESS has no strong neutral",
    "03-01-05-01-01-02-01_calm.wav": "the suffix _calm is not the emotion 'angry' that the RAVDESS name codes",
    "1092_ITH_SAD_XX.wav": "CREMA-D has no speaker 1092",
    "1040_ABC_SAD_XX.wav": "CREMA-D has no sentence ABC",
    "1040_ITH_SUR_XX.wav": "CREMA-D has no emotion SUR",
    "1040_ITH_SAD_L.wav": "CREMA-D has no emotion level L",
    "OAF_hello_angry.wav": "TESS has no word 'hello'",
    "OAF_back_angry_noise.wav": "TESS has no emotion 'angry_noise'",
    "a01.wav": "a SAVEE name without its speaker: the folder is '', not DC, JE, JK or KL",
    "recordings/n01.wav": "a SAVEE name without its speaker: the folder is 'recordings', not DC, JE, JK or KL",
    "DC_a16.wav": "SAVEE has no sentence a16",
    "DC_n31.wav": "SAVEE has no sentence n31",
}
OTHERS = [
    "01_01_01_01_dogs-sitting_angry.wav",
    "3-1-2-1-1-2-1.wav",
    "03-01-02-01-01-02.wav",
    "03-01-02-01-01-02-01-01.wav",
    "03-01-02-01-01-02-01 (1).wav",
    "._03-01-02-01-01-02-01.wav",
    "٠٣-01-02-01-01-02-01.wav",
    "03-01-02-01-01-02-01\n.wav",
    "1040_ITH_SAD.wav",
    "1040_ITH_SAD_XX_noise.wav",
    # Kelvin sign and long s, which case folding would take for K and s.
    "1040_ITH_\u017fAD_XX.wav",
    "OAF_angry.wav",
    "YA_back_angry.wav",
    "DC_s01.wav",
    "DC_a1.wav",
    "DC_a001.wav",
    "XX_a01.wav",
    "DC/._a01.wav",
]


@pytest.mark.parametrize(("clip", "path"), [(clip, path) for clip, paths in LAYOUTS.items() for path in paths])
def test_layouts(clip, path):
    assert parse(path) == clip


@pytest.mark.parametrize(("pattern", "codes"), CODES.items())
def test_emotions(pattern, codes):
    words = codes.split()
    assert [parse(pattern.format(code)).emotion for code in words[::2]] == words[1::2]


def test_an_emotion_may_be_appended_to_a_ravdess_name():
    assert parse("03-01-06-01-02-01-12_fearful.wav") == parse("03-01-06-01-02-01-12.wav")


def test_intensities():
    assert [parse(f"03-01-05-{code}-01-01-07.wav").intensity for code in ("01", "02")] == ["normal", "strong"]
    found = [parse(f"1001_IEO_ANG_{level}.wav").intensity for level in ("LO", "MD", "HI", "XX")]
    assert found == ["low", "medium", "high", "unspecified"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("03-01-05-02-02-01-07.wav", "Dogs are sitting by the door"),
        ("1001_WSI_FEA_XX.wav", "We'll stop in a couple of minutes"),
        ("YAF_germ_angry.wav", "Say the word germ"),
        ("DC_n30.wav", None),
    ],
)
def test_sentences(path, words):
    clip = parse(path)
    assert CORPORA[clip.corpus].sentences[clip.sentence] == words


@pytest.mark.parametrize(("path", "reason"), REASONS.items())
def test_a_name_of_the_scheme_that_is_not_a_clip_has_a_reason(path, reason):
    assert parse(path) is None
    assert [found for corpus in CORPORA.values() if (found := corpus.classify(path))] == [reason]


@pytest.mark.parametrize("path", OTHERS)
def test_names_of_other_schemes(path):
    assert parse(path) is None
    assert all(corpus.classify(path) is None for corpus in CORPORA.values())


@pytest.mark.parametrize(
    "extension", ["mp4", "txt", "npy", "json", "m4a", *(it[1:] for it in sorted(AUDIO_EXTENSIONS))]
)
def test_only_audio_is_a_clip(extension):
    known = f".{extension}" in AUDIO_EXTENSIONS
    for name in (f"{CALM}.{extension}", f"{CALM}.{extension.upper()}"):
        assert (parse(name) is not None) == known
