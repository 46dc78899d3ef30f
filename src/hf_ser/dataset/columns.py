"""The columns of a data set under the names used here: found, checked row by row, and what is left out is named."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hf_ser.corpora import CORPORA
from hf_ser.dataset.hygiene import Finding
from hf_ser.dataset.proof import UNKNOWN_SPEAKER
from hf_ser.dataset.tables import PART_SYNONYMS, Table, resolve
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS, canonical_emotion
from hf_ser.sound import read_file, sound_length
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

FACTS: Final = {"audio_sha256": "string", "duration": "float64", "sampling_rate": "int32"}
"""The columns that say what the bytes of a recording are, with their types."""

_PLAIN = {"large_string": "string", "string_view": "string", "large_binary": "binary", "binary_view": "binary"}
_SEXES = {"f": "female", "w": "female", "female": "female", "woman": "female",
          "m": "male", "male": "male", "man": "male"}  # fmt: skip
_BATCH = 64
_MOST_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """How the rows of data of one's own are read; see `open_dataset` for the fields."""

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str | None] = field(default_factory=dict)
    speaker_pattern: str | None = None
    speakers: str | None = None
    used: set[str] = field(default_factory=set)
    """What of the fields above some data set made use of."""
    spelled: dict[str, str] = field(default_factory=dict)
    """The labels that were spelled in another way than they are called here, with what they became."""

    def check(self) -> None:
        """Refuse values that cannot be meant."""
        for role, column in self.columns.items():
            if _role(role) not in ROLES or not column:
                raise InputError(f"columns names '{role}={column}'; give ROLE=COLUMN, of {', '.join(ROLES)}")
        if self.speakers not in (None, "unknown"):
            raise InputError(f"speakers is '{self.speakers}'; give 'unknown', or leave it out")
        if self.speaker_pattern is not None:
            try:
                groups = re.compile(self.speaker_pattern).groups
            except re.error as error:
                raise InputError(f"speaker_pattern '{self.speaker_pattern}' is no pattern ({error})") from error
            if not groups:
                way = r"put the speaker in brackets, as in 'spk(\d+)'"
                raise InputError(f"speaker_pattern '{self.speaker_pattern}' has no group; {way}")

    def check_used(self) -> None:
        """Refuse what no data set made use of: it is mistyped, or not needed."""
        labels = [f"labels names '{name}'" for name in self.labels if f"label {name}" not in self.used]
        unused = [f"columns names '{role}'" for role in self.columns if f"column {role}" not in self.used] + labels
        unused += [it for it in ("speaker_pattern", "speakers") if getattr(self, it) and it not in self.used]
        if unused:
            why = "no data set has that name" if "names" in unused[0] else "every data set says it already"
            raise InputError(f"{unused[0]}, which is not used: {why}; correct it, or leave it out")


def _role(name: str) -> str:
    return next((role for role, names in ROLES.items() if name.lower() in names), name)


def find_columns(names: Sequence[str], reading: Reading, subject: str) -> dict[str, str]:
    """Return the column for each role that has one: as the caller says, else by its name, letter case aside."""
    spelled: dict[str, str] = {}
    for name in names:
        spelled.setdefault(re.sub(r"\W+", "_", name.strip().lower()), name)
    found = {
        role: next(spelled[it] for it in known if it in spelled)
        for role, known in ROLES.items()
        if any(it in spelled for it in known)
    }
    for given, column in reading.columns.items():
        if column in names:
            reading.used.add(f"column {given}")
            found[_role(given)] = column
    listed = ", ".join(printable(name) for name in names)
    for role, what in (("audio", "audio"), ("emotion", "labels")):
        if role not in found:
            known = f"'{role}' or another of {', '.join(ROLES[role][1:])}"
            way = f"--columns {role}=NAME names it"
            raise InputError(f"{subject} has no column of {what} ({known}); its columns are {listed}; {way}")
    return found


