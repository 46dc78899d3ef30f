"""The four corpora by name, and the one function that tells which of them a file belongs to."""

import os
from collections.abc import Mapping

from hf_ser.corpora.clip import Clip, Corpus
from hf_ser.corpora.crema_d import CREMA_D
from hf_ser.corpora.ravdess import RAVDESS
from hf_ser.corpora.savee import SAVEE
from hf_ser.corpora.tess import TESS

__all__ = ["CORPORA", "parse"]

CORPORA: Mapping[str, Corpus] = {corpus.name: corpus for corpus in (RAVDESS, CREMA_D, TESS, SAVEE)}
"""The corpora of the eight-emotions data set, by name."""


def parse(path: str | os.PathLike[str]) -> Clip | None:
    """Return the clip that an audio file's name stands for, or None where it is a clip of no corpus.

    The corpus is told from the file name alone, so folders may be called and nested in any way; only SAVEE's
    `DC/a01.wav` needs its parent folder. Letter case does not matter. The file itself is not opened.

    Example:
        >>> clip = parse("downloads/crema_d/1040_ITH_SAD_X.wav")
        >>> clip.clip_id, clip.speaker, clip.sex, clip.age, clip.emotion
        ('crema_d/1040_ITH_SAD_XX', 'crema_d_1040', 'male', 42, 'sad')
        >>> parse("my_voice.wav") is None
        True
    """
    for corpus in CORPORA.values():
        clip = corpus.parse(path)
        if clip is not None:
            return clip
    return None
