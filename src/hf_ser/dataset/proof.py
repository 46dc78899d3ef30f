"""What the parts of a split contain, and what they share: speakers, sentences and recordings."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.text import aligned

__all__ = ["PAPER_WARNING", "Overlap", "Part", "SplitProof", "prove"]

PAPER_WARNING = (
    "The 'paper' protocol assigns single clips at random, as the paper did: training, validation and test share all "
    "speakers and nearly all sentences, so its scores measure recognition of known speakers, not of new ones. Use it "
    "only to compare with the paper's tables; report 'speaker_independent' otherwise."
)

Columns = Mapping[str, Sequence[Any]]
"""Columns by name: a dictionary of lists, or a `datasets.Dataset`."""

Pairs = tuple[tuple[str, str], ...]
"""Pairs of `clip_id`, one clip from each of two parts."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a split contains.

    Attributes:
        clips: Number of clips.
        speakers: The speakers, sorted.
        corpora: Number of clips by corpus.
        counts: Number of clips by corpus, then label; empty where the labels are not known.
        sexes: Number of clips by sex; empty where it is not known.
    """

    clips: int
    speakers: tuple[str, ...]
    corpora: Mapping[str, int]
    counts: Mapping[str, Mapping[str, int]]
    sexes: Mapping[str, int]

    @property
    def labels(self) -> dict[str, int]:
        """Number of clips by label."""
        total: Counter[str] = Counter()
        for labels in self.counts.values():
            total.update(labels)
        return dict(sorted(total.items()))


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two parts of a split share; None where nothing was compared.

    Attributes:
        speakers: Speakers with clips in both parts, sorted.
        sentences: Sentences spoken in both parts, as `corpus/sentence`, sorted.
        identical_samples: Pairs of clips, one from each part, with the same samples.
        near_identical: Further pairs that are the same recording (see `hf_ser.dataset.recordings`).
    """

    speakers: tuple[str, ...]
    sentences: tuple[str, ...] | None
    identical_samples: Pairs | None
    near_identical: Pairs | None = None

    @property
    def recordings(self) -> Pairs:
        """Pairs of clips that are the same recording."""
        return (*(self.identical_samples or ()), *(self.near_identical or ()))


