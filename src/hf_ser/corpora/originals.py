"""The list of the 12,162 published files: their digests, lengths and levels, without their audio."""

import lzma
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Literal, NamedTuple, TypeAlias

# Hexadecimal digits that the list keeps of the SHA-256 of a file and of the SHA-1 of its samples.
SHA256_DIGITS: Final = 24
PCM_DIGITS: Final = 16

Provenance: TypeAlias = Literal["original", "re_encoded", "unknown"]

# A lossy copy keeps its length up to one codec frame and loses the upper band: at most 2.6 dB as 16 kHz Opus.
_LENGTH_TOLERANCE_SECONDS: Final = 0.05
_LEVEL_LOSS_DB: Final = 4.0
_LEVEL_GAIN_DB: Final = 1.0


class Original(NamedTuple):
    """A published file: digests cut to the digits above, samples per channel, rate in Hz, RMS of 16-bit samples."""

    clip_id: str
    sha256: str
    pcm_sha1: str
    frames: int
    sampling_rate: int
    rms: float
    clipped: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Originals:
    """All published files, by `clip_id` and by the first digits of their SHA-256 (corpora repeat some files)."""

    by_clip_id: Mapping[str, Original]
    by_sha256: Mapping[str, tuple[Original, ...]]

    def with_digest(self, sha256: str) -> tuple[Original, ...]:
        """Return the published files with this SHA-256 (hexadecimal)."""
        return self.by_sha256.get(sha256[:SHA256_DIGITS], ())

    def is_copy(self, clip_id: str, *, duration: float, level_db: float) -> bool:
        """Return whether audio has the length (in seconds) and the level of a published clip, as copies of it have."""
        original = self.by_clip_id.get(clip_id)
        if original is None or abs(duration - original.frames / original.sampling_rate) > _LENGTH_TOLERANCE_SECONDS:
            return False
        published = level(original.rms)
        return published == level_db or -_LEVEL_LOSS_DB <= level_db - published <= _LEVEL_GAIN_DB


def level(rms: float) -> float:
    """Return the level in dB relative to full scale of a root mean square of 16-bit integers."""
    return 20.0 * math.log10(rms / 32768.0) if rms > 0.0 else -math.inf


@cache
def originals() -> Originals:
    """Return the list of published files that this package contains."""
    packed = resources.files("hf_ser.corpora").joinpath("data", "originals.txt.xz").read_bytes()
    columns = [block.split("\n") for block in lzma.decompress(packed).decode().split("\n\n")]
    by_clip_id, by_sha256 = {}, dict[str, tuple[Original, ...]]()
    for clip_id, sha256, pcm_sha1, frames, rate, rms, clipped in zip(*columns, strict=True):
        entry = Original(clip_id, sha256, pcm_sha1, int(frames), int(rate), float(rms), clipped == "1")
        by_clip_id[clip_id] = entry
        by_sha256[sha256] = (*by_sha256.get(sha256, ()), entry)
    return Originals(by_clip_id, by_sha256)
