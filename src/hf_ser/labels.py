"""The eight emotions, in the paper's order, and the names that other checkpoints give them."""

from collections.abc import Mapping

__all__ = ["EMOTIONS", "canonical_emotion", "id2label", "label2id"]

EMOTIONS: tuple[str, ...] = ("angry", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""The labels of the eight-emotions data set; a label's identifier is its place here."""

_ALIASES: Mapping[str, str] = {
    "ang": "angry",
    "anger": "angry",
    "dis": "disgust",
    "disgusted": "disgust",
    "fea": "fear",
    "fearful": "fear",
    "hap": "happy",
    "happiness": "happy",
    "neu": "neutral",
    "ps": "surprise",
    "sadness": "sad",
    "sur": "surprise",
    "surprised": "surprise",
}


def canonical_emotion(name: str) -> str:
    """Return the name used here for an emotion that another data set or checkpoint names its own way.

    Names without a known synonym come back in lower case, so that labels outside the eight survive.

    Example:
        >>> [canonical_emotion(name) for name in ("neu", "hap", "ang", "sad", "Surprised", "bored")]
        ['neutral', 'happy', 'angry', 'sad', 'surprise', 'bored']
    """
    lowered = name.strip().lower()
    return _ALIASES.get(lowered, lowered)


def id2label(labels: tuple[str, ...] = EMOTIONS) -> dict[int, str]:
    """Return the mapping from identifier to label that a `transformers` configuration holds.

    Example:
        >>> id2label()[0], id2label()[7]
        ('angry', 'surprise')
    """
    return dict(enumerate(labels))


def label2id(labels: tuple[str, ...] = EMOTIONS) -> dict[str, int]:
    """Return the mapping from label to identifier that a `transformers` configuration holds.

    Example:
        >>> label2id()["calm"]
        1
    """
    return {label: index for index, label in enumerate(labels)}
