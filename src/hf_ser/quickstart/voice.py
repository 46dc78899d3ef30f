"""Synthesise speech-like sound whose prosody depends on a named emotion; no recording goes into it.

Source and filter (Fant, Acoustic Theory of Speech Production, 1960): a train of glottal pulses with breath
noise runs through four resonances per vowel, with bursts of noise for consonants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["SAMPLING_RATE", "Voice", "draw_voice", "synthesise"]

SAMPLING_RATE = 16_000
"""Of the synthesised samples, in hz."""

# First three formants of an average male voice, in hz (Peterson and Barney, J. Acoust. Soc. Am. 24, 1952).
_VOWELS: tuple[tuple[float, float, float], ...] = (
    (270.0, 2290.0, 3010.0),
    (390.0, 1990.0, 2550.0),
    (530.0, 1840.0, 2480.0),
    (660.0, 1720.0, 2410.0),
    (730.0, 1090.0, 2440.0),
    (570.0, 840.0, 2410.0),
    (440.0, 1020.0, 2240.0),
    (300.0, 870.0, 2240.0),
)
_FOURTH_FORMANT_HZ = 3400.0
_BANDWIDTHS_HZ = (70.0, 90.0, 130.0, 180.0)
_SYLLABLE_SECONDS = 0.19
_CONSONANT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Voice:
    """What stays the same in all that a speaker says.

    Attributes:
        pitch_hz: Fundamental frequency at rest.
        formant_scale: Factor on the formants of a male voice; shorter vocal tracts have higher ones.
        tilt: Pole of the low-pass filter on the glottal pulses; the higher, the darker.
        breath: Level of the breath noise, relative to the pulses.
        rate: Factor on the speed.
    """

    pitch_hz: float
    formant_scale: float
    tilt: float
    breath: float
    rate: float


@dataclass(frozen=True, slots=True)
class _Prosody:
    """How a manner of speaking departs from the speaker's voice at rest."""

    pitch_semitones: float = 0.0
    accent_semitones: float = 2.0
    slope_semitones: float = -1.5
    rate: float = 1.0
    tilt: float = 0.0
    breath: float = 0.0
    jitter: float = 0.006
    level_db: float = 0.0
    attack: float = 0.35


_NEUTRAL = _Prosody()
# Tendencies that reviews of vocal emotion agree on (Scherer, Speech Communication 40, 2003, Table 2), in round
# figures of our own.
_PROSODY: Mapping[str, _Prosody] = {
    "angry": _Prosody(4.0, 5.0, -2.0, 1.15, -0.45, 0.0, 0.02, 9.0, 0.12),
    "calm": _Prosody(-1.0, 0.8, -1.0, 0.85, 0.2, 0.0, 0.003, -4.0, 0.45),
    "disgust": _Prosody(-4.0, 3.0, -4.0, 0.87, -0.15, 0.06, 0.045, 1.0, 0.3),
    "fear": _Prosody(6.0, 1.5, 1.0, 1.25, 0.0, 0.25, 0.03, 2.0, 0.25),
    "happy": _Prosody(5.0, 7.0, 0.5, 1.1, -0.28, 0.02, 0.008, 5.0, 0.2),
    "neutral": _NEUTRAL,
    "sad": _Prosody(-2.0, 1.2, -3.0, 0.8, 0.22, 0.14, 0.012, -7.0, 0.5),
    "surprise": _Prosody(7.5, 5.0, 9.0, 1.05, -0.1, 0.12, 0.008, 4.0, 0.2),
}
# Standard deviations between two clips of the same speaker and emotion: wide enough for neighbours to overlap.
_SPREAD = _Prosody(1.2, 0.9, 1.4, 0.05, 0.05, 0.015, 0.004, 3.0, 0.04)


def draw_voice(sex: str, generator: np.random.Generator) -> Voice:
    """Return a random voice.

    Args:
        sex: `female` or `male`; it sets the usual pitch and formants.
        generator: Where the randomness comes from.

    Example:
        >>> import numpy as np
        >>> voices = {sex: draw_voice(sex, np.random.default_rng(0)) for sex in ("female", "male")}
        >>> voices["female"].pitch_hz > voices["male"].pitch_hz
        True
    """
    pitch_hz, formant_scale = (205.0, 1.16) if sex == "female" else (118.0, 1.0)
    return Voice(
        pitch_hz=pitch_hz * 2.0 ** (generator.normal(0.0, 1.5) / 12.0),
        formant_scale=formant_scale * float(np.exp(generator.normal(0.0, 0.03))),
        tilt=float(np.clip(generator.normal(0.65, 0.03), 0.5, 0.8)),
        breath=float(generator.uniform(0.01, 0.04)),
        rate=float(np.exp(generator.normal(0.0, 0.05))),
    )


