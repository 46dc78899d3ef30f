"""The eight emotions, in the order of the paper, and their synonyms in other data sets and checkpoints."""

from collections.abc import Mapping

EMOTIONS: tuple[str, ...] = ("angry", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""The labels of the eight-emotions data set; the identifier of a label is its index."""

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "angry": ("ang", "anger"),
    "disgust": ("dis", "disgusted"),
    "fear": ("fea", "fearful"),
    "happy": ("hap", "happiness"),
    "neutral": ("neu",),
    "sad": ("sadness",),
    "surprise": ("ps", "sur", "surprised"),
}
_ALIASES = {name: emotion for emotion, names in _SYNONYMS.items() for name in names}


def canonical_emotion(name: str) -> str:
    """Return the name used in this library for an emotion as another data set or checkpoint names it.

    A name that is not a known synonym is returned in lower case, so labels outside the eight are kept.

    Example:
        >>> [canonical_emotion(name) for name in ("neu", "hap", "ang", "sad", "Surprised", "bored")]
        ['neutral', 'happy', 'angry', 'sad', 'surprise', 'bored']
    """
    lowered = name.strip().lower()
    return _ALIASES.get(lowered, lowered)
