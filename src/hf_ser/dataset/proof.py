"""What the parts of a split contain, and what they share: speakers, sentences and recordings."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.text import aligned

__all__ = ["PAPER_WARNING", "Overlap", "Pairs", "Part", "SplitProof", "prove"]

PAPER_WARNING = (
    "The 'paper' protocol assigns single clips at random, as the paper did: training, validation and test share all "
    "speakers and nearly all sentences, so its scores measure recognition of known speakers, not of new ones. Use it "
    "only to compare with the paper's tables; report 'speaker_independent' otherwise."
)

Columns = Mapping[str, Sequence[Any]]
"""Columns by name: a dictionary of lists, or a `datasets.Dataset`."""

Pairs = tuple[tuple[str, str], ...]
"""Pairs of `clip_id`, one clip from each of two parts."""

Recordings = Mapping[tuple[str, str], Pairs]
"""Pairs of clips that are the same recording, by the names of two parts."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a split contains: its sorted speakers, and numbers of clips.

    Attributes:
        clips: Number of clips.
        speakers: The speakers.
        counts: Number of clips by corpus, then label; empty where the labels are not known.
        labels: The same by label.
        corpora: The same by corpus.
        sexes: The same by sex; empty where it is not known.
    """

    clips: int
    speakers: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    labels: Mapping[str, int]
    corpora: Mapping[str, int]
    sexes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two parts of a split share, sorted; None where nothing was compared.

    Attributes:
        speakers: Speakers with clips in both parts.
        sentences: Sentences spoken in both parts, as `corpus/sentence`.
        identical_samples: Pairs of clips, one from each part, with the same samples.
        near_identical: Further pairs that are the same recording (see `hf_ser.dataset.recordings`).
    """

    speakers: tuple[str, ...]
    sentences: tuple[str, ...] | None
    identical_samples: Pairs | None
    near_identical: Pairs | None = None

    @property
    def recordings(self) -> Pairs:
        """All pairs of clips that are the same recording."""
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
        trained = self.parts["train"].labels if "train" in self.parts else None
        found = {label for part in self.parts.values() for label in part.labels}
        return () if trained is None else tuple(sorted(found - set(trained)))

    def as_dict(self) -> dict[str, Any]:
        """Return the proof in types that JSON has.

        Example:
            >>> columns = {"corpus": ["tess"] * 2, "speaker": ["tess_OAF", "tess_YAF"], "clip_id": ["a", "b"]}
            >>> prove(columns, {"train": [0], "test": [1]}).as_dict()["overlaps"]["train/test"]["speakers"]
            []
        """
        plain = {
            "speaker_disjoint": self.speaker_disjoint,
            "untrained_labels": self.untrained_labels,
            "parts": {name: asdict(part) for name, part in self.parts.items()},
            "overlaps": {"/".join(names): asdict(overlap) for names, overlap in self.overlaps.items()},
        }
        result: dict[str, Any] = json.loads(json.dumps(plain))
        return result

    def render(self) -> str:
        """Return the proof as aligned plain text.

        Example:
            >>> columns = {"corpus": ["tess"] * 2, "speaker": ["tess_OAF", "tess_YAF"], "clip_id": ["a", "b"]}
            >>> print(prove(columns, {"train": [0], "test": [1]}).render())
            No speaker is in two parts.
            <BLANKLINE>
            shared        speakers     sentences  identical samples  near-identical
            train / test         0  not compared       not compared    not compared
            <BLANKLINE>
                       train  test
            clips          1     1
            speakers       1     1
            corpora
              tess         1     1
        """
        named = any(overlap.speakers for overlap in self.overlaps.values())
        head = "The parts share speakers." if named else "The parts share recordings, under different names."
        if self.speaker_disjoint:
            head = "No speaker is in two parts."
        if self.untrained_labels:
            head += f"\nNot in training, so never recognised: {', '.join(self.untrained_labels)}."
        shared = [["shared", "speakers", "sentences", "identical samples", "near-identical"]]
        for names, it in self.overlaps.items():
            compared = (it.speakers, it.sentences, it.identical_samples, it.near_identical)
            counts = ["not compared" if found is None else f"{len(found):,}" for found in compared]
            shared.append([" / ".join(names), *counts])
        parts = list(self.parts.values())
        held = [["", *self.parts]]
        held.append(["clips", *(f"{part.clips:,}" for part in parts)])
        held.append(["speakers", *(f"{len(part.speakers):,}" for part in parts)])
        for title in ("labels", "corpora", "sexes"):
            tallies = [getattr(part, title) for part in parts]
            names_found = sorted({name for tally in tallies for name in tally})
            held += [[title] + [""] * len(parts)] if names_found else []
            held += [[f"  {name}", *(f"{tally.get(name, 0):,}" for tally in tallies)] for name in names_found]
        return "\n\n".join([head, aligned(shared), aligned(held)])


