"""How long a model takes for an answer, by the length of the clip, the batch and the precision."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hf_ser.environment import hardware, peak_memory_bytes
from hf_ser.evaluation.judged import Judged

SECONDS = (1.0, 3.0, 10.0)
BATCHES = (1, 4)
_WARM_UP = 2
_REPEATS = 20
_MOST_SECONDS = 6.0


def section(judged: Judged) -> dict[str, Any]:
    """Return the median (p50) and the 95th percentile (p95) in milliseconds, and the real-time factor.

    From samples to probabilities, after 2 rounds that are not counted, over 20 `rounds`, or the 5 or more that 6
    seconds allow. The real-time factor is seconds of computing a second of audio, at the median. `bf16` is measured
    where the device computes in it natively.
    """
    classifier = judged.classifier
    native = classifier.device.type == "cuda" and torch.cuda.is_bf16_supported()
    rows = []
    for precision, seconds, batch in product(("fp32", "bf16") if native else ("fp32",), SECONDS, BATCHES):
        clips = judged.white_noise(batch, seconds)
        with torch.autocast(classifier.device.type, torch.bfloat16, enabled=precision == "bf16"):
            times = _times(partial(classifier.outputs, clips))
        p50, p95 = np.percentile(times, [50, 95]).tolist()
        row = {"precision": precision, "seconds": seconds, "batch": batch, "rounds": len(times)}
        rows.append(row | {"p50_ms": 1000 * p50, "p95_ms": 1000 * p95, "real_time_factor": p50 / (batch * seconds)})
    return {"rows": rows, "hardware": hardware(), "peak_memory_bytes": peak_memory_bytes()}


def _times(answer: Callable[[], NDArray[Any]]) -> list[float]:
    found: list[float] = []
    while len(found) < _WARM_UP + _REPEATS and (len(found) < _WARM_UP + 5 or sum(found) < _MOST_SECONDS):
        start = time.perf_counter()
        answer()
        found.append(time.perf_counter() - start)
    return found[_WARM_UP:]
