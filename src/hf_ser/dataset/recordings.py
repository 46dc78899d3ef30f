"""Recordings that are the same under different names, also at another level or format, and the groups they form."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hf_ser.corpora.originals import level, originals
from hf_ser.dataset.hygiene import inspect_samples, is_truncated
from hf_ser.dataset.proof import UNKNOWN_SPEAKER
from hf_ser.dataset.tables import audio_bytes
from hf_ser.errors import InputError
from hf_ser.files import cache_folder
from hf_ser.sound import read_sound

if TYPE_CHECKING:
    from datasets import Dataset

Samples = npt.NDArray[np.float32]

_LONGEST_SECONDS: Final = 30
_FRAMES, _BANDS = 32, 8
_BATCH, _MANY = 64, 20_000
_TABLES, _PLANES, _NEIGHBOURS = 32, 20, 8
# Measured on 10,774 clips: 99 % differ by more from their nearest neighbour; copies (at another level, as MP3 or Opus,
# with noise 40 dB below, with other silence) differ by 0.6 dB at the median. Different clips that are nearest
# neighbours correlate by 0.4, copies by 0.97 or more.
_LARGEST_DIFFERENCE_DB: Final = 3.5
_LOWEST_CORRELATION: Final = 0.9


class Described(NamedTuple):
    """What decoding a recording shows: the digest of its samples, level, and the flags that follow (see `FLAGS`)."""

    pcm_sha1: str
    level_db: float
    flags: tuple[str, ...]


class Descriptions(dict[str, Described]):
    """Descriptions by `audio_sha256`; `pairs` are the digests of different files with the same recording."""

    pairs: Sequence[tuple[str, str]] = ()


def repeated_recordings(rows: Dataset, described: Descriptions) -> list[tuple[int, int]]:
    """Return the pairs of rows, the earlier one first, that are the same recording in different files."""
    place: dict[str, int] = {}
    for row, digest in enumerate(rows["audio_sha256"][:]):
        place.setdefault(digest, row)
    return sorted((min(place[a], place[b]), max(place[a], place[b])) for a, b in described.pairs)


def describe(parts: Iterable[Dataset]) -> Descriptions:
    """Decode every clip once; what it shows is kept in the cache folder between runs.

    Two clips count as the same recording if their first 30 seconds, without leading and trailing silence and at equal
    level, have similar spectral envelopes and waveforms that correlate by 0.9 or more at the best offset. Copies with
    strong noise, another pitch or another speed are not found. Of published files alone, which are known to be
    different recordings, the result is empty.
    """
    from datasets import Dataset, Features, List, Value, concatenate_datasets

    rows = concatenate_datasets([part.select_columns(["audio", "audio_sha256"]) for part in parts])
    place = {digest: row for row, digest in enumerate(rows["audio_sha256"][:])}
    if all(originals().with_digest(digest) for digest in place):
        return Descriptions()
    digests = sorted(place)
    audio = rows.select([place[digest] for digest in digests])

    def inspect(begin: int) -> list[tuple[Any, ...]]:
        return [_described(one) for one in audio[begin : begin + _BATCH]["audio"]]

    def table(batch: Mapping[str, Any]) -> dict[str, Any]:
        with ThreadPoolExecutor() as pool:
            found = itertools.chain.from_iterable(pool.map(inspect, batch["begin"]))
        return dict(zip((*Described._fields, "signature"), map(list, zip(*found, strict=True)), strict=True))

    key = hashlib.sha256(f"recordings 3: {digests}".encode()).hexdigest()[:32]
    folder = cache_folder()
    if folder is not None:
        (folder / "recordings").mkdir(parents=True, exist_ok=True)
    number = Value("float32")
    kinds = {"pcm_sha1": Value("string"), "level_db": number, "flags": List(Value("string")), "signature": List(number)}
    # Processes are worth their start for many clips, and must not be forked from one that runs PyTorch's threads.
    alone = len(digests) < _MANY or "torch" in sys.modules
    kept = Dataset.from_dict({"begin": range(0, len(digests), _BATCH)}).map(
        table,
        batched=True,
        batch_size=4,
        remove_columns=["begin"],
        features=Features(kinds),
        new_fingerprint=key,
        cache_file_name=None if folder is None else str(folder / "recordings" / f"{key}.arrow"),
        keep_in_memory=folder is None,
        num_proc=None if alone else os.cpu_count(),
        desc="Comparing recordings",
    )
    columns = (kept[name][:] for name in Described._fields)
    found = Descriptions(
        {it: Described(sha1, level, tuple(flags)) for it, sha1, level, flags in zip(digests, *columns, strict=True)}
    )
    signatures = np.concatenate([chunk.flatten().to_numpy() for chunk in kept.data.column("signature").chunks])
    near = _near(signatures.reshape(len(digests), -1))
    found.pairs = [(digests[a], digests[b]) for a, b in near if _correlation(audio[a]["audio"], audio[b]["audio"])]
    return found


def _near(signatures: Samples) -> list[tuple[int, int]]:
    """Return the pairs of rows whose signatures differ little, each once.

    Only rows on the same side of 20 random planes are compared, for 32 choices of planes: of pairs at the limit, one in
    a hundred is missed, of real copies practically none, and 100,000 clips take seconds.
    """
    rows = np.flatnonzero(~np.isnan(signatures[:, 0]))
    if len(rows) < 2:
        return []
    values = signatures[rows]
    planes = np.random.default_rng(0).standard_normal((_TABLES, values.shape[1], _PLANES), dtype=np.float32)
    centred, pairs = values - values.mean(axis=0), set[tuple[int, int]]()
    for chosen in planes:
        codes = (centred @ chosen > 0) @ (1 << np.arange(_PLANES))
        order = np.argsort(codes, kind="stable")
        for step in range(1, _NEIGHBOURS + 1):
            a, b = order[:-step], order[step:]
            same = codes[a] == codes[b]
            a, b = a[same], b[same]
            near = ((values[a] - values[b]) ** 2).mean(axis=1) <= _LARGEST_DIFFERENCE_DB**2
            pairs.update(zip(rows[a[near]].tolist(), rows[b[near]].tolist(), strict=True))
    return sorted({(min(pair), max(pair)) for pair in pairs})


def _described(audio: Mapping[str, Any]) -> tuple[Any, ...]:
    try:
        content = audio_bytes(audio)
        samples, rate = read_sound(Path(audio["path"]) if audio["bytes"] is None else content, "the clip")
    except InputError:
        # Whoever reads the clip for training reports it.
        return "", -math.inf, (), np.full(_FRAMES * _BANDS, np.nan, np.float32)
    sha1, rms, flags = inspect_samples(samples)
    found = [*flags, *(["truncated"] if is_truncated(content) else [])]
    return sha1, max(level(rms), -200.0), found, _signature(*_sound(samples, rate))


def _signature(samples: Samples, rate: int) -> Samples:
    """Return the level in 32 stretches of time and 8 bands of frequency, in dB; NaN where there is nothing to hear."""
    # 20 ms, and less of a short clip, so that different ones differ.
    size = max(min(rate // 50, len(samples) // (2 * _FRAMES)), 16)
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


def _correlation(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two clips correlate well at some offset."""
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
    return energy > 0 and float(product.max()) / energy >= _LOWEST_CORRELATION