def prove(columns: Columns, parts: Mapping[str, Sequence[int]], recordings: Recordings | None = None) -> SplitProof:
    """Count what the parts of a split contain and what every two of them share.

    Sentences are compared within their corpus. Identical samples are found by the column `pcm_sha1` (a digest of the
    decoded samples) or else `sha256` (a digest of the file), where there is one.

    Args:
        columns: Columns `corpus`, `speaker` and `clip_id`, and where known `emotion`, `sex`, `sentence` and
            `pcm_sha1` or `sha256`: a dictionary of sequences or a `datasets.Dataset`.
        parts: Row indices by part, as `split` returns them.
        recordings: The recordings that two parts share; None if not compared.

    Raises:
        InputError: A column is missing, or an index is outside the data set.

    Example:
        >>> columns = {"corpus": ["savee"] * 3, "speaker": ["savee_DC", "savee_DC", "savee_JE"],
        ...            "clip_id": ["savee/DC_a01", "savee/DC_h02", "savee/JE_a01"]}
        >>> prove(columns, {"train": [0], "test": [1, 2]}).overlaps["train", "test"].speakers
        ('savee_DC',)
    """
    present = column_names(columns)
    corpora, speakers, clip_ids = (column(columns, name) for name in ("corpus", "speaker", "clip_id"))
    labels = label_column(columns)
    sexes, sentences = (column(columns, name) if name in present else None for name in ("sex", "sentence"))
    digest = next((name for name in ("pcm_sha1", "sha256") if name in present), None)
    digests = column(columns, digest) if digest else None
    for name, rows in parts.items():
        if rows and not 0 <= min(rows) <= max(rows) < len(clip_ids):
            raise InputError(
                f"part '{name}' names a row outside the data set of {len(clip_ids)} rows; prove a split against the "
                "data set it was made from"
            )
    summaries = {}
    for name, rows in parts.items():
        counts: dict[str, Counter[str]] = {corpora[row]: Counter() for row in rows} if labels else {}
        for row in rows if labels else ():
            counts[corpora[row]][labels[row]] += 1  # type: ignore[index]
        summaries[name] = Part(
            clips=len(rows),
            speakers=tuple(sorted({speakers[row] for row in rows})),
            counts={corpus: _tally(counts[corpus].elements()) for corpus in sorted(counts)},
            labels=_tally(labels[row] for row in rows) if labels else {},
            corpora=_tally(corpora[row] for row in rows),
            sexes=_tally(sexes[row] for row in rows if sexes[row]) if sexes else {},
        )
    spoken = {
        name: {f"{corpora[row]}/{sentences[row]}" for row in rows if sentences[row]} if sentences else set()
        for name, rows in parts.items()
    }
    # Few clips occur more than once, so that comparing the parts is fast.
    count = Counter(digest for digest in digests or () if digest)
    twins = {
        name: [(digests[row], clip_ids[row]) for row in rows if count[digests[row]] > 1] if digests else []
        for name, rows in parts.items()
    }
    overlaps = {}
    for first, second in itertools.combinations(parts, 2):
        by_digest: dict[Any, list[str]] = {}
        for key, clip_id in twins[first]:
            by_digest.setdefault(key, []).append(clip_id)
        identical = sorted((other, clip_id) for key, clip_id in twins[second] for other in by_digest.get(key, ()))
        same = None if recordings is None else recordings.get((first, second), ())
        overlaps[first, second] = Overlap(
            speakers=tuple(sorted(set(summaries[first].speakers) & set(summaries[second].speakers))),
            sentences=None if sentences is None else tuple(sorted(spoken[first] & spoken[second])),
            identical_samples=None if digests is None else tuple(identical),
            near_identical=None if same is None else tuple(sorted(set(same) - set(identical))),
        )
    return SplitProof(parts=summaries, overlaps=overlaps)


def column_names(columns: Columns) -> list[str]:
    """Return the names of the columns of a dictionary of sequences or of a `datasets.Dataset`."""
    # Iterating over a Dataset gives its rows.
    return list(getattr(columns, "column_names", columns))


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
        named = names[int(value)] if isinstance(value, Integral) and 0 <= int(value) < len(names) else value
        if not isinstance(named, str) or not named:
            raise InputError(
                f"row {row} of column 'emotion' holds {value!r}, which is not a label (one of {', '.join(names)}); "
                "label the clip or leave it out"
            )
        labels.append(named)
    return labels


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
