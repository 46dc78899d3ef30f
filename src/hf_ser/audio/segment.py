"""Cut long clips into segments of one length, and average the segments' scores back to clips."""

import numpy as np
import numpy.typing as npt


def segments(samples: int, maximum: int) -> list[tuple[int, int]]:
    """Return the bounds `(start, stop)` of the segments that cover a clip.

    A clip of up to `maximum` samples is one segment. A longer one is cut into segments of exactly `maximum` samples:
    the last is shifted back to end with the clip, since a short remainder's score would count as much as a full one's.

    Example:
        >>> segments(70, maximum=80)
        [(0, 70)]
        >>> segments(200, maximum=80)
        [(0, 80), (80, 160), (120, 200)]
    """
    if samples <= maximum:
        return [(0, samples)]
    starts = [*range(0, samples - maximum, maximum), samples - maximum]
    return [(start, start + maximum) for start in starts]


def average_by_clip(scores: npt.ArrayLike, clip_index: npt.ArrayLike, clips: int) -> npt.NDArray[np.float64]:
    """Return each clip's mean `(clips, labels)` over the scores `(segments, labels)` of its segments, in any order."""
    scores, clip_index = np.asarray(scores, dtype=np.float64), np.asarray(clip_index)
    segments_of = np.bincount(clip_index, minlength=clips)
    if len(segments_of) != clips or not segments_of.all():
        raise ValueError(f"of {clips} clips, one has no segment, or a segment has no clip")
    total = np.zeros((clips, scores.shape[1]))
    np.add.at(total, clip_index, scores)
    averages: npt.NDArray[np.float64] = total / segments_of[:, np.newaxis]
    return averages
