"""The eight emotions, in the order of the paper, and their synonyms in other data sets and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


def vote_counts(rows: Any, labels: Sequence[str]) -> NDArray[np.float64]:
    """Return the votes `(clips, labels)` of listeners of the voice alone; zeros where rows of a data set have none."""
    import numpy as np

    column = rows["voice_votes"] if "voice_votes" in rows.column_names else [None] * len(rows)
    return np.array([[(row or {}).get(label) or 0 for label in labels] for row in column], dtype=np.float64)
