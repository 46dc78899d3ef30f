"""Whatever a user calls a data set, opened as three parts whose speakers are proved to differ."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.dataset.fitness import without_unfit
from hf_ser.dataset.splits import PAPER_WARNING, PROTOCOLS, prove, split
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS, canonical_emotion
from hf_ser.remote import connection_error, hub_reason, passes, persistent

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from hf_ser.dataset.splits import SplitProof

__all__ = ["PARTS", "Source", "open_source"]

logger = logging.getLogger(__name__)

PARTS: tuple[str, ...] = ("train", "validation", "test")
SYNTHETIC_MARK = "SYNTHETIC.txt"
"""A folder of synthesised speech holds this file, so that no figure made from it passes for evidence."""

PART_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
LABEL_COLUMNS = ("emotion", "label", "labels")


@dataclass(frozen=True, slots=True)
class Source:
    """A data set, split and proved.

    Attributes:
        name: The folder or Hub id, for the record.
        protocol: The protocol that made the parts; `given` where the data set came with parts of its own.
        labels: The labels in the order of their identifiers.
        parts: `train`, `validation` and `test`, each with the columns `audio`, `emotion`, `corpus`,
            `speaker`, `clip_id`, `duration` (seconds) and `audio_sha256`.
        proof: What the parts share.
        fingerprint: SHA-256 over the clips' identifiers, labels and bytes, independent of their order.
        synthetic: Whether the folder says of itself that its speech is synthesised.
        left_out: Number of clips that training leaves out, by reason (see `hf_ser.dataset.fitness`).
    """

    name: str
    protocol: str
    labels: tuple[str, ...]
    parts: Mapping[str, Dataset]
    proof: SplitProof
    fingerprint: str
    synthetic: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)


def open_source(
    dataset: str | Path | Dataset | DatasetDict,
    protocol: str = "speaker_independent",
    *,
    allow_speaker_overlap: bool = False,
    **options: Any,
) -> Source:
    """Open a data set and split it by a protocol.

    Args:
        dataset: A folder that holds the corpora, a data set built by this library, a Hub id, a `Dataset`, or
            a `DatasetDict` (whose own parts are kept).
        protocol: One of `hf_ser.dataset.splits.PROTOCOLS`.
        allow_speaker_overlap: Accept parts that share speakers though the protocol is not `paper`.
        **options: Passed on to `datasets.load_dataset` (`revision`, `token`, …).

    Raises:
        InputError: There is no such data set, it holds no labels, or its parts share a speaker.
    """
    from datasets import DatasetDict

    if protocol not in PROTOCOLS:
        raise InputError(f"protocol '{protocol}' is unknown; choose one of {', '.join(PROTOCOLS)}")
    opened, name, of_protocol = _open(dataset, protocol, options)
    given: dict[str, Dataset] = {}
    if isinstance(opened, DatasetDict):
        given = {PART_NAMES[part]: rows for part, rows in opened.items() if part in PART_NAMES and len(rows)}
        if not given:
            raise InputError(f"data set '{name}' has no part named train, validation or test")
    columns = {part: _normalise(rows, name) for part, rows in (given or {"train": opened}).items()}
    labels = labels_of(list(columns.values()), name)
    columns = {part: _with_content_hashes(with_label_ids(rows, labels)) for part, rows in columns.items()}
    parts = divided(columns, name, protocol)
    # A published configuration is named after its protocol; parts in memory are whatever the caller made.
    protocol = protocol if of_protocol or set(columns) == {"train"} else "given"
    parts["train"], left_out = without_unfit(parts["train"], labels)
    proof = proved(parts, labels, name, protocol, allow_speaker_overlap=allow_speaker_overlap)
    fingerprint = fingerprint_of(parts, labels, content="audio_sha256")
    synthetic = Path(name).is_dir() and (Path(name) / SYNTHETIC_MARK).is_file()
    return Source(name, protocol, labels, parts, proof, fingerprint, synthetic, left_out)


def fingerprint_of(parts: Mapping[str, Dataset], labels: Sequence[str], *, content: str) -> str:
    """Return a SHA-256 over the clips of all parts, whatever their order: their names, labels and column `content`."""
    clips = sorted(
        clip
        for rows in parts.values()
        for clip in zip(rows["clip_id"], (labels[k] for k in rows["emotion"]), rows[content], strict=True)
    )
    return hashlib.sha256(repr(clips).encode()).hexdigest()


def divided(columns: Mapping[str, Dataset], name: str, protocol: str) -> dict[str, Dataset]:
    """Return train, validation and test: the parts as they are given, or a single one split by the protocol."""
    if set(columns) == {"train"}:
        whole = columns["train"]
        rows = split({key: whole[key] for key in ("corpus", "speaker", "clip_id")}, protocol)
        missing = [part for part in PARTS if not rows.get(part)]
        if missing:
            raise InputError(
                f"data set '{name}': protocol '{protocol}' leaves its {missing[0]} part empty; "
                "add the corpora or speakers it needs, or choose another protocol"
            )
        return {part: whole.select(rows[part]) for part in PARTS}
    if "test" not in columns or "train" not in columns:
        raise InputError(f"data set '{name}' has parts {', '.join(columns)}; give train and test, or train alone")
    if "validation" not in columns:
        raise InputError(
            f"data set '{name}' has no validation part, and the test part never chooses a model; "
            "add one whose speakers are its own, or give all clips as a single train part"
        )
    return {part: columns[part] for part in PARTS}


def proved(
    parts: Mapping[str, Dataset], labels: tuple[str, ...], name: str, protocol: str, *, allow_speaker_overlap: bool
) -> SplitProof:
    """Return what the parts share, after refusing parts that share speakers unasked."""
    from datasets import concatenate_datasets

    joined = concatenate_datasets([parts[part] for part in PARTS])
    bounds = [0, *(sum(len(parts[part]) for part in PARTS[: k + 1]) for k in range(len(PARTS)))]
    ranges = {part: list(range(bounds[k], bounds[k + 1])) for k, part in enumerate(PARTS)}
    shown = ("corpus", "speaker", "clip_id", "sentence", "sex")
    columns_of_proof = {key: joined[key] for key in shown if key in joined.column_names}
    if "audio_sha256" in joined.column_names:
        columns_of_proof["sha256"] = list(joined["audio_sha256"])
    names = [labels[identifier] for identifier in joined["emotion"]]
    proof = prove({**columns_of_proof, "emotion": names}, ranges)
    if protocol == "paper":
        logger.warning(PAPER_WARNING)
    elif not proof.speaker_disjoint and not allow_speaker_overlap:
        raise InputError(
            f"data set '{name}': its parts share speakers, so its scores would be inflated; split it by speaker, "
            "or pass allow_speaker_overlap=True (--allow-speaker-overlap)"
        )
    return proof


def _open(
    dataset: str | Path | Dataset | DatasetDict, protocol: str, options: Mapping[str, Any]
) -> tuple[Dataset | DatasetDict, str, bool]:
    """Return the data set, its name, and whether its parts, if it has any, are those of the protocol."""
    from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

    from hf_ser.dataset.folder import read_folder

    if isinstance(dataset, Dataset | DatasetDict):
        first = dataset if isinstance(dataset, Dataset) else next(iter(dataset.values()))
        return dataset, first.info.dataset_name or "in memory", False
    name, path = str(dataset), Path(dataset)
    if path.is_dir():
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            return load_from_disk(name), name, False
        if any(path.glob("*.parquet")) or any(path.glob("*/*.parquet")):
            return _load(load_dataset, name, protocol, options)
        return read_folder(path), name, False
    looks_like_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if path.exists() or not looks_like_hub_id:
        reason = "is a file, not a folder" if path.exists() else "there is no such folder"
        raise InputError(f"data set '{name}': {reason}; give a folder that holds the corpora, or a Hub id USER/NAME")
    return _load(load_dataset, name, protocol, options)


def _load(load_dataset: Any, name: str, protocol: str, options: Mapping[str, Any]) -> tuple[Any, str, bool]:
    from datasets import get_dataset_config_names
    from huggingface_hub.errors import OfflineModeIsEnabled

    revision, unheard = options.get("revision"), None
    if not Path(name).is_dir():
        try:
            # Resolved once, so that names and clips are of one commit.
            options = {**options, "revision": _commit(name, revision, options.get("token"))}
        except (OSError, ValueError, connection_error()) as error:
            if not (passes(error) or isinstance(error, OfflineModeIsEnabled)):
                raise InputError(f"data set '{name}': {hub_reason(error, revision=revision)}") from error
            # The cache may hold it.
            unheard = error
    try:
        configurations = persistent(lambda: get_dataset_config_names(name, **options))
        # Without a configuration of the protocol, the whole is split here, or the data set's own parts stay.
        chosen = next((wanted for wanted in (protocol, "all") if wanted in configurations), None)
        return persistent(lambda: load_dataset(name, chosen, **options)), name, chosen == protocol
    except (OSError, ValueError, RuntimeError, connection_error()) as error:
        raise InputError(f"data set '{name}': {hub_reason(unheard or error, revision=revision)}") from error


def _commit(name: str, revision: str | None, token: Any) -> str:
    """Return the commit of a data set on the Hub; `datasets` forgets why it could not read one."""
    from huggingface_hub import HfApi, constants

    api, timeout = HfApi(token=token), constants.HF_HUB_ETAG_TIMEOUT
    info = persistent(lambda: api.dataset_info(name, revision=revision, timeout=timeout))
    if info.gated:
        persistent(lambda: api.auth_check(name, repo_type="dataset"))
    return str(info.sha)


def _normalise(rows: Dataset, name: str) -> Dataset:
    """Bring a data set's columns to the names used here, without decoding any audio."""
    from datasets import Audio

    if "audio" not in rows.column_names:
        raise InputError(f"data set '{name}' has no column 'audio'; its columns are {', '.join(rows.column_names)}")
    label = next((column for column in LABEL_COLUMNS if column in rows.column_names), None)
    if label is None:
        raise InputError(
            f"data set '{name}' has no labels: no column 'emotion' or 'label' among {', '.join(rows.column_names)}"
        )
    if label != "emotion":
        rows = rows.rename_column(label, "emotion")
    if "speaker" not in rows.column_names:
        raise InputError(
            f"data set '{name}' has no column 'speaker', so nothing shows that its parts differ in speakers; add one"
        )
    rows = rows.cast_column("audio", Audio(decode=False))
    if "corpus" not in rows.column_names:
        rows = rows.add_column("corpus", [Path(name).name or "data"] * len(rows))
    rows = rows.cast_column("speaker", _string())
    if "clip_id" not in rows.column_names:
        identifiers = [audio["path"] or str(index) for index, audio in enumerate(rows["audio"])]
        rows = rows.add_column("clip_id", identifiers)
    if "duration" not in rows.column_names:
        durations = [_seconds(audio, clip) for audio, clip in zip(rows["audio"], rows["clip_id"], strict=True)]
        rows = rows.add_column("duration", durations)
    return rows


