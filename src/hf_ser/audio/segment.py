"""Cut long clips into segments of one length, and average the segments' scores back to clips."""

import numpy as np
import numpy.typing as npt

from hf_ser.errors import InputError

__all__ = ["average_by_clip", "segments"]


def segments(samples: int, maximum: int) -> list[tuple[int, int]]:
    """Return the bounds `(start, stop)` of the segments that cover a clip.

    A clip of up to `maximum` samples is one segment. A longer one is cut into segments that are all exactly
    `maximum` long: the last is shifted back to end with the clip, so that none is a short remainder whose
    score would count as much as a full one's.

    Args:
        samples: Length of the clip, in samples.
        maximum: Longest segment, in samples.

    Raises:
        InputError: `samples` or `maximum` is below 1.

    Example:
        >>> segments(70, maximum=80)
        [(0, 70)]
        >>> segments(200, maximum=80)
        [(0, 80), (80, 160), (120, 200)]
    """
    if maximum < 1:
        raise InputError(f"maximum must be at least 1 sample, not {maximum}")
    if samples < 1:
        raise InputError(f"a clip must have at least 1 sample, not {samples}")
    if samples <= maximum:
        return [(0, samples)]
    starts = [*range(0, samples - maximum, maximum), samples - maximum]
    return [(start, start + maximum) for start in starts]


def average_by_clip(scores: npt.ArrayLike, clip_index: npt.ArrayLike, clips: int) -> npt.NDArray[np.float64]:
    """Return each clip's mean over the scores of its segments.

    Args:
        scores: Scores of the segments, shape `(segments, labels)`; probabilities give the mean probability,
            logits the geometric mean of the probabilities up to a factor.
        clip_index: The clip to which each segment belongs, `0 <= clip_index < clips`, shape `(segments,)`, in
            any order.
        clips: Number of clips.

    Returns:
        Shape `(clips, labels)`, float64.

    Raises:
        InputError: The shapes disagree, an index is out of range, or a clip has no segment.

    Example:
        >>> average_by_clip([[0.2, 0.8], [0.4, 0.6], [1.0, 0.0]], [0, 0, 1], clips=2)
        array([[0.3, 0.7],
               [1. , 0. ]])
    """
    scores = np.asarray(scores, dtype=np.float64)
    clip_index = np.asarray(clip_index)
    if scores.ndim != 2 or clip_index.shape != scores.shape[:1]:
        raise InputError(
            f"scores must be (segments, labels) and clip_index (segments,), not {scores.shape} and {clip_index.shape}"
        )
    if not np.issubdtype(clip_index.dtype, np.integer):
        raise InputError(f"clip_index must hold integers, not {clip_index.dtype}")
    if len(clip_index) and not (clip_index.min() >= 0 and clip_index.max() < clips):
        raise InputError(f"clip_index must lie in 0..{clips - 1}, not {clip_index.min()}..{clip_index.max()}")
    segments_of = np.bincount(clip_index, minlength=clips)
    if not segments_of.all():
        raise InputError(f"clip {int(np.argmin(segments_of))} has no segment; every clip needs at least one")
    total = np.zeros((clips, scores.shape[1]))
    np.add.at(total, clip_index, scores)
    averages: npt.NDArray[np.float64] = total / segments_of[:, np.newaxis]
    return averages
