"""What is wrong with audio files, and which clips training therefore leaves out."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hf_ser.corpora import CORPORA, Clip
from hf_ser.corpora.originals import PCM_DIGITS, Provenance, level, originals
from hf_ser.errors import InputError
from hf_ser.sound import LFS_POINTER, read_sound, sound_length
from hf_ser.text import printable

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

FLAGS: Final[Mapping[str, str]] = {
    "all_zeros": "every sample is zero",
    "near_silent": "the level is below -70 dBFS, quieter than any published clip",
    "clipped": "at least one sample is at full scale",
    "misnamed": "the file name is not the published one, or the audio is that of another clip",
    "identical_samples_two_labels": "another clip has the same samples and another label",
    "identical_samples_one_label": "another clip has the same samples and the same label",
    "truncated": "the file ends before the length that it states",
}
"""The flags that a clip of the data set can have, each with its meaning."""

UNFIT_FOR_TRAINING: Final[tuple[str, ...]] = ("all_zeros", "near_silent", "identical_samples_two_labels")
"""Flags of the clips that training leaves out by default: a model would learn nothing from them, or a wrong label."""

FULL_SCALE: Final = 32_767
"""The largest 16-bit sample; a sample of this absolute value or more counts as clipped."""

_NEAR_SILENT_DB: Final = -70.0


class Fault(NamedTuple):
    """Why a file cannot be a clip of the data set: `lfs_pointer` or `unreadable`, and an explanation."""

    reason: str
    detail: str


class Finding(NamedTuple):
    """Something wrong with a file; `templates/data_tables.md` and `FLAGS` say what the reasons mean."""

    corpus: str
    file: str
    clip_id: str | None
    reason: str
    detail: str


class Inspection(NamedTuple):
    """What a file contains.

    `pcm_sha1` begins the SHA-1 of the samples as 16-bit integers, and `rms` is the root mean square of those.
    `provenance` is `original` for the bytes of a published file, `re_encoded` for other bytes with the length and
    level of the published clip of that name. `flags` are names in `FLAGS`, each with what was found.
    """

    size: int
    sha256: str
    pcm_sha1: str
    frames: int
    sampling_rate: int
    rms: float
    provenance: Provenance
    flags: Mapping[str, str]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sampling_rate


def inspect_file(path: Path, clip: Clip, quick: bool = False) -> Inspection | Fault:
    """Return what a file contains, or why it cannot be the clip that its name stands for.

    The facts of a published file are known by its SHA-256; other files are decoded. If `quick`, a usable header is
    enough: the facts about its samples are then not known.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        return Fault("unreadable", f"cannot be opened ({error.strerror})")
    if not content:
        return Fault("unreadable", "is empty (0 bytes)")
    if content.startswith(LFS_POINTER):
        return Fault("lfs_pointer", "is a Git LFS pointer, not audio; run `git lfs pull` in a clone of its repository")
    sha256, flags = hashlib.sha256(content).hexdigest(), _naming(path.name, clip)
    published = originals().with_digest(sha256)
    if published:
        same = next((original for original in published if original.clip_id == clip.clip_id), None)
        _, _, pcm_sha1, frames, rate, rms, clipped = same or published[0]
        if same is None:
            flags["misnamed"] = f"its bytes are those of {published[0].clip_id}"
        flags |= _levels(rms, clipped)
        return Inspection(len(content), sha256, pcm_sha1, frames, rate, rms, "original", flags)
    if quick:
        with contextlib.suppress(InputError):
            seconds, rate = sound_length(path, path.name)
            facts = ("", round(seconds * rate), rate, math.nan)
            return Inspection(len(content), sha256, *facts, "unknown", flags)
    try:
        # Given a path, libsndfile decodes several times as fast as from bytes.
        samples, rate = read_sound(path, path.name)
    except InputError as error:
        why = str(error).removeprefix(f"{path.name}: ").partition(";")[0]
        return Fault("unreadable", f"is {why}" if why.startswith("not ") else why)
    digest, rms, found = inspect_samples(samples)
    if not math.isfinite(rms):
        return Fault("unreadable", "contains samples that are not finite numbers")
    copied = originals().is_copy(clip.clip_id, duration=len(samples) / rate, level_db=level(rms))
    origin: Provenance = "re_encoded" if copied else "unknown"
    return Inspection(len(content), sha256, digest, len(samples), rate, rms, origin, flags | found)


def inspect_samples(samples: npt.NDArray[Any]) -> tuple[str, float, dict[str, str]]:
    """Return the digest, RMS and flags of samples (frames, channels), which are 16-bit integers or floats in [-1, 1].

    Digest and RMS are those of the samples as 16-bit integers.
    """
    scale = 1.0 if samples.dtype == np.int16 else 32768.0
    largest = max(float(samples.max()), -float(samples.min())) * scale
    # Several times as fast as a mean of squares; single precision is exact to 1e-6.
    flat = samples.reshape(-1).astype(np.float32, copy=False)
    rms = math.sqrt(float(np.dot(flat, flat)) / flat.size) * scale
    if not (math.isfinite(largest) and math.isfinite(rms)):
        return "", math.nan, {}
    if samples.dtype != np.int16:
        samples = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    digest = hashlib.sha1(np.ascontiguousarray(samples).data, usedforsecurity=False).hexdigest()[:PCM_DIGITS]
    return digest, rms, _levels(rms, round(largest) >= FULL_SCALE)


