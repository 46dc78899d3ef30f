"""Opening data: folders, tables, Hub ids and `datasets` objects become three parts with a proof."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_ser.corpora import CORPORA, Corpus, strictest
from hf_ser.dataset.columns import FACTS, Reading, normalised, part_named, with_audio_facts, with_label_ids
from hf_ser.dataset.groups import with_groups
from hf_ser.dataset.hygiene import Finding, without_unfit
from hf_ser.dataset.opening import Opened, open_any
from hf_ser.dataset.proof import PAPER_WARNING, UNKNOWN_SPEAKER, prove
from hf_ser.dataset.recordings import describe, shared_recordings
from hf_ser.dataset.splits import LEAVE_OUT, PARTS, check_protocol, split
from hf_ser.errors import InputError
from hf_ser.text import printable

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_ser.dataset.proof import SplitProof
    from hf_ser.dataset.recordings import Described

logger = logging.getLogger(__name__)


WHOLE: Final = "all"
"""The protocol that does not split: all clips are the test part."""

TOLERATED: Final = ("dropped_label", "no_recording")
"""Reasons of findings that `strict` does not treat as errors: they were asked for, or concern no recording."""


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
        renamed: What the labels that were renamed became; None for those that were dropped.
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
    renamed: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The clips of some data sets, before they are split.

    `rows` are those of all data sets, with the part that a data set came with in column `split` (None where it had
    none). `columns` has the column of each role, by data set.
    """

    opened: tuple[Opened, ...]
    rows: Dataset
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]
    columns: Mapping[str, Mapping[str, str]]

    @property
    def subject(self) -> str:
        """What messages call the data."""
        return self.opened[0].subject if len(self.opened) == 1 else f"data set '{self.name}'"

    @property
    def name(self) -> str:
        """The names of the data sets."""
        return ", ".join(it.name for it in self.opened)

    def facts(self, language: str | Sequence[str] | None, licence: str | None, acted: bool | None) -> dict[str, Any]:
        """Return `languages`, `licence` and `acted`: as given, else as rows and corpora say."""
        rows, synthetic = self.rows, any(it.synthetic for it in self.opened)
        spoken: dict[str, set[Any]] = {}
        of_row = rows["language"][:] if "language" in rows.column_names else [None] * len(rows)
        for corpus, own in set(zip(rows["corpus"][:], of_row, strict=True)):
            registered = CORPORA.get(corpus) if not synthetic else None
            spoken.setdefault(corpus, set()).add(own or (registered and registered.language))
        found = set().union(*spoken.values())
        known: list[Corpus] = [CORPORA[it] for it in sorted(spoken) if it in CORPORA and not synthetic]
        most = strictest(known) if len(known) == len(spoken) else None
        if acted is None and len(known) == len(spoken) and len({it.acted for it in known}) == 1:
            acted = known[0].acted
        languages = () if None in found else tuple(sorted(filter(None, found)))
        return {
            "languages": (language,) if isinstance(language, str) else tuple(language or languages),
            "licence": licence or (most and most.licence.id),
            "acted": acted,
        }


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
    reading = Reading(columns or {}, labels or {}, speaker_pattern, speakers)
    if isinstance(dataset, Source):
        if reading != Reading() or strict or name or language or licence or acted is not None:
            raise InputError(f"data set '{dataset.name}' is open already; give what describes it to open_dataset")
        return dataset
    if protocol != WHOLE:
        check_protocol(protocol)
    gathered = gather(dataset, protocol, reading, name=name, strict=strict, **options)
    facts = gathered.facts(language, licence, acted)
    return divide(gathered, protocol, allow_speaker_overlap, renamed=dict(reading.labels), **facts)


def gather(
    dataset: Any, protocol: str, reading: Reading, *, name: str | None = None, strict: bool = False, **options: Any
) -> Gathered:
    """Open data sets and check every row; see `open_dataset` for the arguments."""
    from datasets import concatenate_datasets, load_dataset

    if unknown := sorted(set(options) - set(inspect.signature(load_dataset).parameters)):
        raise InputError(f"open_dataset has no option '{unknown[0]}', and datasets.load_dataset has none either")
    reading.check()
    given = list(dataset) if isinstance(dataset, list | tuple) else [dataset]
    if not given:
        raise InputError("the list of data sets is empty; give at least one")
    several = len(given) > 1
    opened = tuple(
        open_any(one, protocol, options, name if not several else _position(one, place))
        for place, one in enumerate(given, 1)
    )
    if twice := [
        it for it, count in Counter(one.corpus for one in opened if one.kind != "corpora").items() if count > 1
    ]:
        raise InputError(
            f"two data sets are called '{twice[0]}'; name one of them, as in NAME={opened[0].path or 'DATA'}"
        )
    parts: dict[str, Dataset] = {}
    findings: list[Finding] = []
    found_columns = {}
    for one in opened:
        keeps = one.kind == "protocol" or protocol in ("speaker_independent", "paper")
        rows, found, found_columns[one.name] = _rows_of(one, reading, several, keeps)
        _report(one, found, strict)
        findings += found
        parts |= rows
    reading.check_used()
    coded, labels = with_label_ids(parts)
    if len(labels) < 2:
        what = ", ".join(one.subject for one in opened)
        raise InputError(f"{what}: all clips have the label '{''.join(labels)}'; recognition needs two labels or more")
    whole = concatenate_datasets(list(coded.values()))
    empty = [it for it in ("split", "language", "sentence", "sex", "flags") if not any(whole[it][:])]
    whole = whole.remove_columns([*empty, "row"])
    return Gathered(opened, whole, labels, tuple(findings), found_columns)


