"""SAVEE: four male speakers, seven emotions.

The official layout is `AudioData/DC/a01.wav`: the folder is the speaker, the name is emotion letters and sentence
number (http://kahlan.eps.surrey.ac.uk/savee/). Repacked copies are flat: `DC_a01.wav`. The letters are those of the
official Info.txt: `a` is anger, `sa` sadness and `su` surprise.

Of the 15 sentences of each emotion, 3 are common to all emotions and 2 are also among the 30 neutral ones. The words
of each number are not published, so two sentence codes can stand for the same words.
"""

import re

from hf_ser.corpora.clip import Clip, Corpus, Licence, Speaker

# The whole code in one pattern: the first letter alone does not distinguish sad from surprise.
_NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(sa|su|a|d|f|h|n)([0-9]{2})", re.ASCII | re.IGNORECASE)
_EMOTIONS = {"a": "angry", "d": "disgust", "f": "fear", "h": "happy", "n": "neutral", "sa": "sad", "su": "surprise"}
_SENTENCES: dict[str, str | None] = {
    f"{code}{number:02d}": None for code in _EMOTIONS for number in range(1, 31 if code == "n" else 16)
}
# Ages are published as a range only, 27 to 31 years.
_SPEAKERS = {f"savee_{initials}": Speaker("male", None) for initials in ("DC", "JE", "JK", "KL")}


def _read_name(stem: str, folder: str) -> Clip | str | None:
    named = _NAME.fullmatch(stem)
    if named is None:
        return None
    initials = (named.group(1) or folder).upper()
    code = named.group(2).lower()
    sentence = f"{code}{named.group(3)}"
    speaker = f"savee_{initials}"
    if speaker not in _SPEAKERS:
        return f"a SAVEE name without its speaker: the folder is {folder!r}, not DC, JE, JK or KL"
    if sentence not in _SENTENCES:
        return f"SAVEE has no sentence {sentence}"
    clip_id = f"savee/{initials}_{sentence}"
    facts = (_EMOTIONS[code], sentence, "unspecified")
    return Clip("savee", clip_id, speaker, *_SPEAKERS[speaker], *facts)


SAVEE = Corpus(
    name="savee",
    title="Surrey Audio-Visual Expressed Emotion database (SAVEE)",
    speakers=_SPEAKERS,
    counts={"angry": 60, "disgust": 60, "fear": 60, "happy": 60, "neutral": 120, "sad": 60, "surprise": 60},
    sentences=_SENTENCES,
    held_out=({"male": 1}, {"male": 1}),
    language="en",
    acted=True,
    licence=Licence(
        id="other", name="No licence text; the University of Surrey provides it to registered users for research"
    ),
    citation="""\
@incollection{haq2010multimodal,
  author    = {Haq, Sanaul and Jackson, Philip J. B.},
  title     = {Multimodal Emotion Recognition},
  booktitle = {Machine Audition: Principles, Algorithms and Systems},
  editor    = {Wang, Wenwu},
  publisher = {IGI Global},
  pages     = {398--423},
  year      = {2010}
}""",
    homepage="http://kahlan.eps.surrey.ac.uk/savee/",
    examples=("DC_a01.wav", "DC/a01.wav"),
    read_name=_read_name,
)
"""The 480 audio clips of SAVEE."""