@dataclass(frozen=True, slots=True)
class SplitProof:
    """The proof of what the parts of a split share.

    Attributes:
        parts: What each part contains, by name.
        overlaps: What every pair of parts shares, by the two names.
    """

    parts: Mapping[str, Part]
    overlaps: Mapping[tuple[str, str], Overlap]

    @property
    def speaker_disjoint(self) -> bool:
        """Whether no speaker is in two parts, neither by name nor by a recording under another speaker's name."""
        return not any(overlap.speakers or overlap.recordings for overlap in self.overlaps.values())

    @property
    def untrained_labels(self) -> tuple[str, ...]:
        """Labels of another part that the training part lacks: no model can learn them."""
        if "train" not in self.parts:
            return ()
        held = {label for part in self.parts.values() for label in part.labels}
        return tuple(sorted(held - set(self.parts["train"].labels)))

    def as_dict(self) -> dict[str, Any]:
        """Return the proof in types that JSON has.

        Example:
            >>> columns = {"corpus": ["tess"] * 2, "speaker": ["tess_OAF", "tess_YAF"], "clip_id": ["a", "b"]}
            >>> prove(columns, {"train": [0], "test": [1]}).as_dict()["overlaps"]["train/test"]["speakers"]
            []
        """
        return {
            "speaker_disjoint": self.speaker_disjoint,
            "untrained_labels": list(self.untrained_labels),
            "parts": {
                name: {
                    "clips": part.clips,
                    "speakers": list(part.speakers),
                    "counts": {corpus: dict(labels) for corpus, labels in part.counts.items()},
                    "labels": part.labels,
                    "corpora": dict(part.corpora),
                    "sexes": dict(part.sexes),
                }
                for name, part in self.parts.items()
            },
            "overlaps": {
                f"{first}/{second}": {
                    "speakers": list(overlap.speakers),
                    "sentences": None if overlap.sentences is None else list(overlap.sentences),
                    "identical_samples": _lists(overlap.identical_samples),
                    "near_identical": _lists(overlap.near_identical),
                }
                for (first, second), overlap in self.overlaps.items()
            },
        }

    def render(self) -> str:
        """Return the proof as aligned plain text.

        Example:
            >>> columns = {"corpus": ["tess"] * 2, "speaker": ["tess_OAF", "tess_YAF"], "clip_id": ["a", "b"]}
            >>> print(prove(columns, {"train": [0], "test": [1]}).render())
            No speaker is in two parts.
            <BLANKLINE>
            shared        speakers     sentences  identical samples  same recording
            train / test         0  not compared       not compared    not compared
            <BLANKLINE>
                       train  test
            clips          1     1
            speakers       1     1
            corpora
              tess         1     1
        """
        if self.speaker_disjoint:
            head = "No speaker is in two parts."
        else:
            named = any(overlap.speakers for overlap in self.overlaps.values())
            head = f"The parts share {'speakers' if named else 'recordings, under different names'}."
        if self.untrained_labels:
            head += f"\nNot in training, so never recognised: {', '.join(self.untrained_labels)}."
        shared = [["shared", "speakers", "sentences", "identical samples", "same recording"]]
        for (first, second), overlap in self.overlaps.items():
            compared = (overlap.speakers, overlap.sentences, overlap.identical_samples, overlap.near_identical)
            counts = ["not compared" if found is None else f"{len(found):,}" for found in compared]
            shared.append([f"{first} / {second}", *counts])
        parts = list(self.parts.values())
        held = [["", *self.parts]]
        held.append(["clips", *(f"{part.clips:,}" for part in parts)])
        held.append(["speakers", *(f"{len(part.speakers):,}" for part in parts)])
        for title, tallies in (
            ("labels", [part.labels for part in parts]),
            ("corpora", [dict(part.corpora) for part in parts]),
            ("sexes", [dict(part.sexes) for part in parts]),
        ):
            names = sorted({name for tally in tallies for name in tally})
            if names:
                held.append([title] + [""] * len(parts))
                held += [[f"  {name}", *(f"{tally.get(name, 0):,}" for tally in tallies)] for name in names]
        return "\n\n".join([head, aligned(shared), aligned(held)])