def synthesise(
    text: str, voice: Voice, emotion: str, generator: np.random.Generator, strength: float = 1.0
) -> npt.NDArray[np.float32]:
    """Return a clip of 0.8 to 1.6 s.

    Args:
        text: Decides the syllables, by a hash: the same text has the same ones in every voice and emotion.
        voice: Who speaks.
        emotion: One of `hf_ser.labels.EMOTIONS`.
        generator: Where the differences between two clips of one kind come from.
        strength: Factor on the emotion's departure from a neutral manner.

    Returns:
        Samples within -1 to 1, at `SAMPLING_RATE`, shape `(samples,)`.

    Example:
        >>> import numpy as np
        >>> generator = np.random.default_rng(0)
        >>> clip = synthesise("Say the word back", draw_voice("male", generator), "angry", generator)
        >>> clip.dtype, 0.8 <= len(clip) / SAMPLING_RATE <= 1.6
        (dtype('float32'), True)
    """
    prosody = _draw_prosody(_PROSODY[emotion], strength, generator)
    syllables = _syllables(text)
    seconds = len(syllables) * _SYLLABLE_SECONDS / (prosody.rate * voice.rate)
    samples = int(np.clip(seconds, 0.7, 1.4) * SAMPLING_RATE)
    source = _glottal_source(samples, len(syllables), voice, prosody, generator)
    speech = np.zeros(samples)
    edges = np.linspace(0, samples, len(syllables) + 1).astype(int)
    fade = samples // len(syllables) // 4
    for index, (vowel, is_hissing) in enumerate(syllables):
        start, stop = max(0, edges[index] - fade), min(samples, edges[index + 1] + fade)
        voiced = _resonate(source[start:stop], *_formants(vowel, voice)) * _envelope(stop - start, prosody.attack)
        voiced[: fade * 2] *= np.linspace(0.0, 1.0, fade * 2)
        speech[start:stop] += voiced
        _add_consonant(speech, start, is_hissing, float(np.abs(voiced).max()), prosody, generator)
    level = 0.07 * 10.0 ** (prosody.level_db / 20.0)
    speech *= level / np.sqrt(np.mean(speech**2))
    margins = (generator.uniform(0.05, 0.1, size=2) * SAMPLING_RATE).astype(int)
    padded = np.pad(speech, tuple(margins))
    padded += generator.normal(0.0, 3e-4, size=len(padded))
    return np.clip(padded, -1.0, 1.0).astype(np.float32)


def _draw_prosody(mean: _Prosody, strength: float, generator: np.random.Generator) -> _Prosody:
    """Draw one clip's prosody around an emotion's."""
    drawn = {}
    for name in _Prosody.__slots__:
        rest, spread = getattr(_NEUTRAL, name), getattr(_SPREAD, name)
        drawn[name] = generator.normal(rest + strength * (getattr(mean, name) - rest), spread)
    for name, (lowest, highest) in {
        "accent_semitones": (0.0, 12.0),
        "rate": (0.6, 1.6),
        "breath": (0.0, 0.5),
        "jitter": (0.0, 0.08),
        "level_db": (-14.0, 12.0),
        "attack": (0.05, 0.7),
    }.items():
        drawn[name] = float(np.clip(drawn[name], lowest, highest))
    return _Prosody(**drawn)


def _syllables(text: str) -> list[tuple[int, bool]]:
    """Return the vowel and whether the consonant before it hisses, for each of five or six syllables."""
    digest = hashlib.sha256(text.encode()).digest()
    return [(byte % len(_VOWELS), byte >= 128) for byte in digest[1 : 6 + digest[0] % 2]]


