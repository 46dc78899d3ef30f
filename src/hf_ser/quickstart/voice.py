"""Synthesise speech-like sound whose prosody depends on an emotion; no recording is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

SAMPLING_RATE = 16_000
"""Sampling rate of the synthesised samples, in hertz."""

# First three formants of an average male voice, in hertz (Peterson and Barney, J. Acoust. Soc. Am. 24, 1952).
_VOWELS = np.array(
    [(270, 2290, 3010), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440), (440, 1020, 2240), (300, 870, 2240)]
)
# Pitch, pitch slope and accent (semitones), speed (factor), fall of the spectrum (dB an octave), breath noise. The
# tendencies are those of reviews of vocal emotion (Scherer, Speech Communication 40, 2003, Table 2).
_PROSODY: Mapping[str, tuple[float, ...]] = {
    "angry": (4.0, -2.0, 5.0, 1.15, 3.0, 0.02),
    "calm": (-1.0, -1.0, 0.8, 0.85, 13.0, 0.02),
    "disgust": (-4.0, -4.0, 3.0, 0.87, 8.0, 0.12),
    "fear": (6.0, 1.0, 1.5, 1.25, 9.0, 0.45),
    "happy": (5.0, 0.5, 7.0, 1.1, 6.0, 0.02),
    "neutral": (0.0, -1.5, 2.0, 1.0, 10.0, 0.04),
    "sad": (-2.0, -3.0, 1.2, 0.8, 14.0, 0.25),
    "surprise": (7.5, 9.0, 5.0, 1.05, 7.0, 0.15),
}
# Standard deviations between two clips of one emotion: wide enough for neighbouring emotions to overlap.
_SPREAD = np.array((1.2, 1.4, 0.9, 0.05, 1.5, 0.03))
_SYLLABLES = 5
_CYCLE = np.linspace(0.0, 2.0 * np.pi, 513)


def synthesise(
    emotion: str, sex: str, text: str, voice: np.random.Generator, take: np.random.Generator, strength: float = 1.0
) -> npt.NDArray[np.float32]:
    """Return a clip of 0.8 to 1.6 s, `(samples,)`, within -1 to 1, at `SAMPLING_RATE`.

    The sex sets the usual pitch and formants, and `voice` how a speaker differs from them; the text alone determines
    the vowels. `take` is what differs between two clips of one kind, and `strength` a factor on the emotion.
    """
    neutral = np.array(_PROSODY["neutral"])
    drawn = neutral + strength * (np.array(_PROSODY[emotion]) - neutral) + take.normal(0.0, _SPREAD)
    pitch, slope, accent, speed, fall, breath = drawn
    rest_hz, scale = (205.0, 1.16) if sex == "female" else (118.0, 1.0)
    rest_hz *= 2.0 ** (voice.normal(0.0, 1.5) / 12.0)
    scale *= np.exp(voice.normal(0.0, 0.03))
    fall += voice.normal(0.0, 0.7)
    length = int(np.clip(1.1 / speed, 0.8, 1.6) / _SYLLABLES * SAMPLING_RATE)
    time = np.linspace(0.0, 1.0, _SYLLABLES * length)
    bump = np.tile(np.sin(np.linspace(0.0, np.pi, length)), _SYLLABLES)
    pitch_hz = rest_hz * 2.0 ** ((pitch + slope * (time - 0.5) + accent * (bump**2 - 0.5)) / 12.0)
    phase = 2.0 * np.pi * np.cumsum(np.clip(pitch_hz, 55.0, 600.0)) / SAMPLING_RATE
    order = np.arange(1, 33)
    speech = []
    for index, code in enumerate(hashlib.sha256(text.encode()).digest()[:_SYLLABLES]):
        part = slice(index * length, (index + 1) * length)
        formants_hz = scale * _VOWELS[code % len(_VOWELS)]
        hertz = order * np.clip(pitch_hz[part].mean(), 55.0, 600.0)
        distance = (hertz[:, None] - formants_hz) / (0.1 * formants_hz + 60.0)
        gains = (0.1 + np.exp(-(distance**2)).sum(axis=1)) * 10.0 ** (-fall * np.log2(order) / 20.0)
        # Partials above half the sampling rate would come back as other frequencies.
        gains[hertz > 0.35 * SAMPLING_RATE] = 0.0
        voiced = np.interp(phase[part] % (2.0 * np.pi), _CYCLE, gains @ np.sin(order[:, None] * _CYCLE))
        noise = max(breath, 0.0) * take.normal(0.0, 1.0, length)
        speech.append((voiced / voiced.std() + noise) * np.sqrt(bump[part]))
    samples = 0.08 * np.concatenate(speech) + take.normal(0.0, 3e-4, len(time))
    return np.clip(samples, -1.0, 1.0).astype(np.float32)