def prove(
    columns: Columns,
    parts: Mapping[str, Sequence[int]],
    recordings: Mapping[tuple[str, str], Pairs] | None = None,
) -> SplitProof:
    """Count what the parts of a split contain and what every two of them share.

    Sentences are compared within their corpus. Identical samples are found by the column `pcm_sha1` (a digest
    of the decoded samples) or else `sha256` (a digest of the file), where one is given.

    Args:
        columns: Columns `corpus`, `speaker` and `clip_id`, and where known `emotion`, `sex`, `sentence` and
            `pcm_sha1` or `sha256`: a dictionary of sequences or a `datasets.Dataset`.
        parts: Row indices by part, as `split` returns them.
        recordings: Pairs of clips that are the same recording, by the names of two parts; None if not compared.

    Raises:
        InputError: A column is missing, or an index is outside the data set.

    Example:
        >>> columns = {"corpus": ["savee"] * 3, "speaker": ["savee_DC", "savee_DC", "savee_JE"],
        ...            "clip_id": ["savee/DC_a01", "savee/DC_h02", "savee/JE_a01"]}
        >>> prove(columns, {"train": [0], "test": [1, 2]}).overlaps["train", "test"].speakers
        ('savee_DC',)
    """
    names = column_names(columns)
    corpora, speakers, clip_ids = (column(columns, name) for name in ("corpus", "speaker", "clip_id"))
    labels = label_column(columns)
    sexes = column(columns, "sex") if "sex" in names else None
    sentences = column(columns, "sentence") if "sentence" in names else None
    digest_name = next((name for name in ("pcm_sha1", "sha256") if name in names), None)
    digests = column(columns, digest_name) if digest_name else None
    for name, rows in parts.items():
        if rows and not 0 <= min(rows) <= max(rows) < len(clip_ids):
            raise InputError(
                f"part '{name}' names a row outside the data set of {len(clip_ids)} rows; "
                "prove a split against the data set it was made from"
            )
    summaries = {
        name: Part(
            clips=len(rows),
            speakers=tuple(sorted({speakers[row] for row in rows})),
            corpora=_tally(corpora[row] for row in rows),
            counts={
                corpus: _tally(labels[row] for row in rows if corpora[row] == corpus)
                for corpus in sorted({corpora[row] for row in rows})
            }
            if labels
            else {},
            sexes=_tally(sexes[row] for row in rows if sexes[row]) if sexes else {},
        )
        for name, rows in parts.items()
    }
    spoken = {
        name: {(corpora[row], sentences[row]) for row in rows if sentences[row]} if sentences else set()
        for name, rows in parts.items()
    }
    repeated = _rows_with_twins(digests, parts) if digests else {}
    overlaps = {}
    for first, second in itertools.combinations(parts, 2):
        identical = _identical(clip_ids, digests, repeated[first], repeated[second]) if digests else None
        same = None if recordings is None else recordings.get((first, second), ())
        overlaps[first, second] = Overlap(
            speakers=tuple(sorted(set(summaries[first].speakers) & set(summaries[second].speakers))),
            sentences=tuple(sorted(f"{corpus}/{sentence}" for corpus, sentence in spoken[first] & spoken[second]))
            if sentences is not None
            else None,
            identical_samples=identical,
            near_identical=None if same is None else tuple(pair for pair in same if pair not in set(identical or ())),
        )
    return SplitProof(parts=summaries, overlaps=overlaps)


def column_names(columns: Columns) -> list[str]:
    """Return the names of the columns of a dictionary of sequences or of a `datasets.Dataset`."""
    # Iterating over a Dataset gives its rows.
    names = getattr(columns, "column_names", None)
    return list(columns) if names is None else list(names)


def column(columns: Columns, name: str) -> list[Any]:
    """Return one column as a list, or raise `InputError` where it is missing."""
    names = column_names(columns)
    if name not in names:
        raise InputError(f"column '{name}' is missing (found: {', '.join(names)}); add it to the data set")
    return list(columns[name])


def label_column(columns: Columns) -> list[str] | None:
    """Return the names of the labels in column `emotion`; None without such a column.

    Integers are indices into the column's `ClassLabel` where it has one, else into `EMOTIONS`.

    Raises:
        InputError: A clip has no label, such as None or -1.
    """
    if "emotion" not in column_names(columns):
        return None
    feature = (getattr(columns, "features", None) or {}).get("emotion")
    names = getattr(feature, "names", None) or EMOTIONS
    labels = []
    for row, value in enumerate(columns["emotion"]):
        if isinstance(value, str) and value:
            labels.append(value)
        elif isinstance(value, Integral) and 0 <= int(value) < len(names):
            labels.append(names[int(value)])
        else:
            raise InputError(
                f"row {row} of column 'emotion' holds {value!r}, which is not a label (one of {', '.join(names)}); "
                "label the clip or leave it out"
            )
    return labels


def _lists(pairs: Pairs | None) -> list[list[str]] | None:
    return None if pairs is None else [list(pair) for pair in pairs]


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _rows_with_twins(digests: Sequence[Any], parts: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Return the rows of each part whose audio occurs more than once: few, so that comparing parts is fast."""
    count = Counter(digest for digest in digests if digest)
    return {name: [row for row in rows if digests[row] and count[digests[row]] > 1] for name, rows in parts.items()}


def _identical(clip_ids: Sequence[str], digests: Sequence[Any], first: Iterable[int], second: Iterable[int]) -> Pairs:
    by_digest: dict[Any, list[str]] = {}
    for row in first:
        by_digest.setdefault(digests[row], []).append(clip_ids[row])
    return tuple(sorted((other, clip_ids[row]) for row in second for other in by_digest.get(digests[row], ())))