def _position(one: Any, place: int) -> str | None:
    return None if isinstance(one, str | Path) else f"data_{place}"


def _rows_of(
    one: Opened, reading: Reading, several: bool, keeps: bool
) -> tuple[dict[str, Dataset], list[Finding], dict[str, str]]:
    """Return the rows of each part of a data set, with their part in column `split` if it is to be kept."""
    from datasets import Value

    used: dict[str, Dataset] = {}
    findings: list[Finding] = []
    columns: dict[str, str] = {}
    names: dict[str, str] = {}
    alone = len(one.parts) == 1
    for part, table in one.parts.items():
        subject = one.subject if alone else f"{one.subject}, part '{part}'"
        named = None if alone else part_named(part, list(one.parts), one.subject)
        if named and named in names:
            raise InputError(f"{one.subject} has two parts for {named}, one of them '{part}'; merge them or remove one")
        names[named or ""] = part
        findings += [Finding(one.corpus, printable(file), None, *why) for file, *why in table.unused]
        if not len(table.rows):
            continue
        prefix = one.kind != "corpora" and (several or one.path is not None)
        rows, found, columns = normalised(table, subject, one.corpus, reading, prefix=prefix)
        findings += found
        if not len(rows):
            continue
        if one.kind == "corpora":
            facts = table.rows.select(rows["row"][:])
            for column, kind in FACTS.items():
                rows = rows.add_column(column, facts[column][:], feature=Value(kind))
        else:
            rows, found = with_audio_facts(rows)
            findings += found
        if len(rows):
            used[subject] = _with_split(rows, named, one, keeps)
    if not used:
        first = f": the first of {len(findings):,} findings is: {findings[0].detail}" if findings else ""
        ways = "" if findings else "; give parts named train, validation and test, or train alone"
        raise InputError(f"{one.subject} has no clips{first}{ways}")
    logger.info("%s: %s", one.name, ", ".join(f"{role} is column '{it}'" for role, it in columns.items()))
    return used, findings, columns


def _with_split(rows: Dataset, named: str | None, one: Opened, keeps: bool) -> Dataset:
    from datasets import Value

    values = rows["split"][:]
    rows = rows.remove_columns("split")
    if named is None and any(values) and keeps:
        if None in values:
            row = rows[values.index(None)]["row"]
            raise InputError(f"{one.subject}: row {row} has no part, and others do; fill the column in, or remove it")
        of = {value: part_named(value, sorted(set(values)), one.subject) for value in set(values)}
        values = [of[value] for value in values]
    else:
        values = [named if keeps else None] * len(rows)
    return rows.add_column("split", values, feature=Value("string"))


def _report(one: Opened, findings: Sequence[Finding], strict: bool) -> None:
    """Say in one line what is left out, or refuse it."""
    serious = [it for it in findings if it.reason not in TOLERATED]
    if serious and strict:
        first = serious[0]
        raise InputError(
            f"{one.subject}: {first.file}: {first.detail} ({first.reason}); {len(serious):,} such in all, which strict "
            "treats as errors: mend them, or leave strict out"
        )
    if findings:
        counts = ", ".join(f"{n:,} {reason}" for reason, n in Counter(it.reason for it in findings).most_common())
        first = (serious or findings)[0]
        logger.warning("%s: left out: %s; such as %s (%s)", one.name, counts, first.file, first.detail)


