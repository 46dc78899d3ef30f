"""Data sets opened, wherever they come from, their rows checked, and joined, before they are split."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_ser.corpora import CORPORA, discover, strictest
from hf_ser.dataset.columns import Reading, normalised
from hf_ser.dataset.hygiene import Finding
from hf_ser.dataset.tables import (
    FACTS,
    TABLE_EXTENSIONS,
    Table,
    part_named,
    read_labelled_folders,
    read_metadata,
    read_table,
    warn_of_contradictions,
    with_audio_facts,
)
from hf_ser.errors import InputError, hub_errors, persistent
from hf_ser.labels import EMOTIONS
from hf_ser.text import printable

if TYPE_CHECKING:
    from datasets import Dataset

SYNTHETIC_MARK: Final = "SYNTHETIC.txt"
"""A folder of synthesised speech contains this file, so that results on it are never reported as evidence."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One data set as it was given.

    Attributes:
        name: As the caller names it, else the last part of the path or Hub id.
        path: The folder, file or Hub id as given; None for a data set in memory.
        parts: The rows of each part under the part's own name; a single part `train` if there are none.
        kind: `corpora` for a folder of known corpora, `protocol` for a configuration that is named as the protocol,
            `other` for all others.
    """

    name: str
    path: str | None
    parts: Mapping[str, Table]
    kind: str = "other"

    @property
    def subject(self) -> str:
        """What messages call it."""
        return f"data set '{self.path or self.name}'"

    @property
    def corpus(self) -> str:
        """Its name as that of a corpus: letters, digits and underscores."""
        return re.sub(r"\W+", "_", self.name).strip("_").lower() or "data"


def open_any(dataset: Any, protocol: str, options: Mapping[str, Any], name: str | None = None) -> Opened:
    """Open one data set; `options` are those of `datasets.load_dataset`. Text may be `NAME=DATA`."""
    from datasets import Dataset, DatasetDict

    if isinstance(dataset, Dataset | DatasetDict):
        parts = _tables(dataset)
        info = next((it.rows.info for it in parts.values()), None)
        return Opened(name or (info and info.dataset_name) or "in-memory data set", None, parts)
    if not isinstance(dataset, str | Path):
        ways = "give a folder, a table, a Hub id, a datasets.Dataset (from_dict, from_pandas; no streaming)"
        raise InputError(f"a {type(dataset).__name__} is not a data set; {ways} or a DatasetDict")
    if options.get("streaming"):
        raise InputError("streaming is not supported; leave streaming=True out, the data set is then downloaded")
    text = str(dataset)
    given, equals, rest = text.partition("=")
    if equals and rest and re.fullmatch(r"\w+", given) and not Path(text).exists():
        name, text = name or given, rest
    path = Path(text)
    if path.is_file() and path.suffix.lower() in TABLE_EXTENSIONS:
        # `metadata.csv` is the table of its folder.
        named = path.resolve().parent.name if path.stem.lower() == "metadata" else path.stem
        return Opened(name or named, text, {"train": read_table(path)})
    if path.is_dir():
        return _folder(path, name or path.resolve().name or "data", text, protocol, options)
    if path.exists() or text.count("/") != 1 or text.startswith((".", "/", "~")):
        kinds = ", ".join(sorted(TABLE_EXTENSIONS))
        reason = f"is a file, and no table ({kinds})" if path.exists() else "there is no such folder or file"
        raise InputError(f"data set '{text}': {reason}; give a folder of recordings, a table, or a Hub id USER/NAME")
    return _from_hub(text, name or text.rpartition("/")[2], protocol, options)


def _tables(loaded: Any, root: Path | None = None, closed: bool = False) -> dict[str, Table]:
    parts = loaded if isinstance(loaded, dict) else {"train": loaded}
    return {part: Table(rows, root, closed=closed) for part, rows in parts.items()}


def _folder(path: Path, name: str, text: str, protocol: str, options: Mapping[str, Any]) -> Opened:
    from datasets import load_from_disk

    from hf_ser.dataset.collection import read_folder

    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return Opened(name, text, _tables(load_from_disk(text)))
    if parts := read_metadata(path):
        return Opened(name, text, parts)
    if any(path.glob("*.parquet")) or any(path.glob("*/*.parquet")):
        try:
            loaded, kind = _load(text, protocol, options)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"data set '{text}': {str(error).strip().splitlines()[0]}") from error
        return Opened(name, text, _tables(loaded, path, closed=True), kind)
    if not discover(path).copies and (table := read_labelled_folders(path)) is not None:
        return Opened(name, text, {"train": table})
    return Opened(name, text, {"train": Table(read_folder(path), path)}, "corpora")


def _from_hub(name: str, called: str, protocol: str, options: Mapping[str, Any]) -> Opened:
    from datasets.config import HF_CACHE_HOME
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    api, revision = HfApi(token=options.get("token")), options.get("revision")
    # A folder whose name was mistyped looks like a Hub id.
    subject = f"data set '{name}'" + (" (no such folder, taken as a Hub id)" if Path(name).parent.is_dir() else "")
    unreachable: Exception | None = None
    with hub_errors(subject, revision):
        try:
            # Resolved once, so that names and clips are of one commit; `datasets` does not report why this fails.
            info = persistent(lambda: api.dataset_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT))
            if info.gated:
                persistent(lambda: api.auth_check(name, repo_type="dataset"))
            options = {**options, "revision": str(info.sha)}
            if not any(file.rfilename.endswith(".parquet") for file in info.siblings or ()):
                # Recordings as files, which `datasets` reads with torchcodec alone.
                at: dict[str, Any] = {"revision": str(info.sha), "token": options.get("token")}
                folder = Path(persistent(lambda: snapshot_download(name, repo_type="dataset", **at)))
                found = _folder(folder, called, name, protocol, options)
                return replace(found, parts={part: replace(it, closed=True) for part, it in found.parts.items()})
        except (InputError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError):
            raise
        except Exception as error:
            # The files may be cached.
            unreachable = error
        try:
            loaded, kind = persistent(lambda: _load(name, protocol, options))
        except Exception as error:
            raise unreachable or error from error
    # Rows of others: what they call a file must not be any file of this machine.
    return Opened(called, name, _tables(loaded, Path(HF_CACHE_HOME).expanduser(), closed=True), kind)


def _load(name: str, protocol: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    from datasets import get_dataset_config_names, load_dataset

    configurations = get_dataset_config_names(name, **options)
    # Without a configuration of the protocol the whole is split here, or the data set keeps its own parts.
    chosen = next((wanted for wanted in (protocol, "given", "all") if wanted in configurations), None)
    return load_dataset(name, chosen, **options), "protocol" if chosen == protocol else "other"


logger = logging.getLogger(__name__)

TOLERATED: Final = ("dropped_label", "no_recording")
"""Reasons of findings that `strict` does not treat as errors: they were asked for, or concern no recording."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The clips of some data sets, before they are split.

    `rows` are those of all data sets, with the part that a data set came with in column `split` (None where it had
    none); `columns` has the column of each role, by data set, and `facts` further fields of the `Source`.
    """

    subject: str
    rows: Dataset
    labels: tuple[str, ...]
    columns: Mapping[str, Mapping[str, str]]
    kinds: tuple[str, ...]
    spelled: Mapping[str, str]
    facts: Mapping[str, Any]


def gather(
    dataset: Any, protocol: str, *, columns: Mapping[str, str] | None = None,
    labels: Mapping[str, str | None] | None = None, speaker_pattern: str | None = None, speakers: str | None = None,
    strict: bool = False, name: str | None = None, language: str | Sequence[str] | None = None,
    licence: str | None = None, acted: bool | None = None, **options: Any,
) -> Gathered:  # fmt: skip
    """Open data sets and check every row; see `open_dataset` for the arguments."""
    from datasets import ClassLabel, concatenate_datasets, load_dataset

    if unknown := sorted(set(options) - set(inspect.signature(load_dataset).parameters)):
        raise InputError(f"open_dataset has no option '{unknown[0]}', and datasets.load_dataset has none either")
    reading = Reading(columns or {}, labels or {}, speaker_pattern, speakers)
    given = list(dataset) if isinstance(dataset, list | tuple) else [dataset]
    if not given:
        raise InputError("the list of data sets is empty; give at least one")
    several = len(given) > 1
    names = [(None if isinstance(one, str | Path) else f"data_{place}") if several else name
             for place, one in enumerate(given, 1)]  # fmt: skip
    opened = tuple(open_any(one, protocol, options, called) for one, called in zip(given, names, strict=True))
    twice = [it for it, count in Counter(it.corpus for it in opened if it.kind != "corpora").items() if count > 1]
    if twice:
        raise InputError(f"two data sets are called '{twice[0]}'; name one, as in NAME={opened[0].path or 'DATA'}")
    parts: list[Dataset] = []
    findings: list[Finding] = []
    found_columns = {}
    for one in opened:
        keeps = one.kind == "protocol" or protocol in ("speaker_independent", "paper")
        rows, found, found_columns[one.name] = _rows_of(one, reading, several, keeps)
        _report(one, found, strict)
        findings += found
        parts += rows
    reading.check_used()
    whole = concatenate_datasets(parts)
    names = whole["emotion"][:]
    # The eight emotions in their own order, then others in that of the alphabet.
    kinds = tuple(dict.fromkeys([*(it for it in EMOTIONS if it in {*names}), *sorted({*names})]))
    if len(kinds) < 2:
        what = ", ".join(it.subject for it in opened)
        raise InputError(f"{what}: all clips have the label '{''.join(kinds)}'; recognition needs two labels or more")
    ids = [kinds.index(name) for name in names]
    whole = whole.remove_columns("emotion").add_column("emotion", ids, feature=ClassLabel(names=list(kinds)))
    empty = [it for it in ("split", "language", "sentence", "sex", "flags") if not any(whole[it][:])]
    whole = whole.remove_columns([*empty, "row"])
    synthetic = any(it.path is not None and (Path(it.path) / SYNTHETIC_MARK).is_file() for it in opened)
    languages, licence, acted = _known_facts(whole, synthetic, language, licence, acted)
    called = ", ".join(it.name for it in opened)
    facts = {"name": called, "path": None if several else opened[0].path, "synthetic": synthetic,
             "languages": languages, "licence": licence, "acted": acted, "findings": tuple(findings),
             "renamed": reading.renamed}  # fmt: skip
    subject = f"data set '{called}'" if several else opened[0].subject
    return Gathered(subject, whole, kinds, found_columns, tuple(it.kind for it in opened), reading.spelled, facts)


def _known_facts(
    rows: Dataset, synthetic: bool, language: str | Sequence[str] | None, licence: str | None, acted: bool | None
) -> tuple[tuple[str, ...], str | None, bool | None]:
    """Return languages, licence, and whether the speech is acted: as given, else as rows and corpora say."""
    own = rows["language"][:] if "language" in rows.column_names else [None] * len(rows)
    spoken = set(zip(rows["corpus"][:], own, strict=True))
    held = {corpus for corpus, _ in spoken}
    known = {it: CORPORA[it] for it in sorted(held) if it in CORPORA and not synthetic}
    found = {tongue or (known[corpus].language if corpus in known else None) for corpus, tongue in spoken}
    languages = () if None in found else tuple(sorted(it for it in found if it))
    languages = (language,) if isinstance(language, str) else tuple(language or languages)
    if len(known) == len(held) and known:
        most, kinds = strictest(known.values()), {it.acted for it in known.values()}
        licence = licence or (most.licence.id if most else None)
        acted = kinds.pop() if acted is None and len(kinds) == 1 else acted
    return languages, licence, acted


def _rows_of(
    one: Opened, reading: Reading, several: bool, keeps: bool
) -> tuple[list[Dataset], list[Finding], dict[str, str]]:
    """Return the rows of each part of a data set, with their part in column `split` if it is to be kept."""
    from datasets import Value, concatenate_datasets

    used: list[Dataset] = []
    findings = [
        Finding(one.corpus, printable(file), None, *why) for it in one.parts.values() for file, *why in it.unused
    ]
    columns: dict[str, str] = {}
    taken: dict[str, str] = {}
    for part, table in one.parts.items():
        alone = len(one.parts) == 1
        subject = one.subject if alone else f"{one.subject}, part '{part}'"
        named = "" if alone else part_named(part, list(one.parts), one.subject)
        if taken.setdefault(named, part) != part:
            raise InputError(f"{one.subject} has two parts for {named}, one of them '{part}'; merge them or remove one")
        if not len(table.rows):
            continue
        prefix = one.kind != "corpora" and (several or one.path is not None)
        with _without_bars():
            rows, found, columns = normalised(table, subject, one.corpus, reading, prefix=prefix)
        findings += found
        if one.kind == "corpora":
            columns, known = {}, table.rows.select(rows["row"][:])
            for column, kind in FACTS.items():
                rows = rows.add_column(column, known[column][:], feature=Value(kind))
        elif len(rows):
            rows, found = with_audio_facts(rows)
            findings += found
            warn_of_contradictions(table, rows, subject)
        if len(rows) and isinstance(table.rows.features.get("voice_votes"), dict):
            # Those of a build with CREMA-D's votes, beside which a model is evaluated.
            votes = table.rows.select_columns("voice_votes").select(rows["row"][:])
            rows = concatenate_datasets([rows, votes], axis=1)
        if len(rows):
            parts = _parts(rows, named, one) if keeps else [None] * len(rows)
            used.append(rows.remove_columns("split").add_column("split", parts, feature=Value("string")))
    if not used:
        worst = next((it for it in findings if it.reason != "duplicate_row"), None)
        first = f": the first of {len(findings):,} findings is: {worst.detail}" if worst else ""
        ways = "" if findings else "; give parts named train, validation and test, or train alone"
        raise InputError(f"{one.subject} has no clips{first}{ways}")
    if columns:
        logger.info("%s: %s", one.name, ", ".join(f"{role} is column '{it}'" for role, it in columns.items()))
    return used, findings, columns


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the bars of casts, which take no time."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    yield
    if shown:
        enable_progress_bars()


def _parts(rows: Dataset, named: str, one: Opened) -> list[str | None]:
    values = [named or value for value in rows["split"][:]]
    if None in values and any(values):
        row = rows[values.index(None)]["row"]
        raise InputError(f"{one.subject}: row {row} has no part, and others do; fill the column in, or remove it")
    of = {value: part_named(value, sorted(set(values)), one.subject) for value in set(values) if value}
    return [of.get(value) for value in values]


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
