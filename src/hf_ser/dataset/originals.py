"""What is known of the 12,162 published files: their digests, lengths and levels, without their audio."""

import lzma
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["Original", "Originals", "Provenance", "originals"]

SHA256_DIGITS: Final = 24
"""Leading hexadecimal digits of a file's SHA-256 that the list holds; 96 bits tell any two files apart."""

PCM_DIGITS: Final = 16
"""Leading hexadecimal digits of the SHA-1 of the samples that the list holds."""

Provenance: TypeAlias = Literal["original", "re_encoded", "unknown"]

# A lossy copy at another rate keeps its length to a frame of its codec, and loses what lay above half its rate:
# 2.6 dB at most over the corpora as 16 kHz Opus.
_LENGTH_TOLERANCE_SECONDS: Final = 0.05
_LEVEL_LOSS_DB: Final = 4.0
_LEVEL_GAIN_DB: Final = 1.0


class Original(NamedTuple):
    """A published file.

    Attributes:
        clip_id: As in `hf_ser.corpora.Clip`.
        sha256: First `SHA256_DIGITS` of the file's SHA-256.
        pcm_sha1: First `PCM_DIGITS` of the SHA-1 of its samples, as 16-bit integers, channels interleaved.
        frames: Number of samples of each channel.
        sampling_rate: In hz.
        rms: Root mean square over all samples, on the scale of 16-bit integers.
        clipped: Whether a sample is at full scale.
    """

    clip_id: str
    sha256: str
    pcm_sha1: str
    frames: int
    sampling_rate: int
    rms: float
    clipped: bool


@dataclass(frozen=True, slots=True, eq=False)
class Originals:
    """The published files.

    Attributes:
        by_clip_id: Every published file.
        by_sha256: The published files with a digest, by its first digits: several where the corpus repeats one.
    """

    by_clip_id: Mapping[str, Original] = field(repr=False)
    by_sha256: Mapping[str, tuple[Original, ...]] = field(repr=False)

    def with_digest(self, sha256: str) -> tuple[Original, ...]:
        """Return the published files whose bytes have this digest, in hexadecimal."""
        return self.by_sha256.get(sha256[:SHA256_DIGITS], ())

    def is_copy(self, clip_id: str, *, duration: float, level_db: float) -> bool:
        """Return whether audio that is no published file is a copy of the clip whose name it bears.

        It is where it has the original's length and level, as a lossless copy and a lossy one at any sampling
        rate have.

        Args:
            clip_id: What the file's name says.
            duration: In seconds.
            level_db: Root mean square against full scale, in dB; -inf for silence.
        """
        original = self.by_clip_id.get(clip_id)
        if original is None:
            return False
        if abs(duration - original.frames / original.sampling_rate) > _LENGTH_TOLERANCE_SECONDS:
            return False
        published = level(original.rms)
        if published == level_db:
            return True
        return -_LEVEL_LOSS_DB <= level_db - published <= _LEVEL_GAIN_DB


def level(rms: float) -> float:
    """Return a root mean square on the scale of 16-bit integers in dB against full scale.

    Example:
        >>> level(32768.0), round(level(327.68)), level(0.0)
        (0.0, -40, -inf)
    """
    return 20.0 * math.log10(rms / 32768.0) if rms > 0.0 else -math.inf


@cache
def originals() -> Originals:
    """Return the list of the published files that this package ships.

    Example:
        >>> original = originals().by_clip_id["ravdess/03-01-03-01-02-01-07"]
        >>> [twin.clip_id for twin in originals().with_digest(original.sha256)]
        ['ravdess/03-01-03-01-02-01-07', 'ravdess/03-01-03-01-02-02-07']
    """
    packed = resources.files("hf_ser.dataset").joinpath("data", "originals.txt.xz").read_bytes()
    columns = [block.split("\n") for block in lzma.decompress(packed).decode().split("\n\n")]
    by_clip_id, by_sha256 = {}, dict[str, tuple[Original, ...]]()
    for clip_id, sha256, pcm_sha1, frames, rate, rms, clipped in zip(*columns, strict=True):
        entry = Original(clip_id, sha256, pcm_sha1, int(frames), int(rate), float(rms), clipped == "1")
        by_clip_id[clip_id] = entry
        by_sha256[sha256] = (*by_sha256.get(sha256, ()), entry)
    return Originals(by_clip_id, by_sha256)
