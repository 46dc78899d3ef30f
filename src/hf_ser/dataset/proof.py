"""What the parts of a split contain, and what they share: speakers, sentences and recordings."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.text import aligned, render

PAPER_WARNING = (
    "The 'paper' protocol assigns single clips at random, as the paper did: training, validation and test share all "
    "speakers and nearly all sentences, so its scores measure recognition of known speakers, not of new ones. Use it "
    "only to compare with the paper's tables; report 'speaker_independent' otherwise."
)

UNKNOWN_WARNING = (
    "The speakers are not known: the parts may share them, and figures may be inflated. Near-identical recordings, and "
    "recordings of one folder, are in one part."
)

Columns = Mapping[str, Sequence[Any]]
"""Columns by name: a dictionary of lists, or a `datasets.Dataset`."""

Pairs = tuple[tuple[str, str], ...]
"""Pairs of `clip_id`, one clip from each of two parts."""

UNKNOWN_SPEAKER = "unknown_"
"""How the name of a group of recordings begins, after the corpus, where the speakers are not known."""

_GROUP = re.compile(rf"(?:^|_){UNKNOWN_SPEAKER}[0-9a-f]{{10}}")

_NEEDED = ("corpus", "speaker", "clip_id")
_OPTIONAL = ("emotion", "sex", "sentence", "pcm_sha1", "sha256")


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a split contains: its speakers, and numbers of clips (empty mappings where not known)."""

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
    """What each part of a split contains, by name, and what every two parts share, by their names."""

    parts: Mapping[str, Part]
    overlaps: Mapping[tuple[str, str], Overlap]

    @property
    def speakers_known(self) -> bool:
        """Whether every speaker is one, and not a group of recordings that stands in for speakers."""
        return not any(_GROUP.search(name) for part in self.parts.values() for name in part.speakers)

    @property
    def overlapping(self) -> bool:
        """Whether a speaker, or a recording under another speaker's name, is in two parts."""
        return any(overlap.speakers or overlap.recordings for overlap in self.overlaps.values())

    @property
    def speaker_disjoint(self) -> bool:
        """Whether no speaker is in two parts; never where the speakers are not known."""
        return self.speakers_known and not self.overlapping

    @property
    def untrained_labels(self) -> tuple[str, ...]:
        """Labels of another part that the training part lacks: no model can learn them."""
        trained = self.parts["train"].labels if "train" in self.parts else None
        found = {label for part in self.parts.values() for label in part.labels}
        return () if trained is None else tuple(sorted(found - set(trained)))

    def as_dict(self) -> dict[str, Any]:
        """Return the proof in types that JSON has; the names of two parts are joined, such as `train/test`."""
        plain = {
            "speaker_disjoint": self.speaker_disjoint,
            "speakers_known": self.speakers_known,
            "overlapping": self.overlapping,
            "untrained_labels": self.untrained_labels,
            "parts": {name: asdict(part) for name, part in self.parts.items()},
            "overlaps": {"/".join(names): asdict(overlap) for names, overlap in self.overlaps.items()},
        }
        result: dict[str, Any] = json.loads(json.dumps(plain))
        return result

    def render(self) -> str:
        """Return the proof as aligned plain text."""
        return render("proof.txt", proof=self, aligned=aligned, unknown=UNKNOWN_WARNING).rstrip()


def prove(
    columns: Columns, parts: Mapping[str, Sequence[int]], copies: Sequence[tuple[str, str]] | None = None
) -> SplitProof:
    """Count what the parts of a split contain and what every two of them share.

    Args:
        columns: Columns `corpus`, `speaker` and `clip_id`, and where known `emotion`, `sex`, `sentence` and a digest
            `pcm_sha1` (of the decoded samples) or `sha256` (of the file), by which identical samples are found.
        parts: Row indices by part, as `split` returns them.
        copies: The `sha256` of every two different files with the same recording; None if not compared.
    """
    import pandas

    values = read_columns(columns)
    # Empty texts say as little as None.
    table = pandas.DataFrame({name: [it or None for it in column] for name, column in values.items()}, dtype=object)
    table["spoken"] = table["corpus"] + "/" + table["sentence"] if "sentence" in values else None
    digest = next((name for name in ("pcm_sha1", "sha256") if name in values), None)
    for name, rows in parts.items():
        if rows and not 0 <= min(rows) <= max(rows) < len(table):
            raise InputError(
                f"part '{name}' names a row outside the data set of {len(table)} rows; prove a split against the "
                "data set it was made from"
            )
    of_part = {name: table.iloc[list(rows)] for name, rows in parts.items()}
    summaries = {
        name: Part(
            clips=len(rows),
            speakers=_names(rows["speaker"]),
            counts={of: _tally(own["emotion"]) for of, own in rows.groupby("corpus")} if "emotion" in values else {},
            labels=_tally(rows["emotion"]) if "emotion" in values else {},
            corpora=_tally(rows["corpus"]),
            sexes=_tally(rows["sex"]) if "sex" in values else {},
        )
        for name, rows in of_part.items()
    }
    both = [*(copies or ()), *((second, first) for first, second in copies or ())]
    copied = pandas.DataFrame(both, columns=["sha256", "copy"], dtype=object)
    overlaps = {}
    for names in itertools.combinations(parts, 2):
        first, second = (of_part[name] for name in names)
        identical = near = None
        if digest:
            identical = _pairs(first.dropna(subset=digest).merge(second.dropna(subset=digest), on=digest))
        if copies is not None:
            found = _pairs(first.merge(copied, on="sha256").merge(second, left_on="copy", right_on="sha256"))
            near = tuple(sorted({*found} - {*(identical or ())}))
        overlaps[names] = Overlap(
            speakers=_names(first["speaker"][first["speaker"].isin(second["speaker"])]),
            sentences=_names(first["spoken"][first["spoken"].isin(second["spoken"])]) if "sentence" in values else None,
            identical_samples=identical,
            near_identical=near,
        )
    return SplitProof(parts=summaries, overlaps=overlaps)


def read_columns(columns: Columns) -> dict[str, list[Any]]:
    """Return the columns that splits and proofs use; labels by name (ids by their `ClassLabel`, else by `EMOTIONS`)."""
    # Iterating over a Dataset gives its rows.
    present = list(getattr(columns, "column_names", columns))
    if missing := next((name for name in _NEEDED if name not in present), None):
        raise InputError(f"column '{missing}' is missing (found: {', '.join(present)}); add it to the data set")
    table = {name: list(columns[name][:]) for name in (*_NEEDED, *_OPTIONAL) if name in present}
    feature = (getattr(columns, "features", None) or {}).get("emotion")
    names = getattr(feature, "names", None) or EMOTIONS
    for row, value in enumerate(table.get("emotion", ())):
        label = names[int(value)] if isinstance(value, Integral) and 0 <= int(value) < len(names) else value
        if not isinstance(label, str) or not label:
            raise InputError(
                f"row {row} of column 'emotion' holds {value!r}, which is not a label (one of {', '.join(names)}); "
                "label the clip or leave it out"
            )
        table["emotion"][row] = label
    return table


def _pairs(rows: Any) -> Pairs:
    return tuple(sorted(set(zip(rows["clip_id_x"], rows["clip_id_y"], strict=True))))


def _names(values: Any) -> tuple[str, ...]:
    return tuple(sorted(values.dropna().unique()))


def _tally(values: Any) -> dict[str, int]:
    counts: dict[str, int] = values.value_counts().sort_index().to_dict()
    return counts
