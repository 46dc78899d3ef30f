"""CREMA-D: 91 actors, twelve sentences, six emotions.

A name is speaker_sentence_emotion_level (https://github.com/CheyneyComputerScience/CREMA-D). Some copies contain
`1040_ITH_SAD_X`, without its last letter. Sex, age and race come from the corpus's `VideoDemographics.csv`.
"""

import re

from hf_ser.corpora.clip import Clip, Corpus, Licence, Speaker

_NAME = re.compile(r"([0-9]{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})", re.ASCII | re.IGNORECASE)
_EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
_INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
_SENTENCES: dict[str, str | None] = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
# Age in years and sex of speakers 1001 to 1091, in order.
_DEMOGRAPHICS = """
    51M 21F 21F 42F 29M 58F 38F 46F 24F 27F 32M 23F 22F 24M 32M 61M 42M 25F 29M 61F 30F 22M 22M 59F 48F
    33M 44M 57F 33F 42F 31M 30M 31M 74M 48M 49M 45F 21M 51M 42M 42M 37M 25F 40M 22M 22F 22F 38M 25F 62M
    56M 33F 35F 36F 57F 52F 25M 36F 21M 28F 51F 56M 33F 53M 38M 25M 66M 34M 27M 25M 41M 33F 24F 31F 40F
    25F 20M 21F 21F 21M 30M 20F 45M 46F 34M 33M 62M 23M 24F 50M 29F
"""
_SPEAKERS = {
    f"crema_d_{1001 + index}": Speaker("female" if entry[-1] == "F" else "male", int(entry[:-1]))
    for index, entry in enumerate(_DEMOGRAPHICS.split())
}
_RACES = {"A": "Asian", "B": "African American", "C": "Caucasian"}
_RACE_OF_EACH = "CCCCBCBCCCCCCCBCCCACCCCCCCCCBBCBCCCBCBBCCBCCACUCCBCCCCCBCCBBBCBCCCCCCBCABBCCCCCBACBCACCBCAA"


def _read_name(stem: str, folder: str) -> Clip | str | None:
    named = _NAME.fullmatch(stem)
    if named is None:
        return None
    number, sentence, emotion, level = named.group(0).upper().split("_")
    if level == "X":
        level = "XX"
    speaker = f"crema_d_{number}"
    for name, code, known in (
        ("speaker", speaker, _SPEAKERS),
        ("sentence", sentence, _SENTENCES),
        ("emotion", emotion, _EMOTIONS),
        ("emotion level", level, _INTENSITIES),
    ):
        if code not in known:
            return f"CREMA-D has no {name} {code.removeprefix('crema_d_')}"
    clip_id = f"crema_d/{number}_{sentence}_{emotion}_{level}"
    facts = (_EMOTIONS[emotion], sentence, _INTENSITIES[level])
    return Clip("crema_d", clip_id, speaker, *_SPEAKERS[speaker], *facts)


CREMA_D = Corpus(
    name="crema_d",
    title="Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D)",
    speakers=_SPEAKERS,
    races={who: _RACES[race] for who, race in zip(_SPEAKERS, _RACE_OF_EACH, strict=True) if race in _RACES},
    counts={"angry": 1271, "disgust": 1271, "fear": 1271, "happy": 1271, "neutral": 1087, "sad": 1271},
    sentences=_SENTENCES,
    # One silent file, and three pairs of files with the same samples under two emotions.
    faults={"crema_d/1076_MTI_SAD_XX": "all_zeros"}
    | dict.fromkeys(
        (
            *("crema_d/1006_TIE_HAP_XX", "crema_d/1006_TIE_NEU_XX", "crema_d/1013_WSI_DIS_XX"),
            *("crema_d/1013_WSI_SAD_XX", "crema_d/1017_IWW_ANG_XX", "crema_d/1017_IWW_FEA_XX"),
        ),
        "identical_samples_two_labels",
    ),
    held_out=({"female": 9, "male": 9}, {"female": 4, "male": 5}),
    language="en",
    acted=True,
    licence=Licence(
        id="odbl",
        name="Open Database License 1.0, contents under the Database Contents License 1.0",
        url="https://opendatacommons.org/licenses/odbl/1-0/",
        redistribution=True,
        non_commercial=False,
    ),
    citation="""\
@article{cao2014cremad,
  author  = {Cao, Houwei and Cooper, David G. and Keutmann, Michael K. and Gur, Ruben C. and
             Nenkova, Ani and Verma, Ragini},
  title   = {{CREMA-D}: Crowd-sourced Emotional Multimodal Actors Dataset},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {5},
  number  = {4},
  pages   = {377--390},
  year    = {2014},
  doi     = {10.1109/TAFFC.2014.2336244}
}""",
    homepage="https://github.com/CheyneyComputerScience/CREMA-D",
    # No archive_url: the repository's own zip file contains Git LFS pointers instead of audio.
    examples=("1001_DFA_ANG_XX.wav",),
    read_name=_read_name,
)
"""The 7,442 clips of CREMA-D."""
