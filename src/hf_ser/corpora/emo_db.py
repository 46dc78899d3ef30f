"""EMO-DB, the Berlin Database of Emotional Speech: ten actors, ten German sentences, seven emotions.

A name is speaker, sentence, letter of the German emotion and version, as in `03a01Fa`
(http://emodb.bilderbar.info/docu/): F is Freude (happiness), W Wut (anger), L Langeweile (boredom), E Ekel (disgust),
A Angst (fear), T Trauer (sadness) and N neutral. This file is the example of a corpus of one's own: see
`docs/own-data.md`.
"""

import re

from hf_ser.corpora.clip import Clip, Corpus, Licence, Speaker

_NAME = re.compile(r"([0-9]{2})([ab][0-9]{2})([WLEAFTN])([a-z])", re.ASCII | re.IGNORECASE)
_EMOTIONS = {
    "W": "angry", "L": "boredom", "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral",
}  # fmt: skip
_SENTENCES: dict[str, str | None] = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
# Number, sex and age in years of each speaker.
_DEMOGRAPHICS = "03M31 08F34 09F21 10M32 11M26 12M30 13F32 14F35 15M25 16F31"
_SPEAKERS = {
    f"emo_db_{entry[:2]}": Speaker("female" if entry[2] == "F" else "male", int(entry[3:]))
    for entry in _DEMOGRAPHICS.split()
}


def _read_name(stem: str, folder: str) -> Clip | str | None:
    named = _NAME.fullmatch(stem)
    if named is None:
        return None
    number, sentence, letter, version = named.groups()
    sentence, letter = sentence.lower(), letter.upper()
    speaker = f"emo_db_{number}"
    if speaker not in _SPEAKERS:
        return f"EMO-DB has no speaker {number}"
    if sentence not in _SENTENCES:
        return f"EMO-DB has no sentence {sentence}"
    clip_id = f"emo_db/{number}{sentence}{letter}{version.lower()}"
    return Clip("emo_db", clip_id, speaker, *_SPEAKERS[speaker], _EMOTIONS[letter], sentence, "unspecified")


EMO_DB = Corpus(
    name="emo_db",
    title="Berlin Database of Emotional Speech (EMO-DB)",
    read_name=_read_name,
    speakers=_SPEAKERS,
    counts={"angry": 127, "boredom": 81, "disgust": 46, "fear": 69, "happy": 71, "neutral": 79, "sad": 62},
    sentences=_SENTENCES,
    language="de",
    acted=True,
    licence=Licence(id="other", name="No licence text; offered by its authors for free download"),
    citation="""\
@inproceedings{burkhardt2005emodb,
  author    = {Burkhardt, Felix and Paeschke, Astrid and Rolfes, Miriam and Sendlmeier, Walther F. and
               Weiss, Benjamin},
  title     = {A Database of {German} Emotional Speech},
  booktitle = {Interspeech},
  pages     = {1517--1520},
  year      = {2005},
  doi       = {10.21437/Interspeech.2005-446}
}""",
    homepage="http://emodb.bilderbar.info/",
    examples=("03a01Fa.wav",),
)
"""The 535 clips of EMO-DB."""
