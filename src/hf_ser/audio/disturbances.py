"""Changes of recordings that should not change the emotion that is heard, and their strengths.

The small changes and their levels are those of ser-tests (Derington et al., Testing Speech Emotion Recognition Machine
Learning Models, 2023). A level is in decibels relative to full scale: of the root mean square (RMS) where it is of
noise, of the largest absolute sample (peak) where it says so. A change that adds or filters restores the clip's RMS
afterwards, so that no model is judged by loudness, unless loudness is what changes; samples beyond full scale stay.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
Change = Callable[[Samples, int, float, np.random.Generator, Sequence[Samples]], NDArray[Any]]
"""Takes samples `(samples,)`, their rate in hertz, a strength, a generator and clips of other speakers."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A change with the strengths it is tested at, and what may come of it.

    Attributes:
        change: The function.
        strengths: One of them is drawn for each clip.
        curve: Strengths that are measured one by one on a subset; none for no curve.
        neutral: The strength on the curve that changes nothing, where there is one.
        unit: Of the strengths.
        limits: What a check demands: the most of `uar_lost` and `uap_lost`, the least of `unchanged`.
    """

    change: Change
    strengths: tuple[float, ...]
    limits: dict[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    neutral: float | None = None
    unit: str = "dB"

    def __call__(
        self, clip: Samples, rate: int, strength: float, key: Sequence[int], others: Sequence[Samples]
    ) -> Samples:
        """Return the changed clip; `key` seeds its random choices."""
        changed = self.change(clip, rate, strength, np.random.default_rng(key), others)
        return np.ascontiguousarray(changed, dtype=np.float32)


def rms(samples: NDArray[Any]) -> float:
    """Return the root mean square.

    Example:
        >>> rms(np.array([0.6, -0.8, 0.0, 0.0])).__round__(6)
        0.5
    """
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def with_rms(samples: NDArray[Any], level: float) -> NDArray[Any]:
    """Return samples scaled to an RMS; silence stays silence."""
    return np.asarray(samples * (level / max(rms(samples), 1e-12)))


def _added(clip: Samples, noise: NDArray[Any], snr: float) -> NDArray[Any]:
    """Return clip plus noise at a ratio of their RMS in decibels, at the RMS of the clip."""
    return with_rms(clip + with_rms(noise, rms(clip) * 10 ** (-snr / 20)), rms(clip))


def white_noise(clip: Samples, rate: int, snr: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Add Gaussian noise of equal power at all frequencies, at a signal-to-noise ratio of RMS values in decibels."""
    return _added(clip, draw.standard_normal(len(clip)), snr)


