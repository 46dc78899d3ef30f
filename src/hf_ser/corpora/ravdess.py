"""RAVDESS: 24 actors, two sentences, eight emotions; its audio-only speech recordings.

A name is seven two-digit fields, modality-channel-emotion-intensity-statement-repetition-actor, as its
publication defines them (https://doi.org/10.5281/zenodo.1188976). Some copies append the emotion
(`03-01-02-01-01-01-01_calm.wav`) and include songs and videos; augmented copies append other words.
"""

import re

from hf_ser.corpora.clip import Clip, Corpus, Licence, Speaker
from hf_ser.labels import EMOTIONS, canonical_emotion

_NAME = re.compile(r"([0-9]{2})" + r"-([0-9]{2})" * 6 + r"(?:_(.+))?", re.DOTALL)
_NAMES = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise")
_EMOTIONS = {f"{number:02d}": name for number, name in enumerate(_NAMES, start=1)}
_INTENSITIES = {"01": "normal", "02": "strong"}
_SENTENCES: dict[str, str | None] = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_REPETITIONS = ("01", "02")
_ACTORS = tuple(f"{number:02d}" for number in range(1, 25))
# Ages are published as a range only, 21 to 33 years.
_SPEAKERS = {f"ravdess_{actor}": Speaker("male" if int(actor) % 2 else "female", None) for actor in _ACTORS}


def _read_name(stem: str, folder: str) -> Clip | str | None:
    named = _NAME.fullmatch(stem)
    if named is None:
        return None
    modality, channel, emotion, intensity, statement, repetition, actor, suffix = named.groups()
    # The sound track of a video is the same recording as the audio-only clip.
    if modality in ("01", "02"):
        return f"RAVDESS video recording (modality {modality}), not an audio-only one"
    if channel == "02":
        return "RAVDESS song (vocal channel 02), not speech"
    for name, code, known in (
        ("modality", modality, ("03",)),
        ("vocal channel", channel, ("01",)),
        ("emotion", emotion, _EMOTIONS),
        ("intensity", intensity, _INTENSITIES),
        ("statement", statement, _SENTENCES),
        ("repetition", repetition, _REPETITIONS),
        ("actor", actor, _ACTORS),
    ):
        if code not in known:
            return f"RAVDESS has no {name} {code}"
    if emotion == "01" and intensity == "02":
        return "RAVDESS has no strong neutral"
    if suffix is not None and canonical_emotion(suffix) != _EMOTIONS[emotion]:
        return f"the suffix _{suffix} is not the emotion {_EMOTIONS[emotion]!r} that the RAVDESS name codes"
    speaker = f"ravdess_{actor}"
    clip_id = f"ravdess/03-01-{emotion}-{intensity}-{statement}-{repetition}-{actor}"
    facts = (_EMOTIONS[emotion], statement, _INTENSITIES[intensity])
    return Clip("ravdess", clip_id, speaker, *_SPEAKERS[speaker], *facts)


RAVDESS = Corpus(
    name="ravdess",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)",
    speakers=_SPEAKERS,
    counts=dict.fromkeys(EMOTIONS, 192) | {"neutral": 96},
    sentences=_SENTENCES,
    held_out=({"female": 2, "male": 2}, {"female": 2, "male": 2}),
    language="en",
    acted=True,
    licence=Licence(
        id="cc-by-nc-sa-4.0",
        name="Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International",
        url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        redistribution=True,
    ),
    citation="""\
@article{livingstone2018ravdess,
  author  = {Livingstone, Steven R. and Russo, Frank A.},
  title   = {The {Ryerson} Audio-Visual Database of Emotional Speech and Song ({RAVDESS}): A dynamic,
             multimodal set of facial and vocal expressions in {North American} {English}},
  journal = {PLOS ONE},
  volume  = {13},
  number  = {5},
  pages   = {e0196391},
  year    = {2018},
  doi     = {10.1371/journal.pone.0196391}
}""",
    homepage="https://zenodo.org/records/1188976",
    doi="10.5281/zenodo.1188976",
    archive_url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
    examples=("03-01-05-01-02-01-09.wav",),
    read_name=_read_name,
)
"""The 1,440 audio-only speech clips of RAVDESS."""
