"""What is measured of recordings beside what an encoder hears: levels and silence, pitch, eGeMAPS functionals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.clips import Segments
from hf_ser.audio.kept import all_values, compute_once, digest_of

_WHOLE_CLIP_SECONDS = 1e6
_FRAME_SECONDS = 0.02
_SILENT_DB = -40.0
_FUNCTIONALS = 88


def decoded(rows: Any, sampling_rate: int) -> Callable[[int], NDArray[np.float32]]:
    """Return a function that gives the samples of a row at a rate in hertz, kept between runs as in training."""
    items = Segments(rows, sampling_rate=sampling_rate, segment_seconds=_WHOLE_CLIP_SECONDS)
    return lambda row: items[row]["samples"]


def levels(clips: Iterable[NDArray[np.float32]], rate: int) -> NDArray[np.float64]:
    """Return RMS and peak in decibels of full scale, silence in seconds before and behind, its share, and the duration.

    A frame of 20 ms is silent if its RMS lies 40 dB below that of the loudest frame.
    """
    found = []
    for clip in clips:
        size = max(1, round(_FRAME_SECONDS * rate))
        frames = np.pad(clip, (0, -len(clip) % size)).reshape(-1, size).astype(np.float64)
        level = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) + 1e-9)
        loud = np.flatnonzero(level > level.max() + _SILENT_DB)
        ends = (loud[0] * _FRAME_SECONDS, (len(level) - 1 - loud[-1]) * _FRAME_SECONDS)
        rms = 10 * np.log10(np.mean(np.square(clip, dtype=np.float64)) + 1e-12)
        peak = 20 * np.log10(np.abs(clip).max() + 1e-9)
        found.append([rms, peak, *ends, 1 - len(loud) / len(level), len(clip) / rate])
    return np.array(found)


def pitch(clips: Iterable[NDArray[np.float32]], rate: int) -> float:
    """Return the median fundamental frequency of some clips in hertz, from 60 to 400, by YIN in their louder half.

    De Cheveigné and Kawahara, YIN, a fundamental frequency estimator for speech and music, JASA 111, 2002.
    """
    from librosa import yin
    from librosa.feature import rms

    values = []
    for clip in clips:
        padded = np.pad(clip, (0, max(0, 2048 - len(clip))))
        loudness = rms(y=padded)[0]
        values.append(yin(padded, fmin=60, fmax=400, sr=rate)[loudness >= np.median(loudness)])
    return float(np.median(np.concatenate(values)))


def functionals(rows: Any, rate: int) -> NDArray[np.float32]:
    """Return eGeMAPS functionals `(clips, 88)` of rows of a data set, kept between runs."""
    import opensmile

    clip = decoded(rows, rate)

    def extracted(chosen: NDArray[Any]) -> list[NDArray[np.float32]]:
        extractor = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
        )
        return [np.nan_to_num(extractor(clip(int(row)), rate)[0, :, 0]).astype(np.float32) for row in chosen]

    def compute(chosen: list[int]) -> list[NDArray[np.float32]]:
        # An extractor is for one thread, and leaves the interpreter to the other while it computes.
        halves = [half for half in np.array_split(chosen, 2) if len(half)]
        with ThreadPoolExecutor(2) as pool:
            return [row for half in pool.map(extracted, halves) for row in half]

    kept = compute_once(
        compute,
        list(rows["audio_sha256"]),
        folder="egemaps",
        fingerprint=digest_of("eGeMAPSv02", opensmile.__version__, rate),
        batch_size=64,
        description="eGeMAPS functionals",
    )
    return all_values(kept).reshape(len(rows), _FUNCTIONALS)