def _glottal_source(
    samples: int, syllables: int, voice: Voice, prosody: _Prosody, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return glottal pulses along a pitch contour, with breath noise while the glottis is open."""
    time = np.linspace(0.0, 1.0, samples)
    accents = np.abs(generator.normal(1.0, 0.3, size=syllables))
    accent = np.interp(time * syllables, np.arange(syllables) + 0.5, accents) * np.sin(np.pi * syllables * time) ** 2
    semitones = prosody.pitch_semitones + prosody.slope_semitones * (time - 0.5) + prosody.accent_semitones * accent
    pitch_hz = np.clip(voice.pitch_hz * 2.0 ** (semitones / 12.0), 55.0, 600.0)
    # A value for every cycle, so that jitter and shimmer change from pulse to pulse and not within one.
    cycle = np.cumsum(pitch_hz / SAMPLING_RATE).astype(int)
    wobble = generator.normal(0.0, 1.0, size=(2, cycle[-1] + 1))[:, cycle]
    phase = np.cumsum(pitch_hz * (1.0 + prosody.jitter * wobble[0]) / SAMPLING_RATE) % 1.0
    flow = _glottal_flow(phase) * (1.0 + 3.0 * prosody.jitter * wobble[1])
    breath = (voice.breath + prosody.breath) * generator.normal(0.0, 1.0, size=samples) * (0.3 + flow)
    pole = float(np.clip(voice.tilt + prosody.tilt, 0.05, 0.93))
    pulses = _filter(np.diff(flow, prepend=0.0), lambda delay: (1.0 - pole) / (1.0 - pole * delay))
    source: npt.NDArray[np.float64] = pulses / np.sqrt(np.mean(pulses**2)) + breath / 0.6
    return source


def _glottal_flow(phase: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the air flow within a cycle (Rosenberg, J. Acoust. Soc. Am. 49, 1971, pulse C)."""
    opening, closing = 0.4, 0.16
    rising = 0.5 * (1.0 - np.cos(np.pi * phase / opening))
    falling = np.cos(0.5 * np.pi * (phase - opening) / closing)
    return np.where(phase < opening, rising, np.where(phase < opening + closing, falling, 0.0))


def _formants(vowel: int, voice: Voice) -> tuple[list[float], tuple[float, ...]]:
    """Return the four resonances of a vowel, as frequencies and bandwidths in hz."""
    return [hz * voice.formant_scale for hz in (*_VOWELS[vowel], _FOURTH_FORMANT_HZ)], _BANDWIDTHS_HZ


def _resonate(
    samples: npt.NDArray[np.float64], frequencies_hz: Sequence[float], bandwidths_hz: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return a signal after resonators in series, each with gain 1 at 0 hz (Klatt, J. Acoust. Soc. Am. 67, 1980)."""

    def response(delay: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        product = np.ones_like(delay)
        for frequency_hz, bandwidth_hz in zip(frequencies_hz, bandwidths_hz, strict=True):
            radius = np.exp(-np.pi * bandwidth_hz / SAMPLING_RATE)
            first, second = -2.0 * radius * np.cos(2.0 * np.pi * frequency_hz / SAMPLING_RATE), radius**2
            product *= (1.0 + first + second) / (1.0 + first * delay + second * delay**2)
        return product

    return _filter(samples, response)


def _filter(
    samples: npt.NDArray[np.float64],
    response: Callable[[npt.NDArray[np.complex128]], npt.NDArray[np.complex128]],
) -> npt.NDArray[np.float64]:
    """Return a signal after a filter, given as a function of the unit delay `exp(-i omega)`, by Fourier transform."""
    # A power of 2 for speed, with room for the ringing, which would otherwise come back at the beginning.
    length = 2 ** (len(samples) + 2000).bit_length()
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(length))
    filtered = np.fft.irfft(np.fft.rfft(samples, length) * response(delay), length)
    return np.asarray(filtered[: len(samples)], dtype=np.float64)


def _envelope(samples: int, attack: float) -> npt.NDArray[np.float64]:
    """Return a syllable's loudness: it rises for the share `attack`, then falls."""
    return np.interp(np.linspace(0.0, 1.0, samples), [0.0, attack, 0.85, 1.0], [0.1, 1.0, 0.6, 0.0])


def _add_consonant(
    speech: npt.NDArray[np.float64],
    start: int,
    is_hissing: bool,
    peak: float,
    prosody: _Prosody,
    generator: np.random.Generator,
) -> None:
    """Add a burst of noise where a syllable begins, in place."""
    length = min(int(_CONSONANT_SECONDS / prosody.rate * SAMPLING_RATE), len(speech) - start)
    noise = generator.normal(0.0, 1.0, size=length) * np.hanning(length)
    frequency, gain = (5200.0, 0.25) if is_hissing else (1800.0, 0.15)
    burst = _resonate(noise, [frequency], [1500.0])
    speech[start : start + length] += gain * peak * burst / (np.std(burst) + 1e-9)
