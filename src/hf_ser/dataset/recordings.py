"""Recordings that are in two parts of a split under different names, also at another level or in another format."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hf_ser.corpora.originals import level, originals
from hf_ser.dataset.hygiene import inspect_samples, is_truncated
from hf_ser.dataset.proof import Recordings
from hf_ser.errors import InputError
from hf_ser.files import cache_folder
from hf_ser.sound import read_file, read_sound

if TYPE_CHECKING:
    from datasets import Dataset

Samples = npt.NDArray[np.float32]

_LONGEST_SECONDS: Final = 30
_FRAMES, _BANDS, _COARSE = 32, 8, 16
_BATCH, _ROWS = 64, 256
# Measured on 10,774 clips: 99 % differ by more from their nearest neighbour; copies (at another level, as MP3 or Opus,
# with noise 40 dB below, with other silence) differ by 0.6 dB at the median. Different clips that are nearest
# neighbours correlate by 0.4, copies by 0.97 or more.
_LARGEST_DIFFERENCE_DB: Final = 3.5
_LOWEST_CORRELATION: Final = 0.9


class Described(NamedTuple):
    """What decoding a recording shows: its spectral envelope, level, and the flags that follow (see `FLAGS`)."""

    signature: Samples
    pcm_sha1: str
    level_db: float
    flags: tuple[str, ...]


def shared_recordings(parts: Mapping[str, Dataset], described: Mapping[str, Described]) -> Recordings:
    """Return, for every two parts, the pairs of clips that are the same recording; none without descriptions.

    Two clips count as the same recording if their first 30 seconds, without leading and trailing silence and at equal
    level, have similar spectral envelopes and waveforms that correlate by 0.9 or more at the best offset. Copies with
    strong noise, another pitch or another speed are not found.
    """
    found = {}
    for names in itertools.combinations(parts, 2) if described else ():
        first, second = (parts[name] for name in names)
        found[names] = tuple(sorted((a["clip_id"], b["clip_id"]) for a, b in _same(first, second, described)))
    return found


def repeated_recordings(rows: Dataset, described: Mapping[str, Described]) -> list[tuple[int, int]]:
    """Return the pairs of rows, the earlier one first, that are the same recording; of many, each with one other."""
    first = rows.add_column("row", range(len(rows)))
    return sorted((min(a["row"], b["row"]), max(a["row"], b["row"])) for a, b in _same(first, first, described))


def _same(
    first: Dataset, second: Dataset, described: Mapping[str, Described]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    a_all, b_all = (np.array([described[it].signature for it in part["audio_sha256"][:]]) for part in (first, second))
    for row, other in _nearest(a_all, b_all, first is second):
        a, b = first[row], second[other]
        if _correlation(a["audio"], b["audio"]) >= _LOWEST_CORRELATION:
            yield a, b


def describe(parts: Iterable[Dataset]) -> dict[str, Described]:
    """Return the description of every clip by `audio_sha256`, kept in the cache folder between runs.

    Published files are known to be different recordings: of a data set of these alone, the result is empty.
    """
    from datasets import Dataset, Features, Sequence, Value, concatenate_datasets

    rows = concatenate_datasets([part.select_columns(["audio", "audio_sha256"]) for part in parts])
    place = {digest: row for row, digest in enumerate(rows["audio_sha256"][:])}
    if all(originals().with_digest(digest) for digest in place):
        return {}
    digests = sorted(place)
    audio = rows.select([place[digest] for digest in digests])

    def inspect(begin: int) -> list[Described]:
        return [_described(one) for one in audio[begin : begin + _BATCH]["audio"]]

    def table(batch: Mapping[str, Any]) -> dict[str, Any]:
        with ThreadPoolExecutor() as pool:
            found = list(itertools.chain.from_iterable(pool.map(inspect, batch["begin"])))
        return {name: [getattr(one, name) for one in found] for name in Described._fields}

    key = hashlib.sha256(f"recordings 2: {digests}".encode()).hexdigest()
    folder = cache_folder()
    if folder is not None:
        (folder / "recordings").mkdir(parents=True, exist_ok=True)
    texts, number = Sequence(Value("string")), Value("float32")
    kept = Dataset.from_dict({"begin": range(0, len(digests), _BATCH)}).map(
        table,
        batched=True,
        batch_size=4,
        remove_columns=["begin"],
        features=Features(
            {"signature": Sequence(number), "pcm_sha1": Value("string"), "level_db": number, "flags": texts}
        ),
        new_fingerprint=key,
        cache_file_name=None if folder is None else str(folder / "recordings" / f"{key}.arrow"),
        keep_in_memory=folder is None,
        desc="Comparing recordings",
    )
    size = _FRAMES * _BANDS
    signatures = np.concatenate([chunk.flatten().to_numpy() for chunk in kept.data.column("signature").chunks])
    columns = (kept[name][:] for name in ("pcm_sha1", "level_db", "flags"))
    return {
        digest: Described(signatures[size * row : size * (row + 1)], sha1, level, tuple(flags))
        for row, (digest, sha1, level, flags) in enumerate(zip(digests, *columns, strict=True))
    }


def _nearest(first: Samples, second: Samples, itself: bool) -> list[tuple[int, int]]:
    """Return the clips of the second part with their nearest neighbour in the first one, where it is near enough."""
    pairs = []
    limit = _LARGEST_DIFFERENCE_DB**2 * first.shape[1] if len(first) else 0.0
    # Means over 16 values each cannot differ by more than the values: most pairs are told apart by these.
    coarse = [matrix.reshape(len(matrix), -1, _COARSE).mean(axis=2) for matrix in (first, second)]
    squares = (coarse[0] ** 2).sum(axis=1)
    for begin in range(0, len(second), _ROWS):
        block = coarse[1][begin : begin + _ROWS]
        distances = squares - 2 * block @ coarse[0].T + (block**2).sum(axis=1, keepdims=True)
        for row, own in zip(*_grouped(np.nonzero(distances * _COARSE <= limit * 1.001)), strict=True):
            near = own[own < begin + row] if itself else own
            exact = ((first[near] - second[begin + row]) ** 2).sum(axis=1)
            if exact.size and exact.min() <= limit:
                pairs.append((int(near[exact.argmin()]), begin + int(row)))
    return pairs


def _grouped(found: tuple[npt.NDArray[np.int64], ...]) -> tuple[list[int], list[npt.NDArray[np.int64]]]:
    """Return the rows that have a true value, and the columns of each."""
    rows, starts = np.unique(found[0], return_index=True)
    return rows.tolist(), np.split(found[1], starts[1:]) if len(rows) else []


def _described(audio: Mapping[str, Any]) -> Described:
    try:
        content = read_file(audio["path"]) if audio["bytes"] is None else audio["bytes"]
        samples, rate = read_sound(Path(audio["path"]) if audio["bytes"] is None else content, "the clip")
    except InputError:
        # Whoever reads the clip for training reports it.
        return Described(np.full(_FRAMES * _BANDS, np.nan, np.float32), "", -math.inf, ())
    sha1, rms, flags = inspect_samples(samples)
    found = [*flags, *(["truncated"] if is_truncated(content) else [])]
    return Described(_signature(*_sound(samples, rate)), sha1, max(level(rms), -200.0), tuple(found))


def _signature(samples: Samples, rate: int) -> Samples:
    """Return the level in 32 stretches of time and 8 bands of frequency, in dB; NaN where there is nothing to hear."""
    size = max(rate // 50, 16)
    if not samples.size:
        return np.full(_FRAMES * _BANDS, np.nan, np.float32)
    padded = np.pad(samples, (0, -samples.size % size)).reshape(-1, size)
    power = np.abs(np.fft.rfft(padded * np.hanning(size), axis=1)) ** 2
    edges = np.round(np.geomspace(100, 3600, _BANDS + 1) / rate * size).astype(int)
    bands = np.stack([power[:, low : max(high, low + 1)].sum(axis=1) for low, high in itertools.pairwise(edges)], 1)
    sums = np.concatenate([np.zeros((1, _BANDS)), np.cumsum(bands, axis=0)])
    times = np.linspace(0, len(bands), _FRAMES + 1)
    stretches = np.diff([np.interp(times, np.arange(len(sums)), sums[:, band]) for band in range(_BANDS)])
    levels = 10 * np.log10(stretches + stretches.max() * 1e-4 + 1e-20)
    signature: Samples = (levels - levels.mean()).astype(np.float32).ravel()
    return signature


def _correlation(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Return the largest correlation of two clips over all offsets."""
    files = (Path(audio["path"]) if audio["bytes"] is None else audio["bytes"] for audio in (first, second))
    sounds = [_sound(*read_sound(file, "the clip", seconds=_LONGEST_SECONDS)) for file in files]
    rate = min(rate for _, rate in sounds)
    waves = [
        np.interp(np.arange(0, len(samples), own / rate), np.arange(len(samples)), samples) for samples, own in sounds
    ]
    size = 2 ** (sum(map(len, waves)) - 1).bit_length()
    spectra = [np.fft.rfft(wave, size) for wave in waves]
    product = np.fft.irfft(spectra[0] * np.conj(spectra[1]), size)
    energy = float(np.linalg.norm(waves[0]) * np.linalg.norm(waves[1]))
    return float(product.max()) / energy if energy else 0.0


def _sound(samples: npt.NDArray[Any], rate: int) -> tuple[Samples, int]:
    """Return the first 30 seconds as one channel at full scale without the silence around them; none if silent."""
    mono = samples[: _LONGEST_SECONDS * rate].mean(axis=1, dtype=np.float32)
    most = np.abs(mono).max(initial=0.0)
    loud = np.flatnonzero(np.abs(mono) > 0.1 * most)
    return (mono[loud[0] : loud[-1] + 1] / most if loud.size else mono[:0]), rate
