"""What a calibrated model says of its confidence: tempered probabilities, when to abstain, which labels to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_ser.errors import InputError

UNKNOWN = "unknown"
"""The label of a clip for which a model with a wanted risk does not decide."""


def with_temperature(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return probabilities `(clips, labels)` with the logits divided by a temperature: p^(1/T), normalised.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The order of a clip's labels stays.

    Example:
        >>> with_temperature([[0.8, 0.2]], 2.0).round(3).tolist()
        [[0.667, 0.333]]
    """
    table = np.asarray(probabilities, dtype=np.float64)
    if temperature == 1:
        return table
    logits = np.log(np.maximum(table, np.finfo(float).tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def threshold_for(calibration: Mapping[str, Any], kind: str, wanted: float | None) -> float | None:
    """Return the threshold that calibration found for a wanted risk, or coverage; None where none is wanted."""
    if wanted is None:
        return None
    if not calibration:
        raise InputError(f"{kind} needs a calibrated model; train one with this release, or leave {kind} out")
    known = calibration[kind]
    if (found := known.get(f"{wanted:.2f}")) is None or round(wanted, 2) != wanted:
        raise InputError(f"{kind} {wanted:g} was not calibrated; give one of {', '.join(known)}")
    return float(found)


def is_far(features: ArrayLike, calibration: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return whether the features `(..., hidden)` of audio point elsewhere than those of the validation data.

    That is, whether their cosine with the mean of those lies below that of 99 % of the validation clips.

    Example:
        >>> is_far([[1.0, 0.1], [-1.0, 1.0]], {"centre": [1.0, 0.0], "familiar": 0.9}).tolist()
        [False, True]
    """
    return np.asarray(cosines(features, calibration["centre"]) < calibration["familiar"])


def cosines(features: ArrayLike, centre: ArrayLike) -> NDArray[np.float64]:
    """Return the cosine of the angle between each of some vectors `(..., hidden)` and a centre `(hidden,)`."""
    vectors, middle = np.asarray(features, dtype=np.float64), np.asarray(centre, dtype=np.float64)
    return np.asarray(vectors @ middle / (np.linalg.norm(vectors, axis=-1) * np.linalg.norm(middle) + 1e-12))


def recorded_calibration(record: Mapping[str, Any], features: int) -> Mapping[str, Any]:
    """Return the calibration that a run.json holds, which may be anybody's; empty where it holds none."""
    found = record.get("calibration")
    if not isinstance(found, dict):
        return {}
    try:
        thresholds = [*found["risk"].values(), *found["coverage"].values(), found["familiar"]]
        numbers = np.array([found["temperature"], *thresholds, *found["centre"]], dtype=np.float64)
        if np.isfinite(numbers).all() and numbers[0] > 0 and len(found["centre"]) == features:
            return found
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise InputError("run.json next to the model has a damaged calibration; pass calibrated=False")
