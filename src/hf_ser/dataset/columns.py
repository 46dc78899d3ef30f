"""The columns of a data set under the names used here: found, checked row by row, and what is left out is named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from hf_ser.corpora import CORPORA
from hf_ser.dataset.hygiene import Finding
from hf_ser.dataset.proof import UNKNOWN_SPEAKER
from hf_ser.dataset.tables import Table, with_audio
from hf_ser.errors import InputError
from hf_ser.labels import canonical_emotion
from hf_ser.text import printable

if TYPE_CHECKING:
    from datasets import Dataset

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "audio": ("audio", "path", "file", "file_name", "filename", "file_path", "filepath", "audio_path", "wav"),
    "emotion": ("emotion", "label", "labels", "emotion_label"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "actor", "actor_id", "talker"),
    "split": ("split", "part", "partition", "subset"),
    "sex": ("sex", "gender"),
    "language": ("language", "lang"),
    "sentence": ("sentence", "sentence_id", "text_id"),
    "corpus": ("corpus",),
    "clip_id": ("clip_id",),
    "flags": ("flags",),
}
"""What a column can hold, with the names by which it is found, the preferred one first."""

_SEXES = dict.fromkeys(("f", "w", "female", "woman"), "female") | dict.fromkeys(("m", "male", "man"), "male")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the rows of data of one's own are read; see `open_dataset` for the fields.

    `used` is what some data set made use of, `spelled` what the labels that are called otherwise here became.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str | None] = field(default_factory=dict)
    speaker_pattern: str | None = None
    speakers: str | None = None
    used: set[str] = field(default_factory=set)
    spelled: dict[str, str] = field(default_factory=dict)

    @property
    def renamed(self) -> dict[str, str]:
        """What each label that the caller renames becomes; empty where its clips are dropped."""
        same = {old: (new or "").strip().lower() for old, new in self.labels.items()}
        # Who writes joy=joy wants to keep it apart.
        return {old: new if new == old.strip().casefold() else canonical_emotion(new) for old, new in same.items()}

    def __post_init__(self) -> None:
        for role, column in self.columns.items():
            if _role(role) not in ROLES or not column:
                raise InputError(f"columns names '{role}={column}'; give ROLE=COLUMN, of {', '.join(ROLES)}")
        if self.speakers not in (None, "unknown"):
            raise InputError(f"speakers is '{self.speakers}'; give 'unknown', or leave it out")
        try:
            if self.speaker_pattern is not None and not re.compile(self.speaker_pattern).groups:
                raise re.error(r"it has no group; put the speaker in brackets, as in 'spk(\d+)'")
        except re.error as error:
            raise InputError(f"speaker_pattern '{self.speaker_pattern}' cannot be used: {error}") from error

    def check_used(self) -> None:
        """Refuse what no data set made use of: it is mistyped, or not needed."""
        unused = [f"{kind} names '{it}'" for kind in ("columns", "labels") for it in getattr(self, kind)
                  if f"{kind} {it}" not in self.used]  # fmt: skip
        unused += [it for it in ("speaker_pattern", "speakers") if getattr(self, it) and it not in self.used]
        if unused:
            why = "no data set has that name" if "names" in unused[0] else "every data set says it already"
            raise InputError(f"{unused[0]}, which is not used: {why}; correct it, or leave it out")


def _role(name: str) -> str:
    return next((role for role, names in ROLES.items() if name.lower() in names), name)


def find_columns(names: Sequence[str], reading: Reading, subject: str) -> dict[str, str]:
    """Return the column for each role that has one: as the caller says, else by its name, letter case aside."""
    spelled = {re.sub(r"\W+", "_", name.strip().lower()): name for name in reversed(names)}
    found = {role: spelled[next(it for it in known if it in spelled)] for role, known in ROLES.items()
             if not spelled.keys().isdisjoint(known)}  # fmt: skip
    for given, column in reading.columns.items():
        if column in names:
            reading.used.add(f"columns {given}")
            found[_role(given)] = column
    for role, what in (("audio", "audio"), ("emotion", "labels")):
        if role not in found:
            known = f"'{role}' or another of {', '.join(ROLES[role][1:])}"
            listed = ", ".join(map(printable, names))
            way = f"--columns {role}=NAME names it"
            raise InputError(f"{subject} has no column of {what} ({known}); its columns are {listed}; {way}")
    return found


def normalised(
    table: Table, subject: str, corpus: str, reading: Reading, *, prefix: bool
) -> tuple[Dataset, list[Finding], dict[str, str]]:
    """Return rows with the columns `audio`, `emotion` (text), `corpus`, `speaker`, `clip_id` and others that are there.

    Rows without audio or label and repeated rows are left out, each with a finding; so are dropped labels. What a row
    does not say is None; `row` is its place in the table, and `folder` where its file lies. `corpus` is the value where
    there is no column of that name. `prefix` puts it before speakers and identifiers, since a speaker who is named
    alike in two data sets is two speakers. The third result is the column of each role.
    """
    from datasets import Dataset, Features, List, Value, concatenate_datasets

    found = find_columns(table.rows.column_names, reading, subject)
    values = {role: table.rows[column][:] for role, column in found.items() if role != "audio"}
    labels = _labels(values.pop("emotion"), table.rows.features[found["emotion"]], reading, subject, found["emotion"])
    audio, names, faults = with_audio(table, found["audio"], subject)
    flags = values.pop("flags", [None] * len(names))
    _check("flags", flags, found, subject, lambda it: isinstance(it, list), "is not a list of flags")
    texts = {role: [_text(it) for it in of] for role, of in values.items()}
    if corpus in CORPORA and "corpus" not in texts and not all(CORPORA[corpus].parse(it or "") for it in names):
        # A table that happens to be called after a known corpus is not that corpus.
        corpus = f"{corpus}_own"
    corpora = texts.get("corpus", [corpus] * len(names))
    findings, kept, seen = [], [], dict[tuple[str, str], int]()
    for row, (name, label) in enumerate(zip(names, labels, strict=True)):
        own, of_label = (f"row {row} of column '{found[role]}'" for role in ("audio", "emotion"))
        reason = None
        if row in faults:
            reason = "missing_file", f"{own} ({printable(name or '')!r}) {faults[row]}"
        elif label is None:
            reason = "no_label", f"{of_label} has no value"
        elif not label:
            reason = "dropped_label", f"{of_label} has a label that was asked to be dropped"
        elif name and (first := seen.setdefault((name, label), row)) != row:
            reason = "duplicate_row", f"{own} repeats row {first}"
        if reason is None:
            kept.append(row)
        else:
            findings.append(Finding(corpora[row], printable(name or f"row {row}"), None, *reason))
    unlisted = table.unlisted({*names})
    findings += [Finding(corpus, printable(it), None, "not_listed", "no row names it") for it in unlisted]
    audio = audio.select(kept)
    if not kept:
        # Data sets without rows cannot be joined.
        return audio, findings, found
    for role in ("corpus", "speaker", "clip_id"):
        given = [texts[role][row] for row in kept] if role in texts else []
        _check(role, given, found, subject, bool, "has no value", kept)
    columns: dict[str, list[Any]] = {
        "emotion": labels,
        "corpus": corpora,
        "speaker": texts.get("speaker") or _speakers(names, kept, reading, subject),
        "clip_id": texts.get("clip_id", [it or str(row) for row, it in enumerate(names)]),
        "folder": [_folder(it, label) for it, label in zip(names, labels, strict=True)],
        "sex": [_SEXES.get(it.lower()) for it in texts["sex"]] if "sex" in texts else [None] * len(names),
        "flags": flags,
        "row": list(range(len(names))),
    } | {role: [it or None for it in texts.get(role, [""] * len(names))] for role in ("split", "language", "sentence")}
    for role, mark in (("speaker", "_"), ("clip_id", "/")) if prefix else ():
        starts = [f"{of}{mark}" for of in corpora]
        columns[role] = [it if it.startswith(of) else of + it for it, of in zip(columns[role], starts, strict=True)]
    chosen = {name: [of[row] for row in kept] for name, of in columns.items()}
    kinds = dict.fromkeys(columns, Value("string")) | {"flags": List(Value("string")), "row": Value("int64")}
    return concatenate_datasets([audio, Dataset.from_dict(chosen, features=Features(kinds))], axis=1), findings, found


def _text(value: Any) -> str:
    text = "" if value is None or value != value else str(value).strip()
    return text.removesuffix(".0") if isinstance(value, float) else text


def _check(
    role: str, values: Sequence[Any], found: Mapping[str, str], subject: str, valid: Any, fault: str,
    rows: Sequence[int] | None = None,
) -> None:  # fmt: skip
    place = next((place for place, value in enumerate(values) if not valid(value)), None) if role in found else None
    if place is not None:
        shown = "" if not values[place] else f" ({str(values[place])[:40]!r})"
        row = place if rows is None else rows[place]
        raise InputError(f"{subject}: row {row} of column '{found[role]}' {fault}{shown}; fill it in or remove the row")


def _labels(values: Sequence[Any], feature: Any, reading: Reading, subject: str, column: str) -> list[str | None]:
    """Return the label of each row by name: None where there is none, empty where it is to be dropped.

    Raises:
        InputError: A label is a number without a name, or two names are one label.
    """
    names = getattr(feature, "names", None)
    wanted, renamed = {name.strip().casefold(): name for name in reading.labels}, reading.renamed
    known: dict[Any, str | None] = {}
    spellings: dict[str, str] = {}

    def label(value: Any, where: str) -> str | None:
        if names is not None and value is not None:
            if not 0 <= value < len(names):
                raise InputError(f"{where} has no value ('{value}'); label the clip or remove the row")
            value = names[value]
        raw = _text(value)
        canonical = canonical_emotion(raw)
        key = next((it for it in (raw.casefold(), canonical) if it in wanted), None)
        if key is not None:
            reading.used.add(f"labels {wanted[key]}")
            reading.spelled[raw] = renamed[wanted[key]]
            return reading.spelled[raw]
        if re.fullmatch(r"[-+]?\d+(\.\d+)?", raw):
            way = "--labels 0=angry,1=happy names them, or cast the column to ClassLabel"
            raise InputError(f"{where} is {raw}: its labels are numbers without names; {way}")
        other = spellings.setdefault(canonical, raw)
        if other.casefold() != raw.casefold():
            way = f"--labels '{raw}={canonical}' makes them one, '{raw}={raw}' keeps them apart"
            raise InputError(f"{where}: '{other}' and '{raw}' are two names of one label, '{canonical}'; {way}")
        if raw.lower() != canonical:
            reading.spelled[raw] = canonical
        return canonical or None

    keys = [value if isinstance(value, str | int | float | None) else str(value) for value in values]
    for row, key in enumerate(keys):
        if key not in known:
            known[key] = label(key, f"{subject}: row {row} of column '{column}'")
    return [known[key] for key in keys]


def _speakers(names: Sequence[str | None], kept: Sequence[int], reading: Reading, subject: str) -> list[str]:
    if reading.speaker_pattern is None and reading.speakers == "unknown":
        reading.used.add("speakers")
        return [UNKNOWN_SPEAKER] * len(names)
    if reading.speaker_pattern is None:
        raise InputError(
            f"{subject} has no column 'speaker', which a split by speaker needs; name it (--columns speaker=NAME), "
            r"find it in the path (--speaker-pattern 'spk(\d+)'), or accept inflated figures (--speakers unknown)"
        )
    reading.used.add("speaker_pattern")
    matches = [re.search(reading.speaker_pattern, name or "") for name in names]
    speakers = [(match[1] or "") if match else "" for match in matches]
    if (row := next((row for row in kept if not speakers[row]), None)) is not None:
        shown = printable(names[row] or f"row {row}, which has no path")
        raise InputError(f"{subject}: speaker_pattern '{reading.speaker_pattern}' finds no speaker in {shown}")
    return speakers


def _folder(name: str | None, label: str | None) -> str:
    """Return the folders that a file lies in, without one that is named after its label."""
    return "/".join(it for it in PurePath(name or "").parent.parts if canonical_emotion(it) != label)