def divide(gathered: Gathered, protocol: str, allow_speaker_overlap: bool = False, **facts: Any) -> Source:
    """Split gathered clips and prove the parts; see `open_dataset`. `facts` are further fields of the `Source`."""
    labels, opened = gathered.labels, gathered.opened
    whole = gathered.rows
    described: dict[str, Described] | None = None
    if any(it.endswith(UNKNOWN_SPEAKER) for it in whole.unique("speaker")):
        described = describe([whole])
        whole = with_known_groups(whole, described)
    parts, made = _divided(whole, gathered, protocol)
    table, places = _table(parts, labels)
    proof = prove(table, places)
    _refuse(table["emotion"], places, proof, gathered.subject, made, allow_speaker_overlap)
    if made == "paper":
        logger.warning(PAPER_WARNING)
    elif len(parts) > 1:
        # Last, because it decodes the clips.
        described = describe(parts.values()) if described is None else described
    left_out: dict[str, int] = {}
    if "train" in parts:
        parts["train"], left_out = without_unfit(parts["train"], labels, described)
        table, places = _table(parts, labels)
    recordings = None if described is None or made == "paper" else shared_recordings(parts, described)
    proof = prove(table, places, recordings)
    _refuse(table["emotion"], places, proof, gathered.subject, made, allow_speaker_overlap)
    clips = sorted(zip(table["clip_id"], table["emotion"], table["sha256"], strict=True))
    fingerprint = hashlib.sha256(repr(clips).encode()).hexdigest()
    return Source(
        name=gathered.name,
        path=opened[0].path if len(opened) == 1 else None,
        protocol=made,
        labels=labels,
        parts=parts,
        proof=proof,
        fingerprint=fingerprint,
        synthetic=any(it.synthetic for it in opened),
        left_out=left_out,
        findings=gathered.findings,
        **facts,
    )


def with_known_groups(rows: Dataset, described: Mapping[str, Described]) -> Dataset:
    """Return rows in which clips without a known speaker have the name of a group in its place."""
    return with_groups(rows, described) if any(it.endswith(UNKNOWN_SPEAKER) for it in rows.unique("speaker")) else rows


def _divided(whole: Dataset, gathered: Gathered, protocol: str) -> tuple[dict[str, Dataset], str]:
    """Return the parts: those that the data sets came with, the rest split by the protocol; and what made them."""
    if protocol == WHOLE:
        return {"test": whole}, WHOLE
    given = whole["split"][:] if "split" in whole.column_names else [None] * len(whole)
    loose = [row for row, part in enumerate(given) if part is None]
    places: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, part in enumerate(given):
        if part is not None:
            places[part].append(row)
    if loose:
        rows = whole.select(loose) if len(loose) < len(whole) else whole
        columns = [it for it in ("corpus", "speaker", "clip_id", "emotion", "sex") if it in rows.column_names]
        try:
            found = split({it: _names(rows, it, gathered.labels) for it in columns}, protocol)
        except InputError as error:
            if len(loose) == len(whole):
                raise InputError(f"{gathered.subject}: {error}") from error
            found = {"train": list(range(len(loose)))}
        for part, own in found.items():
            places[part] += [loose[row] for row in own]
    elif missing := next((part for part in PARTS if not places[part]), None):
        why = ", and the test part never chooses a model" if missing == "validation" else ""
        ways = "add one with speakers of its own, or split all clips anew (--protocol stratified)"
        raise InputError(f"{gathered.subject} has no {missing} part{why}; {ways}")
    published = all(it.kind == "protocol" for it in gathered.opened)
    made = protocol if published or loose else "given"
    return {part: whole.select(sorted(places[part])) for part in PARTS}, made


def _names(rows: Dataset, column: str, labels: Sequence[str]) -> list[Any]:
    values = rows[column][:]
    return [labels[it] for it in values] if column == "emotion" else list(values)


def _table(parts: Mapping[str, Dataset], labels: Sequence[str]) -> tuple[dict[str, list[Any]], dict[str, range]]:
    """Return the columns of all parts together, for `prove`, and the rows of each part."""
    known = ("corpus", "speaker", "clip_id", "sentence", "sex", "emotion", "audio_sha256")
    names = [name for name in known if all(name in rows.column_names for rows in parts.values())]
    table = {name: [value for rows in parts.values() for value in rows[name][:]] for name in names}
    table["sha256"] = table.pop("audio_sha256")
    table["emotion"] = [labels[identifier] for identifier in table["emotion"]]
    ends = list(itertools.accumulate(map(len, parts.values()), initial=0))
    return table, dict(zip(parts, itertools.starmap(range, itertools.pairwise(ends)), strict=True))


def _refuse(
    emotions: list[str],
    places: Mapping[str, range],
    proof: SplitProof,
    subject: str,
    protocol: str,
    allow_speaker_overlap: bool,
) -> None:
    """Raise for labels without training, and for parts that share speakers or recordings."""
    if proof.untrained_labels and not protocol.startswith(LEAVE_OUT):
        row = emotions.index(proof.untrained_labels[0])
        part = next(part for part, rows in places.items() if row in rows)
        raise InputError(
            f"{subject}, part '{part}': row {row - places[part].start} of column 'emotion' has the label "
            f"'{emotions[row]}', which no training clip has; add training clips of it, or remove it"
        )
    refuse_overlap(proof, subject, protocol, allow_speaker_overlap)


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