def is_truncated(encoded: bytes) -> bool:
    """Return whether a WAV or Ogg file ends early: decoders take what is there, and say nothing."""
    if encoded[:4] == b"RIFF":
        # Programs that write to a pipe leave 0 or the largest number.
        stated = int.from_bytes(encoded[4:8], "little")
        return len(encoded) < stated + 8 < 0xFFFF0000
    if encoded[:4] == b"OggS":
        last = encoded.rfind(b"OggS")
        return not encoded[last + 5] & 4 if last + 5 < len(encoded) else True
    return False


def _naming(name: str, clip: Clip) -> dict[str, str]:
    """Return a flag if the name is not the published one, letter case aside."""
    published = clip.clip_id.partition("/")[2]
    stem = name.rpartition(".")[0].lower()
    if stem == published.lower() or (clip.corpus == "savee" and stem == published.partition("_")[2].lower()):
        return {}
    return {"misnamed": f"named {name}, stands for {published}"}


def _levels(rms: float, clipped: bool) -> dict[str, str]:
    """Return the flags of a level; `rms` on the scale of 16-bit integers."""
    if rms == 0.0:
        return {"all_zeros": FLAGS["all_zeros"]}
    flags = {}
    if (decibels := level(rms)) < _NEAR_SILENT_DB:
        flags["near_silent"] = f"its level is {decibels:.1f} dBFS"
    if clipped:
        flags["clipped"] = FLAGS["clipped"]
    return flags


def repeated_samples(
    clip_ids: Sequence[str], digests: Sequence[str], labels: Iterable[str]
) -> dict[str, dict[str, str]]:
    """Return, by `clip_id`, the flags of the clips that have the same samples as another clip."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for clip_id, digest, label in zip(clip_ids, digests, labels, strict=True):
        groups.setdefault(digest, []).append((clip_id, label))
    flags: dict[str, dict[str, str]] = {}
    for members in groups.values():
        contradictory = len({label for _, label in members}) > 1
        flag = "identical_samples_two_labels" if contradictory else "identical_samples_one_label"
        for clip_id, _ in members if len(members) > 1 else ():
            twins = ", ".join(f"{other} ({label})" for other, label in members if other != clip_id)
            flags[clip_id] = {flag: f"same samples as {twins}"}
    return flags


def found_flags(rows: Dataset, labels: Sequence[str], described: Mapping[str, Any]) -> list[list[str]]:
    """Return the flags of each clip: for samples that another clip has too, and those in `described` by digest."""
    digests, names = rows["audio_sha256"][:], [labels[identifier] for identifier in rows["emotion"][:]]
    samples = [(described[it].pcm_sha1 if it in described else "") or it for it in digests]
    repeated = repeated_samples([str(row) for row in range(len(rows))], samples, names)
    own = [described[it].flags if it in described else () for it in digests]
    return [[*repeated.get(str(row), ()), *flags] for row, flags in enumerate(own)]


def without_unfit(
    rows: Dataset, labels: Sequence[str], described: Mapping[str, Any] | None = None
) -> tuple[Dataset, dict[str, int]]:
    """Leave the unfit clips out of a training part, log which, and count them by reason (of `UNFIT_FOR_TRAINING`).

    The column `flags` names them where a row has one. Otherwise these are clips that `described` (by `audio_sha256`)
    flags, equal files with two labels, and copies of the published clips in `Corpus.faults`.
    """
    clip_ids, found = rows["clip_id"][:], found_flags(rows, labels, described or {})
    given = rows["flags"][:] if "flags" in rows.column_names else [None] * len(rows)
    faults = {clip_id: flag for corpus in CORPORA.values() for clip_id, flag in corpus.faults.items()}
    reasons: dict[int, str] = {}
    for row, flags in enumerate(given):
        if flags is None:
            published = clip_ids[row] in faults and _is_published(rows[row])
            flags = [*found[row], *([faults[clip_ids[row]]] if published else [])]
        if unfit := [flag for flag in UNFIT_FOR_TRAINING if flag in flags]:
            reasons[row] = unfit[0]
    if not reasons:
        return rows, {}
    shown = ", ".join(f"{printable(clip_ids[row])} ({reason})" for row, reason in list(reasons.items())[:3])
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    counted = "1 clip is" if len(reasons) == 1 else f"{len(reasons):,} clips are"
    logger.warning("%s left out of training: %s%s", counted, shown, more)
    kept = [row for row in range(len(rows)) if row not in reasons]
    return rows.select(kept), dict(sorted(Counter(reasons.values()).items()))


def _is_published(row: Mapping[str, Any]) -> bool:
    """Return whether a clip is the published recording of its name, in any format, and not another recording."""
    known, audio = originals(), row["audio"]
    if row["clip_id"] not in known.by_clip_id:
        # Of a registered corpus, of which only the names are known.
        return True
    if any(original.clip_id == row["clip_id"] for original in known.with_digest(row["audio_sha256"])):
        return True
    try:
        samples, rate = read_sound(Path(audio["path"]) if audio["bytes"] is None else audio["bytes"], "clip")
    except InputError:
        return False
    # As 16-bit integers: a lossy copy of silence is not exactly zero.
    _, rms, _ = inspect_samples(samples)
    return known.is_copy(row["clip_id"], duration=len(samples) / rate, level_db=level(rms))