def normalised(
    table: Table, subject: str, corpus: str, reading: Reading, *, prefix: bool
) -> tuple[Dataset, list[Finding], dict[str, str]]:
    """Return rows with the columns `audio`, `emotion` (text), `corpus`, `speaker`, `clip_id` and others that are there.

    Rows without audio or label and repeated rows are left out, each with a finding; so are dropped labels. What a row
    does not say is None; `row` is its place in the table, and `folder` where its file lies. `corpus`
    is the value where there is no column of that name. `prefix` puts it before speakers and identifiers, since a
    speaker who is named alike in two data sets is two speakers. The third result is the column of each role.

    Raises:
        InputError: A column is missing or of the wrong type, or a row has no speaker.
    """
    from datasets import Dataset, Features, List, Value, concatenate_datasets

    rows = table.rows
    nothing = [None] * len(rows)
    found = find_columns(rows.column_names, reading, subject)
    texts = {role: rows[column][:] for role, column in found.items() if role not in ("audio", "emotion", "flags")}
    rows, paths, held = _with_audio(rows, found["audio"], table, subject)
    labels = _labels(table.rows, found["emotion"], reading, subject)
    places = [name if path is None else _inside(path, table) for path, name in zip(paths, held, strict=True)]
    if corpus in CORPORA and "corpus" not in texts and not all(CORPORA[corpus].parse(it or "") for it in places):
        # A table that happens to be called after a known corpus is not that corpus.
        corpus = f"{corpus}_own"
    corpora = [_text(value) or corpus for value in texts["corpus"]] if "corpus" in texts else [corpus] * len(rows)
    if "corpus" in texts:
        _check(texts["corpus"], found["corpus"], subject)
    findings: list[Finding] = []
    kept: list[int] = []
    seen: dict[tuple[str, str | None], int] = {}
    for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
        shown = printable(places[row] or f"row {row}")
        named = f"row {row} of column"
        reason = None
        if isinstance(path, _Unusable):
            reason = ("missing_file", f"{named} '{found['audio']}' ({printable(path.value)!r}) {path.why}")
        elif label is None:
            reason = ("no_label", f"{named} '{found['emotion']}' has no value")
        elif label == "":
            reason = ("dropped_label", f"{named} '{found['emotion']}' has a label that was asked to be dropped")
        elif path is not None and (first := seen.setdefault((str(path), label), row)) != row:
            reason = ("duplicate_row", f"{named} '{found['audio']}' repeats row {first}")
        if reason:
            findings.append(Finding(corpora[row], shown, None, *reason))
        else:
            kept.append(row)
    speakers = _speakers(texts.get("speaker"), found.get("speaker"), places, kept, reading, subject)
    ids = [it or str(row) for row, it in enumerate(places)]
    if "clip_id" in texts:
        _check([texts["clip_id"][row] for row in kept], found["clip_id"], subject)
        ids = [_text(value) for value in texts["clip_id"]]
    columns: dict[str, list[Any]] = {
        "emotion": labels,
        "corpus": corpora,
        "speaker": [_prefixed(it, of, prefix) for it, of in zip(speakers, corpora, strict=True)],
        "clip_id": [_prefixed(it, of, prefix, "/") for it, of in zip(ids, corpora, strict=True)],
        "folder": [_folder(place, label) for place, label in zip(places, labels, strict=True)],
    }
    for role in ("split", "language", "sentence"):
        columns[role] = [_text(value) or None for value in texts.get(role, nothing)]
    columns["sex"] = [_SEXES.get(_text(value).lower()) for value in texts.get("sex", nothing)]
    columns["flags"] = _flags(table.rows, found.get("flags"), subject) or nothing
    columns["row"] = list(range(len(rows)))
    audio = rows.select_columns(["audio"]).select(kept)
    if not kept:
        # Data sets without rows cannot be joined.
        return audio, findings, found
    plain = {name: [values[row] for row in kept] for name, values in columns.items()}
    described = Features(
        dict.fromkeys(columns, Value("string")) | {"flags": List(Value("string")), "row": Value("int64")}
    )
    return concatenate_datasets([audio, Dataset.from_dict(plain, features=described)], axis=1), findings, found


def _flags(rows: Dataset, column: str | None, subject: str) -> list[list[str]] | None:
    values = None if column is None else rows[column][:]
    bad = next((row for row, value in enumerate(values or ()) if not isinstance(value, list)), None)
    if values is None or bad is None:
        return values
    shown = "" if values[bad] is None else f" ({str(values[bad])[:40]!r})"
    raise InputError(
        f"{subject}: row {bad} of column '{column}' is not a list of flags{shown}; rename the column or remove it"
    )


