"""A probe that distinguishes two models: their logits for two synthetic clips.

The logits are computed in float64 on the processor, so that neither an accelerator nor the number of threads nor
another machine changes more than their last digits.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

PROBE = "two chirps, 1"
"""Identifies the clips; logits for other clips cannot be compared."""

_SECONDS = (2.0, 0.6)


def probe_clips(sampling_rate: int) -> list[np.ndarray]:
    """Return the clips, `(samples,)` in float32, 2.0 s and 0.6 s long, at a rate in hertz; nothing of them is random.

    Example:
        >>> [len(clip) for clip in probe_clips(16_000)]
        [32000, 9600]
    """
    clips = []
    for seconds in _SECONDS:
        time = np.arange(round(seconds * sampling_rate)) / sampling_rate
        voice = sum(np.sin(2 * np.pi * harmonic * (120.0 * time + 40.0 * time**2)) / harmonic for harmonic in (1, 2, 5))
        hiss = np.sin(2 * np.pi * 2_741.3 * time) * np.sin(2 * np.pi * 617.7 * time)
        syllables = 0.55 - 0.45 * np.cos(2 * np.pi * 3.1 * time)
        clips.append((0.2 * syllables * (voice + 0.3 * hiss)).astype(np.float32))
    return clips


def probe_logits(model: Any, feature_extractor: Any) -> list[list[float]]:
    """Return a (wrapped) classification model's logits for the probe, a row for each clip; a copy is computed with."""
    import torch

    from hf_ser.audio.collate import Collator
    from hf_ser.models.architectures import plain_model

    model = copy.deepcopy(model).eval().to("cpu", torch.float64)
    collate = Collator(feature_extractor, plain_model(model).config, training=False)
    rows = []
    with torch.inference_mode():
        for samples in probe_clips(int(feature_extractor.sampling_rate)):
            batch = collate([{"samples": samples}])
            exact = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
            rows.append([float(value) for value in model(**exact).logits[0]])
    return rows


def probe_difference(expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """Return the largest difference of two models' logits, relative to the larger of 1 and the largest logit.

    Logits that have another shape or are not finite differ infinitely.

    Example:
        >>> round(probe_difference([[0.0, 4.0]], [[0.0, 4.002]]), 9)
        0.0005
        >>> probe_difference([[0.0, 4.0]], [[0.0, float("nan")]])
        inf
    """
    one, other = np.asarray(expected, dtype=np.float64), np.asarray(found, dtype=np.float64)
    if one.shape != other.shape or not np.all(np.isfinite([one, other])):
        return float("inf")
    return float(np.abs(one - other).max() / max(1.0, np.abs(one).max()))
