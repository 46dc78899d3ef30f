"""Groups of recordings that stand in for speakers where these are not known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_ser.dataset.proof import UNKNOWN_SPEAKER
from hf_ser.dataset.recordings import repeated_recordings

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_ser.dataset.recordings import Described

_FEWEST_FOLDERS = 3


def with_groups(rows: Dataset, described: Mapping[str, Described]) -> Dataset:
    """Return rows in which clips without a known speaker have the name of a group in its place.

    Clips of a group are in one folder, or are near-identical recordings of each other. Folders that are named after a
    label do not count, nor do folders of a data set that has fewer than three.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    speakers, corpora, digests = (rows[name][:] for name in ("speaker", "corpus", "audio_sha256"))
    unknown = np.array([speaker.endswith(UNKNOWN_SPEAKER) for speaker in speakers])
    places = [f"{corpus}/{folder}" for corpus, folder in zip(corpora, rows["folder"][:], strict=True)]
    folders: dict[str, set[str]] = {}
    for corpus, place in zip(corpora, places, strict=True):
        folders.setdefault(corpus, set()).add(place)
    pairs = repeated_recordings(rows, described) if described else []
    first: dict[Any, int] = {}
    for row, key in enumerate(zip(corpora, digests, strict=True)):
        pairs.append((first.setdefault(key, row), row))
        if len(folders[corpora[row]]) >= _FEWEST_FOLDERS:
            pairs.append((first.setdefault(places[row], row), row))
    ends = np.array([pair for pair in pairs if unknown[list(pair)].all()]).reshape(-1, 2).T
    size = len(speakers)
    _, group = connected_components(coo_array((np.ones(ends.shape[1]), ends), shape=(size, size)), directed=False)
    # Named after its first folder, or its content, so that the order of the rows does not matter.
    names: dict[int, str] = {}
    whole = [len(folders[corpus]) >= _FEWEST_FOLDERS for corpus in corpora]
    keys = [place if it else digest for place, digest, it in zip(places, digests, whole, strict=True)]
    for row in sorted(range(size), key=keys.__getitem__):
        names.setdefault(int(group[row]), hashlib.sha256(keys[row].encode()).hexdigest()[:10])
    named = [f"{it}{names[int(group[row])]}" if unknown[row] else it for row, it in enumerate(speakers)]
    return rows.remove_columns("speaker").add_column("speaker", named)