def pink_noise(clip: Samples, rate: int, snr: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Add noise whose power falls with 1/f, at a signal-to-noise ratio of RMS values in decibels."""
    spectrum = np.fft.rfft(draw.standard_normal(len(clip)))
    return _added(clip, np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(clip)), snr)


def babble(clip: Samples, rate: int, snr: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Add the mean of 4 to 7 clips of other speakers, each at one RMS and repeated to length, at an SNR in decibels."""
    chosen = draw.permutation(len(others))[: int(draw.integers(4, 8))]
    voices = [np.resize(np.roll(others[index], draw.integers(len(others[index]))), len(clip)) for index in chosen]
    return _added(clip, np.mean([with_rms(voice, 0.1) for voice in voices], axis=0), snr)


def tone(clip: Samples, rate: int, snr: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Add a sine of 5 to 7 kHz whose peak lies so many decibels below the clip's peak."""
    wave = np.sin(2 * np.pi * draw.uniform(5_000, 7_000) * np.arange(len(clip)) / rate)
    return with_rms(clip + wave * np.abs(clip).max() * 10 ** (-snr / 20), rms(clip))


def zeros_before(clip: Samples, rate: int, count: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Put so many zeros before the clip."""
    return np.pad(clip, (int(count), 0))


def zeros_behind(clip: Samples, rate: int, count: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Put so many zeros behind the clip."""
    return np.pad(clip, (0, int(count)))


def cut_begin(clip: Samples, rate: int, count: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Remove so many samples at the beginning; half a clip always stays."""
    return clip[min(int(count), len(clip) // 2) :]


def cut_end(clip: Samples, rate: int, count: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Remove so many samples at the end; half a clip always stays."""
    return clip[: len(clip) - min(int(count), len(clip) // 2)]


def clipping(clip: Samples, rate: int, share: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Limit the loudest samples, a share in percent, to the value that the rest stays below; RMS is not restored."""
    limit = np.quantile(np.abs(clip), 1 - share / 100)
    return np.clip(clip, -limit, limit)


def gain(clip: Samples, rate: int, decibels: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Scale the samples by a gain in decibels, RMS and peak alike."""
    return clip * 10 ** (decibels / 20)


def high_pass(clip: Samples, rate: int, cutoff: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Remove what lies below a frequency in hertz (Butterworth, first order); RMS is restored."""
    return _filtered(clip, rate, cutoff, "highpass", order=1)


def low_pass(clip: Samples, rate: int, cutoff: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Remove what lies above a frequency in hertz (Butterworth, first order); RMS is restored."""
    return _filtered(clip, rate, cutoff, "lowpass", order=1)


def _filtered(clip: NDArray[Any], rate: int, cutoff: Any, kind: str, order: int) -> NDArray[Any]:
    from scipy.signal import butter, sosfilt

    sections = butter(order, np.minimum(cutoff, 0.499 * rate), kind, fs=rate, output="sos")
    return with_rms(sosfilt(sections, clip), rms(clip))


def telephone(clip: Samples, rate: int, kind: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Send the clip through a line of 300 to 3,400 Hz at 8 kHz, coded by G.711 mu-law (0) or GSM 06.10 (1)."""
    import soundfile
    import soxr

    narrow = soxr.resample(_filtered(clip, rate, [300, 3_400], "bandpass", order=4), rate, 8_000)
    file, form = io.BytesIO(), {"format": "WAV", "subtype": ("ULAW", "GSM610")[int(kind)]}
    soundfile.write(file, narrow / max(1.0, float(np.abs(narrow).max())), 8_000, **form)
    file.seek(0)
    back = soxr.resample(soundfile.read(file, dtype="float32")[0], 8_000, rate)
    return with_rms(back[: len(clip)], rms(clip))


def tilt(clip: Samples, rate: int, slope: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Tilt the spectrum by decibels an octave around 1 kHz, as a microphone's colour does; RMS is restored."""
    frequencies = np.fft.rfftfreq(len(clip), 1 / rate)
    octaves = np.log2(np.clip(frequencies, 50, None) / 1_000)
    return with_rms(np.fft.irfft(np.fft.rfft(clip) * 10 ** (slope * octaves / 20), len(clip)), rms(clip))


def reverberation(
    clip: Samples, rate: int, seconds: float, draw: np.random.Generator, others: Sequence[Samples]
) -> Any:
    """Convolve with a simulated room: the direct sound, then noise that decays by 60 dB within so many seconds.

    The direct sound has the energy of the rest (Moorer, About this Reverberation Business, 1979, for decaying noise as
    a room's response). Length and RMS are those of the clip.
    """
    from scipy.signal import fftconvolve

    times = np.arange(round(seconds * rate)) / rate
    late = draw.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    late[0] = np.sqrt(np.square(late[1:]).sum())
    return with_rms(fftconvolve(clip, late)[: len(clip)], rms(clip))


def speed(clip: Samples, rate: int, factor: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Play the clip faster by a factor without a change of pitch; RMS is restored."""
    from audiomentations import TimeStretch

    change = TimeStretch(factor, factor, method="signalsmith_stretch", leave_length_unchanged=False, p=1.0)
    return with_rms(change(clip.copy(), rate), rms(clip))


def pitch(clip: Samples, rate: int, semitones: float, draw: np.random.Generator, others: Sequence[Samples]) -> Any:
    """Shift the pitch by semitones without a change of length; RMS is restored."""
    from audiomentations import PitchShift

    return with_rms(PitchShift(semitones, semitones, method="signalsmith_stretch", p=1.0)(clip.copy(), rate), rms(clip))


SMALL = {"unchanged": 0.95}
"""What is demanded under changes that are hardly heard."""
_NOISE = {"uar_lost": 0.05, "uap_lost": 0.05, "unchanged": 0.9}

DISTURBANCES: dict[str, Disturbance] = {
    "tone": Disturbance(tone, (40, 45, 50), SMALL),
    "white_weak": Disturbance(white_noise, (35, 40, 45), SMALL),
    "zeros_behind": Disturbance(zeros_behind, (100, 500, 1_000), SMALL, unit="samples"),
    "zeros_before": Disturbance(zeros_before, (100, 500, 1_000), SMALL, unit="samples"),
    "cut_end": Disturbance(cut_end, (100, 500, 1_000), SMALL, unit="samples"),
    "cut_begin": Disturbance(cut_begin, (100, 500, 1_000), SMALL, unit="samples"),
    "clipping": Disturbance(clipping, (0.1, 0.2, 0.3), SMALL, unit="% of samples"),
    "gain": Disturbance(gain, (-2, -1, 1, 2), SMALL),
    "high_pass": Disturbance(high_pass, (50, 100, 150), SMALL, unit="Hz"),
    "low_pass": Disturbance(low_pass, (7_500, 7_000, 6_500), SMALL, unit="Hz"),
    "white_20db": Disturbance(white_noise, (20,), _NOISE, curve=(10, 0), unit="dB SNR"),
    "pink_20db": Disturbance(pink_noise, (20,), _NOISE, unit="dB SNR"),
    "babble_20db": Disturbance(babble, (20,), _NOISE, curve=(10, 0), unit="dB SNR"),
    "telephone": Disturbance(telephone, (0, 1), {"uar_lost": 0.05, "uap_lost": 0.05, "unchanged": 0.5}, unit="codec"),
    "tilt": Disturbance(tilt, (-3, 3), {"uar_lost": 0.02, "uap_lost": 0.02, "unchanged": 0.8}, unit="dB an octave"),
    "reverberation": Disturbance(reverberation, (0.3, 0.6), {"unchanged": 0.8}, unit="s"),
    "speed": Disturbance(speed, (), curve=(0.8, 1.25), neutral=1, unit="times"),
    "pitch": Disturbance(pitch, (), curve=(-4, 4), neutral=0, unit="semitones"),
}
"""The disturbances by name; another package adds its own here."""