def _seconds(audio: Mapping[str, Any], clip_id: str) -> float:
    import io

    import soundfile

    source = io.BytesIO(audio["bytes"]) if audio["bytes"] is not None else audio["path"]
    try:
        return float(soundfile.info(source).duration)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"clip '{clip_id}' cannot be read as audio; remove it or download it again") from error


def _string() -> Any:
    from datasets import Value

    return Value("string")


def labels_of(parts: list[Dataset], name: str) -> tuple[str, ...]:
    """Return the canonical labels of a data set, in the order of their identifiers."""
    from datasets import ClassLabel

    feature = parts[0].features["emotion"]
    if isinstance(feature, ClassLabel):
        return tuple(canonical_emotion(label) for label in feature.names)
    found = {value for rows in parts for value in rows.unique("emotion")}
    if not all(isinstance(value, str) for value in found):
        raise InputError(f"data set '{name}': its labels are numbers without names; cast the column to ClassLabel")
    names = {canonical_emotion(value) for value in found}
    return EMOTIONS if names <= set(EMOTIONS) else tuple(sorted(names))


def with_label_ids(rows: Dataset, labels: tuple[str, ...]) -> Dataset:
    """Return rows whose column `emotion` holds identifiers of these labels."""
    from datasets import ClassLabel

    feature = rows.features["emotion"]
    if isinstance(feature, ClassLabel):
        own = tuple(canonical_emotion(label) for label in feature.names)
        if own == labels:
            return rows
        identifiers = [labels.index(own[value]) for value in rows["emotion"]]
    else:
        identifiers = [labels.index(canonical_emotion(value)) for value in rows["emotion"]]
    rows = rows.remove_columns("emotion").add_column("emotion", identifiers)
    return rows.cast_column("emotion", ClassLabel(names=list(labels)))


def _with_content_hashes(rows: Dataset) -> Dataset:
    from concurrent.futures import ThreadPoolExecutor

    def digest(index: int) -> str:
        audio = rows[index]["audio"]
        content = audio["bytes"] if audio["bytes"] is not None else Path(audio["path"]).read_bytes()
        return hashlib.sha256(content).hexdigest()

    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(digest, range(len(rows))))
    if "audio_sha256" in rows.column_names:
        # A part of an opened source, or somebody else's column: what the bytes say counts.
        rows = rows.remove_columns("audio_sha256")
    return rows.add_column("audio_sha256", hashes)