@dataclass(frozen=True, slots=True)
class _Unusable:
    """A path that cannot be read, and why."""

    value: str
    why: str


def _with_audio(
    rows: Dataset, column: str, table: Table, subject: str
) -> tuple[Dataset, list[Path | _Unusable | None], list[str | None]]:
    """Return rows with a column `audio` of type Audio, their files (None where a row holds the bytes), and names."""
    from datasets import Audio, Dataset, Features, Value

    if column != "audio":
        rows = rows.remove_columns([name for name in rows.column_names if name == "audio"]).rename_column(
            column, "audio"
        )
    feature = rows.features["audio"]
    if (plain := _plain(feature)) != feature:
        rows = rows.cast_column("audio", plain)
        feature = plain
    encoded = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
    if feature == Value("binary"):
        rows = _mapped(rows, lambda row: {"bytes": row["audio"], "path": None}, encoded)
    elif _holds_samples(feature):
        rate = next(
            (name for name in ("sampling_rate", "sample_rate", "rate") if name in table.rows.column_names), None
        )
        rows = _mapped(rows, lambda row: _as_wav(row["audio"], row.get(rate)), encoded, [rate] if rate else [])
    try:
        rows = rows.cast_column("audio", Audio(decode=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{subject}: column '{column}' ({feature}) has the wrong type; give paths, Audio, bytes, or samples with "
            "their sampling_rate"
        ) from error
    paths: list[Path | _Unusable | None] = []
    held: list[str | None] = []
    for batch in rows.select_columns(["audio"]).with_format("arrow").iter(1000):
        for audio in _heads(batch["audio"]):
            held.append(audio["path"])
            if audio["held"]:
                paths.append(None)
            elif audio["path"] is None or not str(audio["path"]).strip():
                paths.append(_Unusable("", "has no value"))
            else:
                there = resolve(audio["path"], table)
                paths.append(_Unusable(audio["path"], there) if isinstance(there, str) else there)
    if any(isinstance(path, Path) for path in paths):
        if any(path is None for path in paths):
            names = iter(paths)
            rows = _mapped(rows, lambda row: {**row["audio"], "path": _name(next(names), row["audio"])}, encoded)
        else:
            rows = Dataset.from_dict({"audio": [str(path) if isinstance(path, Path) else "" for path in paths]})
        rows = rows.cast_column("audio", Audio(decode=False))
    return rows, paths, held


def _heads(column: Any) -> Iterator[dict[str, Any]]:
    """Yield whether a row holds bytes, and its path, without copying the bytes."""
    import pyarrow.compute as compute

    held = compute.is_valid(compute.struct_field(column, "bytes")).to_pylist()
    paths = compute.struct_field(column, "path").to_pylist()
    return ({"held": bool(one), "path": path} for one, path in zip(held, paths, strict=True))


def _name(path: Path | _Unusable | None, audio: Mapping[str, Any]) -> str | None:
    return str(path) if isinstance(path, Path) else audio["path"]


def _mapped(rows: Dataset, convert: Any, features: Any, more: Sequence[str] = ()) -> Dataset:
    chosen = rows.select_columns(["audio", *more])
    return chosen.map(
        lambda row: {"audio": convert(row)}, features=features, remove_columns=list(more), desc="Reading audio column"
    )


def _holds_samples(feature: Any) -> bool:
    from datasets import List

    if isinstance(feature, Mapping):
        return "array" in feature
    return isinstance(feature, List) or type(feature).__name__ in ("Sequence", "LargeList")


def _as_wav(audio: Any, rate: Any) -> dict[str, Any]:
    """Return samples, or what `datasets` decodes audio to, as the bytes of a WAV file."""
    import soundfile

    if isinstance(audio, Mapping):
        audio, rate = audio["array"], audio.get("sampling_rate") or rate
    if audio is None:
        return {"bytes": None, "path": None}
    samples = np.asarray(audio)
    if samples.ndim == 2 and len(samples) <= _MOST_CHANNELS:
        samples = samples.T
    if samples.ndim not in (1, 2) or not rate:
        fault = "samples without a sampling rate; add a column sampling_rate" if samples.ndim == 1 else "no samples"
        raise InputError(f"the audio column holds {fault} in hertz")
    whole = samples.dtype.kind == "i" and np.abs(samples).max(initial=0) > 1
    file = io.BytesIO()
    subtype = "PCM_16" if whole else "DOUBLE" if samples.dtype == np.float64 else "FLOAT"
    soundfile.write(
        file, samples.astype(np.int16 if whole else samples.dtype), int(rate), format="WAV", subtype=subtype
    )
    return {"bytes": file.getvalue(), "path": None}


def _plain(feature: Any) -> Any:
    """Return a type without Arrow's large and view variants, which `Audio` cannot be cast from."""
    from datasets import Value

    if isinstance(feature, Mapping):
        return {name: _plain(inner) for name, inner in feature.items()}
    return Value(_PLAIN[feature.dtype]) if isinstance(feature, Value) and feature.dtype in _PLAIN else feature


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _check(values: Sequence[Any], column: str, subject: str) -> None:
    row = next((row for row, value in enumerate(values) if not _text(value)), None)
    if row is not None:
        raise InputError(f"{subject}: row {row} of column '{column}' has no value; fill it in or remove the row")


def _labels(rows: Dataset, column: str, reading: Reading, subject: str) -> list[str | None]:
    """Return the label of each row by name: None where there is none, empty where it is to be dropped.

    Raises:
        InputError: A label is a number without a name, or two names are one label.
    """
    names = getattr(rows.features[column], "names", None)
    wanted = {name.strip().casefold(): name for name in reading.labels}
    known: dict[Any, str | None] = {}
    spellings: dict[str, str] = {}
    labels: list[str | None] = []
    for row, value in enumerate(rows[column][:]):
        key = value if isinstance(value, str | int | float | None) else str(value)
        if key not in known:
            known[key] = _label(key, names, wanted, reading, spellings, f"{subject}: row {row} of column '{column}'")
        labels.append(known[key])
    return labels


def _label(
    value: Any,
    names: Sequence[str] | None,
    wanted: Mapping[str, str],
    reading: Reading,
    spellings: dict[str, str],
    where: str,
) -> str | None:
    if value is None or value != value or not str(value).strip():
        return None
    if names is not None and not 0 <= value < len(names):
        raise InputError(f"{where} has no value ('{value}'); label the clip or remove the row")
    raw = str(names[value] if names is not None else value).strip()
    raw = raw.removesuffix(".0") if isinstance(value, float) else raw
    canonical = canonical_emotion(raw)
    key = next((it for it in (raw.casefold(), canonical) if it in wanted), None)
    if key is not None:
        reading.used.add(f"label {wanted[key]}")
        target = (reading.labels[wanted[key]] or "").strip()
        # Who writes joy=joy wants to keep it apart.
        reading.spelled[raw] = target.lower() if target.casefold() == key else canonical_emotion(target)
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
    return canonical


def _speakers(
    values: Sequence[Any] | None,
    column: str | None,
    places: Sequence[str | None],
    kept: Sequence[int],
    reading: Reading,
    subject: str,
) -> list[str]:
    if values is not None and column is not None:
        texts = [_text(value).removesuffix(".0") if isinstance(value, float) else _text(value) for value in values]
        row = next((row for row in kept if not texts[row]), None)
        if row is not None:
            raise InputError(f"{subject}: row {row} of column '{column}' has no value; fill it in or remove the row")
        return texts
    if reading.speaker_pattern is not None:
        reading.used.add("speaker_pattern")
        speakers = [""] * len(places)
        for row in kept:
            match = re.search(reading.speaker_pattern, places[row] or "")
            if match is None or not match[1]:
                shown = printable(places[row] or f"row {row}, which has no path")
                raise InputError(f"{subject}: speaker_pattern '{reading.speaker_pattern}' finds no speaker in {shown}")
            speakers[row] = match[1]
        return speakers
    if reading.speakers == "unknown":
        reading.used.add("speakers")
        return [UNKNOWN_SPEAKER] * len(places)
    raise InputError(
        f"{subject} has no column 'speaker', which a split by speaker needs; name it (--columns speaker=NAME), find it "
        r"in the path (--speaker-pattern 'spk(\d+)'), or accept inflated figures (--speakers unknown)"
    )


def _inside(path: Path | _Unusable, table: Table) -> str:
    """Return a file's path within the data set, else its last two parts, so that no report holds a private path."""
    if isinstance(path, _Unusable):
        return PurePath(path.value.replace("\\", "/")).as_posix()
    if table.root is None:
        return path.as_posix()
    try:
        text = path.relative_to(table.root).as_posix()
    except ValueError:
        text = "/".join(path.parts[-2:])
    return text.encode("utf-8", "backslashreplace").decode()


def _folder(place: str | None, label: str | None) -> str:
    """Return the folders that a file lies in, without one that is named after its label."""
    folders = () if place is None else PurePath(place).parent.parts
    return "/".join(name for name in folders if canonical_emotion(name) != label)


def _prefixed(name: str, corpus: str, prefix: bool, mark: str = "_") -> str:
    return f"{corpus}{mark}{name}" if prefix and not name.startswith(f"{corpus}{mark}") else name


def with_label_ids(parts: Mapping[str, Dataset]) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """Return the parts with identifiers in column `emotion`, and the labels that occur; keys name the parts.

    The order of the labels is that of the eight emotions, then the alphabet's.
    """
    from datasets import ClassLabel

    found = {name for rows in parts.values() for name in rows.unique("emotion")}
    labels = (*(name for name in EMOTIONS if name in found), *sorted(found - set(EMOTIONS)))
    place = {name: index for index, name in enumerate(labels)}
    coded = {}
    for subject, rows in parts.items():
        ids = [place[name] for name in rows["emotion"][:]]
        rows = rows.remove_columns("emotion")
        coded[subject] = rows.add_column("emotion", ids, feature=ClassLabel(names=list(labels)))
    return coded, labels


def with_audio_facts(rows: Dataset) -> tuple[Dataset, list[Finding]]:
    """Return rows with `audio_sha256`, `duration` (seconds) and `sampling_rate` (hertz) of their bytes.

    Columns of these names may be wrong: the bytes decide. Rows whose audio cannot be read are left out, each with a
    finding.
    """
    from datasets import Value

    audio = rows.select_columns(["audio", "corpus", "clip_id"])
    found: list[tuple[str, float, int] | Finding] = []

    def facts(begin: int) -> list[tuple[str, float, int] | Finding]:
        batch = audio[begin : begin + _BATCH]
        facts_of = zip(range(begin, begin + _BATCH), batch["audio"], batch["corpus"], batch["clip_id"], strict=False)
        return [_facts(*one) for one in facts_of]

    with ThreadPoolExecutor() as pool:
        for batch in pool.map(facts, range(0, len(rows), _BATCH)):
            found += batch
    kept = [row for row, one in enumerate(found) if not isinstance(one, Finding)]
    digests, seconds, rates = zip(*(found[row] for row in kept), strict=True) if kept else ((), (), ())
    rows = rows.select(kept) if len(kept) < len(rows) else rows
    for name, values in (("audio_sha256", digests), ("duration", seconds), ("sampling_rate", rates)):
        rows = rows.add_column(name, list(values), feature=Value(FACTS[name]))
    return rows, [one for one in found if isinstance(one, Finding)]


def _facts(row: int, audio: Mapping[str, Any], corpus: str, clip_id: str) -> tuple[str, float, int] | Finding:
    name = printable(clip_id)
    try:
        content = audio["bytes"] if audio["bytes"] is not None else read_file(audio["path"], name)
        seconds, rate = sound_length(content, name)
        return hashlib.sha256(content).hexdigest(), seconds, rate
    except InputError as error:
        detail = f"row {row} of column 'audio' ({name!r}): {str(error).removeprefix(f'{name}: ')}"
        return Finding(corpus, name, None, "unreadable", detail)


def part_named(value: str, others: Sequence[str], subject: str) -> str:
    """Return train, validation or test for what a data set calls a part, given the names of all its parts."""
    names = {synonym: part for part, synonyms in PART_SYNONYMS.items() for synonym in synonyms}
    # Where another part validates, `eval` is the test part.
    validated = any(names.get(str(other).lower()) == "validation" for other in others)
    names |= dict.fromkeys(("eval", "evaluation"), "test" if validated else "validation")
    if str(value).lower() not in names:
        known = ", ".join(f"{part} ({', '.join(others)})" for part, (_, *others) in PART_SYNONYMS.items())
        raise InputError(f"{subject} has an unknown part '{printable(str(value))}'; rename it to {known}, or remove it")
    return names[str(value).lower()]