def _sound(samples: npt.NDArray[Any], rate: int) -> tuple[Samples, int]:
    """Return the first 30 seconds as one channel at full scale without the silence around them; none if silent."""
    mono = samples[: _LONGEST_SECONDS * rate].mean(axis=1, dtype=np.float32)
    most = np.abs(mono).max(initial=0.0)
    loud = np.flatnonzero(np.abs(mono) > 0.1 * most)
    return (mono[loud[0] : loud[-1] + 1] / most if loud.size else mono[:0]), rate


_FEWEST_FOLDERS = 3


def with_groups(rows: Dataset, described: Descriptions) -> Dataset:
    """Return rows in which clips without a known speaker have the name of a group in its place.

    Clips of a group are in one folder, or are near-identical recordings of each other. Folders that are named after a
    label do not count, nor do folders of a data set that has fewer than three.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    speakers, digests, size = rows["speaker"][:], rows["audio_sha256"][:], len(rows)
    unknown = [speaker.endswith(UNKNOWN_SPEAKER) for speaker in speakers]
    if not any(unknown):
        return rows
    places = list(zip(rows["corpus"][:], rows["folder"][:], strict=True))
    folders = {corpus: sum(of == corpus for of, _ in set(places)) for corpus, _ in set(places)}
    # Named after its first folder or content, so that the order of the rows does not matter.
    keys = ["/".join(place) if folders[place[0]] >= _FEWEST_FOLDERS else digest
            for place, digest in zip(places, digests, strict=True)]  # fmt: skip
    first: dict[Any, int] = {}
    pairs = [(first.setdefault(it, row), row) for of in (enumerate(keys), enumerate(digests)) for row, it in of]
    pairs += repeated_recordings(rows, described)
    ends = np.array([(a, b) for a, b in pairs if unknown[a] and unknown[b]]).T
    _, group = connected_components(coo_array((np.ones(ends.shape[1]), ends), shape=(size, size)), directed=False)
    names: dict[int, str] = {}
    for row in sorted(range(size), key=keys.__getitem__):
        names.setdefault(int(group[row]), hashlib.sha256(keys[row].encode()).hexdigest()[:10])
    named = [f"{it}{names[int(group[row])]}" if unknown[row] else it for row, it in enumerate(speakers)]
    return rows.remove_columns("speaker").add_column("speaker", named)
