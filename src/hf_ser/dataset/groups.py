"""Groups of recordings that stand in for speakers where these are not known."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_ser.dataset.proof import UNKNOWN_SPEAKER
from hf_ser.dataset.recordings import repeated_recordings

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_ser.dataset.recordings import Descriptions

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
