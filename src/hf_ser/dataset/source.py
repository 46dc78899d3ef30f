"""Opening a data set: a folder, a Hub id or a `datasets` object becomes three parts with a proof."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.corpora import CORPORA, strictest
from hf_ser.dataset.columns import normalised, with_audio_facts, with_label_ids
from hf_ser.dataset.hygiene import without_unfit
from hf_ser.dataset.proof import PAPER_WARNING, prove
from hf_ser.dataset.recordings import shared_recordings, signatures
from hf_ser.dataset.splits import PARTS, PROTOCOLS, split
from hf_ser.errors import InputError, hub_errors, persistent

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_ser.dataset.proof import SplitProof

logger = logging.getLogger(__name__)

SYNTHETIC_MARK = "SYNTHETIC.txt"
"""A folder of synthesised speech contains this file, so that results on it are never reported as evidence."""

_SYNONYMS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "holdout"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A data set, split and proved.

    Attributes:
        name: The name to show: as given, else the last part of the path or Hub id.
        path: The folder or Hub id as given; None for a data set in memory.
        protocol: The protocol that made the parts; `given` where the data set had its own parts.
        labels: The labels in the order of their identifiers.
        parts: `train`, `validation` and `test`, each with the columns `audio`, `emotion`, `corpus`, `speaker`,
            `clip_id`, `duration` (seconds) and `audio_sha256`.
        proof: What the parts share.
        fingerprint: SHA-256 over the identifiers, labels and bytes of the clips, independent of their order.
        synthetic: Whether the folder is marked as synthesised speech.
        left_out: Number of clips that training leaves out, by reason (see `hf_ser.dataset.hygiene`).
        languages: BCP-47 codes: as given, else those of the corpora if all are known.
        licence: Identifier of the licence: as given, else the strictest of the corpora if all are known.
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


def open_dataset(
    dataset: str | Path | Dataset | DatasetDict | Source,
    protocol: str = "speaker_independent",
    *,
    allow_speaker_overlap: bool = False,
    name: str | None = None,
    language: str | Sequence[str] | None = None,
    licence: str | None = None,
    **options: Any,
) -> Source:
    """Open a data set, split it by a protocol and prove what the parts share.

    Args:
        dataset: A folder that contains corpora, a data set built by this library, a Hub id, a `Dataset`, a
            `DatasetDict` (whose own parts are kept), or a `Source`, which is returned as it is.
        protocol: One of `hf_ser.dataset.splits.PROTOCOLS`.
        allow_speaker_overlap: Accept parts that share speakers or recordings under any protocol.
        name: Name to show in reports and cards.
        language: BCP-47 code or codes of the speech, for the card.
        licence: Identifier of the data's licence, for the card.
        **options: Passed to `datasets.load_dataset` (`revision`, `token`, …).

    Raises:
        InputError: There is no such data set, a column or value is missing, or the parts share a speaker.
        HubError: The Hub cannot be read.

    Example:
        >>> open_dataset({"audio": []})
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: a dict is not a data set; give a folder, a Hub id, a datasets.Dataset ...
    """
    if isinstance(dataset, Source):
        return dataset
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol '{protocol}' is unknown; choose one of {', '.join(PROTOCOLS)}")
    opened, path, kind = _open(dataset, protocol, options)
    if path is None:
        first = next(iter(opened.values()), None) if isinstance(opened, dict) else opened
        name = name or (first and first.info.dataset_name) or "in-memory data set"
    name = name or Path(str(path)).resolve().name or "data"
    subject = f"data set '{path or name}'"
    given = _named_parts(opened, subject) if isinstance(opened, dict) else {"train": opened}
    called = {part: f"{subject}, part '{part}'" if len(given) > 1 else subject for part in given}
    coded, labels = with_label_ids({called[part]: normalised(rows, called[part], name) for part, rows in given.items()})
    columns = dict(zip(given, coded.values(), strict=True))
    if kind != "corpora":
        columns = {part: with_audio_facts(rows, called[part]) for part, rows in columns.items()}
    # A published configuration is named after its protocol; the origin of other parts is not known.
    made = protocol if kind == "protocol" or set(columns) == {"train"} else "given"
    parts = _divided(columns, subject, protocol)
    parts["train"], left_out = without_unfit(parts["train"], labels)
    table, places = _table(parts, labels)
    proof = prove(table, places)
    _refuse(table["emotion"], places, proof, subject, made, allow_speaker_overlap)
    if made == "paper":
        logger.warning(PAPER_WARNING)
    else:
        # Last, because it decodes the clips.
        proof = prove(table, places, shared_recordings(parts, signatures(columns.values())))
        _refuse(table["emotion"], places, proof, subject, made, allow_speaker_overlap)
    synthetic = path is not None and (Path(path) / SYNTHETIC_MARK).is_file()
    corpora = set(table["corpus"])
    known = [CORPORA[corpus] for corpus in sorted(corpora)] if corpora <= set(CORPORA) and not synthetic else []
    languages = (language,) if isinstance(language, str) else tuple(language or sorted({it.language for it in known}))
    if licence is None and (most := strictest(known)):
        licence = most.licence.id
    clips = sorted(zip(table["clip_id"], table["emotion"], table["sha256"], strict=True))
    fingerprint = hashlib.sha256(repr(clips).encode()).hexdigest()
    return Source(name, path, made, labels, parts, proof, fingerprint, synthetic, left_out, languages, licence)


def _open(
    dataset: str | Path | Dataset | DatasetDict, protocol: str, options: Mapping[str, Any]
) -> tuple[Dataset | DatasetDict, str | None, str]:
    """Return the data set, its path, and what it is: `corpora`, a configuration named as the `protocol`, or `other`."""
    from datasets import Dataset, DatasetDict, load_from_disk

    from hf_ser.dataset.collection import read_folder

    if isinstance(dataset, Dataset | DatasetDict):
        return dataset, None, "other"
    if not isinstance(dataset, str | Path):
        ways = "give a folder, a Hub id, a datasets.Dataset (from_dict, from_pandas; no streaming) or a DatasetDict"
        raise InputError(f"a {type(dataset).__name__} is not a data set; {ways}")
    if options.get("streaming"):
        raise InputError("streaming is not supported; leave streaming=True out, the data set is then downloaded")
    name, path = str(dataset), Path(dataset)
    if path.is_dir():
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            return load_from_disk(name), name, "other"
        if not any(path.glob("*.parquet")) and not any(path.glob("*/*.parquet")):
            return read_folder(path), name, "corpora"
        try:
            return _load(name, protocol, options)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"data set '{name}': {str(error).strip().splitlines()[0]}") from error
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        reason = "is a file, not a folder" if path.exists() else "there is no such folder"
        raise InputError(f"data set '{name}': {reason}; give a folder that contains corpora, or a Hub id USER/NAME")
    return _load_from_hub(name, protocol, options)


def _load_from_hub(name: str, protocol: str, options: Mapping[str, Any]) -> tuple[Any, str, str]:
    from huggingface_hub import HfApi, constants
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
        except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError):
            raise
        except Exception as error:
            # The files may be cached.
            unreachable = error
        try:
            return persistent(lambda: _load(name, protocol, options))
        except Exception as error:
            raise unreachable or error from error


def _load(name: str, protocol: str, options: Mapping[str, Any]) -> tuple[Any, str, str]:
    from datasets import get_dataset_config_names, load_dataset

    configurations = get_dataset_config_names(name, **options)
    # Without a configuration of the protocol the whole is split here, or the data set keeps its own parts.
    chosen = next((wanted for wanted in (protocol, "all") if wanted in configurations), None)
    return load_dataset(name, chosen, **options), name, "protocol" if chosen == protocol else "other"


def _named_parts(opened: Mapping[str, Dataset], subject: str) -> dict[str, Dataset]:
    """Return the parts that have rows, under the names used here."""
    names = {synonym: part for part, synonyms in _SYNONYMS.items() for synonym in synonyms}
    # Where another part validates, `eval` is the test part.
    validated = any(names.get(part) == "validation" for part in opened)
    names |= dict.fromkeys(("eval", "evaluation"), "test" if validated else "validation")
    given: dict[str, Dataset] = {}
    for part, rows in opened.items():
        if str(part).lower() not in names:
            known = ", ".join(f"{part} ({', '.join(others)})" for part, (_, *others) in _SYNONYMS.items())
            raise InputError(f"{subject} has an unknown part '{part}'; rename it to {known}, or remove it")
        name = names[str(part).lower()]
        if name in given:
            raise InputError(f"{subject} has two parts for {name}, one of them '{part}'; merge them or remove one")
        if len(rows):
            given[name] = rows
    if not given:
        raise InputError(f"{subject} has no clips; give parts named train, validation and test, or train alone")
    return given


def _divided(columns: Mapping[str, Dataset], subject: str, protocol: str) -> dict[str, Dataset]:
    """Return train, validation and test: the given parts, or a single one split by the protocol."""
    if set(columns) == {"train"}:
        whole = columns["train"]
        rows = split({key: whole[key][:] for key in ("corpus", "speaker", "clip_id")}, protocol)
        return {part: whole.select(rows[part]) for part in PARTS}
    if missing := next((part for part in PARTS if part not in columns), None):
        why = ", and the test part never chooses a model" if missing == "validation" else ""
        ways = "add one with speakers of its own, or give all clips as a single train part"
        raise InputError(f"{subject} has no {missing} part{why}; {ways}")
    return {part: columns[part] for part in PARTS}


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
    """Raise for parts that share speakers or recordings unless this was asked for, and for labels without training."""
    if proof.untrained_labels and not protocol.startswith("leave_out_"):
        row = emotions.index(proof.untrained_labels[0])
        part = next(part for part, rows in places.items() if row in rows)
        raise InputError(
            f"{subject}, part '{part}': row {row - places[part].start} of column 'emotion' has the label "
            f"'{emotions[row]}', which no training clip has; add training clips of it, or remove it"
        )
    if protocol != "paper" and not proof.speaker_disjoint and not allow_speaker_overlap:
        fault = "its parts share speakers"
        if not any(overlap.speakers for overlap in proof.overlaps.values()):
            pairs = [(*names, *pair) for names, overlap in proof.overlaps.items() for pair in overlap.recordings]
            more = f", and {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
            fault = "'{2}' ({0}) and '{3}' ({1}) are the same recording".format(*pairs[0]) + more
        raise InputError(
            f"{subject}: {fault}, so its scores would be inflated; split it by speaker, remove copies, or pass "
            "allow_speaker_overlap=True (--allow-speaker-overlap)"
        )
