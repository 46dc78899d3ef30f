"""Opening data: folders, tables, Hub ids and `datasets` objects become three parts with a proof."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_ser.dataset.hygiene import Finding, without_unfit
from hf_ser.dataset.opening import Gathered, gather
from hf_ser.dataset.proof import PAPER_WARNING, UNKNOWN_SPEAKER, prove, read_columns
from hf_ser.dataset.recordings import describe, with_groups
from hf_ser.dataset.splits import LEAVE_OUT, PARTS, check_protocol, parts_of, rows_by_part, split
from hf_ser.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_ser.dataset.proof import SplitProof
    from hf_ser.dataset.recordings import Descriptions

logger = logging.getLogger(__name__)


WHOLE: Final = "all"
"""The protocol that does not split: all clips are the test part."""


@dataclass(frozen=True, slots=True)
class Source:
    """A data set, split and proved.

    Attributes:
        name: The name to show: as given, else the last part of the path or Hub id.
        path: The folder, file or Hub id as given; None for data in memory, or for several data sets.
        protocol: The protocol that made the parts; `given` where the data set had its own parts.
        labels: The labels in the order of their identifiers.
        parts: `train`, `validation` and `test` (`test` alone under protocol `all`), each with the columns `audio`,
            `emotion`, `corpus`, `speaker`, `clip_id`, `duration` (seconds), `sampling_rate` (hertz), `audio_sha256`.
        proof: What the parts share.
        fingerprint: SHA-256 over the identifiers, labels and bytes of the clips, independent of their order.
        synthetic: Whether a folder is marked as synthesised speech.
        left_out: Number of clips that training leaves out, by reason (see `hf_ser.dataset.hygiene`).
        languages: BCP-47 codes: as given, else those of the rows or corpora if all are known.
        licence: Identifier of the licence: as given, else the strictest of the corpora if all are known.
        acted: Whether the speech is acted: as given, else as the corpora say; None if that is not known.
        findings: The rows and files that are in no part, each with the reason.
        renamed: What the labels that were renamed became; empty for those that were dropped.
    """

    name: str
    path: str | None
    protocol: str
    labels: tuple[str, ...]
    parts: Mapping[str, Dataset]
    proof: SplitProof
    fingerprint: str
    synthetic: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    licence: str | None = None
    acted: bool | None = None
    findings: tuple[Finding, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


def open_dataset(
    dataset: str | Path | Dataset | DatasetDict | Source | Sequence[Any],
    protocol: str = "speaker_independent",
    *,
    columns: Mapping[str, str] | None = None,
    labels: Mapping[str, str | None] | None = None,
    speaker_pattern: str | None = None,
    speakers: str | None = None,
    strict: bool = False,
    allow_speaker_overlap: bool = False,
    name: str | None = None,
    language: str | Sequence[str] | None = None,
    licence: str | None = None,
    acted: bool | None = None,
    **options: Any,
) -> Source:
    r"""Open one or several data sets, split them by a protocol and prove what the parts share.

    Rows whose file is missing or cannot be read, rows without a label and repeated rows are left out; a warning counts
    them and `Source.findings` names each.

    Args:
        dataset: A folder (of the known corpora, with a `metadata.csv`, or with a folder per label), a CSV, TSV,
            JSON-lines or Parquet table that names audio files, a data set built by this library, a Hub id, a `Dataset`,
            a `DatasetDict`, or a list of these. Text may be `NAME=DATA`, which names the data set. A `Source` is
            returned as it is.
        protocol: One of `hf_ser.dataset.splits.protocols`, `leave_speaker_out_SPEAKER`, or `all`, which does not split.
            Parts that the data set came with are kept under `speaker_independent`.
        columns: Column by role (`audio`, `label`, `speaker`, `split`, `sex`, `language`), where no name tells.
        labels: New name by label; an empty one drops its clips. Labels that are numbers get their names by it.
        speaker_pattern: Regular expression that finds the speaker in a path, such as `spk(\d+)`, where no column does.
        speakers: `unknown` where neither column nor pattern tells: the clips are then split by folders and
            near-identical recordings, and the parts may share speakers.
        strict: Refuse data with any row or recording that would be left out.
        allow_speaker_overlap: Accept parts that share speakers or recordings under any protocol.
        name: Name to show in reports and cards.
        language: BCP-47 code or codes of the speech, for the card.
        licence: Identifier of the data's licence, for the card.
        acted: Whether the speech is acted, for the card.
        **options: Passed to `datasets.load_dataset` (`revision`, `token`, …).

    Raises:
        InputError: There is no such data set, a column or speaker is missing, a label is a number without a name, two
            names are one label, or the parts share a speaker or a recording.
        HubError: The Hub cannot be read.

    Example:
        >>> open_dataset({"audio": []})
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: a dict is not a data set; give a folder, a table, a Hub id, a datasets.Dataset ...
    """
    described: dict[str, Any] = {
        "columns": columns, "labels": labels, "speaker_pattern": speaker_pattern, "speakers": speakers,
        "strict": strict, "name": name, "language": language, "licence": licence, "acted": acted,
    }  # fmt: skip
    if isinstance(dataset, Source):
        if given := next((it for it, value in described.items() if value not in (None, False)), None):
            raise InputError(f"data set '{dataset.name}' is open already; give {given} to open_dataset")
        return dataset
    if protocol != WHOLE:
        check_protocol(protocol)
    return divide(gather(dataset, protocol, **described, **options), protocol, allow_speaker_overlap)


def divide(
    gathered: Gathered, protocol: str, allow_speaker_overlap: bool = False, described: Descriptions | None = None
) -> Source:
    """Split gathered clips and prove the parts; see `open_dataset`. `described` are the clips, if they were decoded."""
    labels, whole = gathered.labels, gathered.rows
    if any(it.endswith(UNKNOWN_SPEAKER) for it in whole.unique("speaker")):
        described = describe([whole]) if described is None else described
        whole = with_groups(whole, described)
    parts, made = _divided(whole, gathered, protocol)
    table, places = _table(parts)
    _refuse(table["emotion"], places, prove(table, places), gathered.subject, made, allow_speaker_overlap)
    if made == "paper":
        logger.warning(PAPER_WARNING)
    elif len(parts) > 1 and described is None:
        # After the cheap checks, because it decodes the clips.
        described = describe(parts.values())
    left_out: dict[str, int] = {}
    if "train" in parts:
        parts["train"], left_out = without_unfit(parts["train"], labels, described)
        table, places = _table(parts)
    proof = prove(table, places, None if described is None else described.pairs)
    _refuse(table["emotion"], places, proof, gathered.subject, made, allow_speaker_overlap)
    clips = sorted(zip(table["clip_id"], table["emotion"], table["sha256"], strict=True))
    digest = hashlib.sha256(repr(clips).encode()).hexdigest()
    return Source(protocol=made, labels=labels, parts=parts, proof=proof, fingerprint=digest, left_out=left_out,
                  **gathered.facts)  # fmt: skip


def _divided(whole: Dataset, gathered: Gathered, protocol: str) -> tuple[dict[str, Dataset], str]:
    """Return the parts: those that the data sets came with, the rest split by the protocol; and what made them."""
    if protocol == WHOLE:
        return {"test": whole}, WHOLE
    given = whole["split"][:] if "split" in whole.column_names else [None] * len(whole)
    loose = [row for row, part in enumerate(given) if part is None]
    try:
        if loose and len(loose) == len(whole):
            return {part: whole.select(own) for part, own in split(whole, protocol).items()}, protocol
        for row, part in zip(loose, parts_of(whole.select(loose), protocol) if loose else (), strict=True):
            given[row] = part
    except InputError as error:
        raise InputError(f"{gathered.subject}: {error}") from error
    places = rows_by_part(given)
    if not loose and (missing := next((part for part in PARTS if not places[part]), None)):
        why = ", and the test part never chooses a model" if missing == "validation" else ""
        ways = "add one with speakers of its own, or split all clips anew (--protocol stratified)"
        raise InputError(f"{gathered.subject} has no {missing} part{why}; {ways}")
    published = set(gathered.kinds) == {"protocol"}
    made = protocol if published or loose else "given"
    return {part: whole.select(places[part]) for part in PARTS}, made


def _table(parts: Mapping[str, Dataset]) -> tuple[dict[str, list[Any]], dict[str, range]]:
    """Return the columns of all parts together, for `prove`, and the rows of each part."""
    from datasets import concatenate_datasets

    table = read_columns(concatenate_datasets(list(parts.values())).rename_column("audio_sha256", "sha256"))
    ends = list(itertools.accumulate(map(len, parts.values()), initial=0))
    return table, dict(zip(parts, itertools.starmap(range, itertools.pairwise(ends)), strict=True))


def _refuse(
    emotions: list[str], places: Mapping[str, range], proof: SplitProof, subject: str, protocol: str, allow: bool
) -> None:
    """Raise for labels without training, and for parts that share speakers or recordings."""
    if proof.untrained_labels and not protocol.startswith(LEAVE_OUT):
        row = emotions.index(proof.untrained_labels[0])
        part = next(part for part, rows in places.items() if row in rows)
        raise InputError(
            f"{subject}, part '{part}': row {row - places[part].start} of column 'emotion' has the label "
            f"'{emotions[row]}', which no training clip has; add training clips of it, or remove it"
        )
    refuse_overlap(proof, subject, protocol, allow)


def refuse_overlap(proof: SplitProof, subject: str, protocol: str, allow_speaker_overlap: bool) -> None:
    """Raise for parts that share speakers or recordings, unless this was asked for."""
    if protocol != "paper" and proof.overlapping and not allow_speaker_overlap:
        fault = "its parts share speakers"
        if not any(overlap.speakers for overlap in proof.overlaps.values()):
            pairs = [(*names, *pair) for names, overlap in proof.overlaps.items() for pair in overlap.recordings]
            more = f", and {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
            fault = "'{2}' ({0}) and '{3}' ({1}) are the same recording".format(*pairs[0]) + more
        raise InputError(
            f"{subject}: {fault}, so its scores would be inflated; split it by speaker, remove copies, or pass "
            "allow_speaker_overlap=True (--allow-speaker-overlap)"
        )
