"""The data set as a folder of Parquet files that `datasets.load_dataset` reads without this library."""

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet
from tqdm import tqdm

from hf_ser.corpora import CORPORA
from hf_ser.dataset.archives import unpack
from hf_ser.dataset.collection import Collection, Finding, collect
from hf_ser.dataset.data_card import ShardSize, render_data_card
from hf_ser.dataset.layout import Layout, Shard, plan
from hf_ser.dataset.report import render_report, report
from hf_ser.dataset.splits import prove
from hf_ser.dataset.staging import move, staging
from hf_ser.dataset.tables import schema, tables
from hf_ser.dataset.votes import LABEL_SCHEMES, LabelScheme, Votes, find_votes, read_votes
from hf_ser.errors import InputError

__all__ = ["BuildResult", "build_dataset"]

_WRITERS: Final = 4
"""Files written at a time, at most: each holds a table of up to 64 MiB in memory."""

_ROWS_OF_A_BATCH: Final = 8
_AUDIO_BYTES: Final = "audio.bytes"


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A finished build.

    Attributes:
        folder: Holds `data/*.parquet`, `README.md`, `build_report.json`, `build_report.md`, `split_proof.json`.
        report: What `build_report.json` holds.
    """

    folder: Path
    report: Mapping[str, Any]


def build_dataset(
    *,
    out: str | os.PathLike[str],
    ravdess: str | os.PathLike[str] | None = None,
    crema_d: str | os.PathLike[str] | None = None,
    tess: str | os.PathLike[str] | None = None,
    savee: str | os.PathLike[str] | None = None,
    label_scheme: LabelScheme = "intended",
    votes: str | os.PathLike[str] | None = None,
    strict: bool = False,
    overwrite: bool = False,
    num_proc: int | None = None,
) -> BuildResult:
    """Build the eight-emotions data set from the corpora at hand.

    Every file is compared with the list of the published ones, checked and, if it is none of them, decoded. The
    bytes of the files are stored as they are. The folder appears when it is complete; the same corpora give the
    same bytes.

    Args:
        out: Folder to write; it must be absent or empty.
        ravdess: Folder or zip file of RAVDESS, in any layout; None leaves the corpus out.
        crema_d: The same for CREMA-D.
        tess: The same for TESS.
        savee: The same for SAVEE.
        label_scheme: Where CREMA-D's labels come from: `intended` (the file name), `voice_vote` or
            `multimodal_vote` (what most people perceived; a clip whose votes are tied is rejected, and listed).
        votes: CREMA-D's `tabulatedVotes.csv` or the folder that holds it; None looks beside CREMA-D's audio.
        strict: Make any rejected or flagged file an error.
        overwrite: Replace an earlier build in `out`.
        num_proc: Files read at a time, by threads; None takes the number of processors.

    Returns:
        The folder and the report of what was found.

    Raises:
        InputError: No corpus is given, a path holds no clip of its corpus, the votes that the label scheme needs
            are missing, `out` is in use, or `strict` and something was found. Nothing is left in `out` then.

    Example:
        >>> import tempfile
        >>> build_dataset(out=tempfile.mkdtemp())
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: no corpus is given; give at least one of ravdess, crema_d, tess, savee
    """
    given = {"ravdess": ravdess, "crema_d": crema_d, "tess": tess, "savee": savee}
    sources = {name: Path(path) for name, path in given.items() if path is not None}
    if not sources:
        raise InputError(f"no corpus is given; give at least one of {', '.join(CORPORA)}")
    if label_scheme not in LABEL_SCHEMES:
        raise InputError(f"label_scheme '{label_scheme}' is unknown; choose one of {', '.join(LABEL_SCHEMES)}")
    if num_proc is not None and num_proc < 1:
        raise InputError(f"num_proc is {num_proc}; give 1 or more")
    target = Path(os.path.abspath(out))  # noqa: PTH100 (a link to a folder is kept as the user names it)
    with staging(target, overwrite=overwrite) as staged:
        unpacked = staged / "unpacked"
        folders, unread = _open_sources(sources, unpacked)
        known_votes = _votes(folders, votes, label_scheme)
        collection = collect(
            folders, label_scheme=label_scheme, votes=known_votes, num_proc=num_proc, already_rejected=unread
        )
        if strict:
            _refuse_findings(collection)
        folder = staged / "folder"
        facts = _write(collection, folder, num_proc)
        move(folder, target)
    return BuildResult(target, facts)


def _open_sources(sources: Mapping[str, Path], unpacked: Path) -> tuple[dict[str, Path], list[Finding]]:
    """Return a folder for each corpus, zip files unpacked once each."""
    folders: dict[str, Path] = {}
    rejected: list[Finding] = []
    by_archive: dict[Path, Path] = {}
    for name, path in sources.items():
        if not path.is_file():
            folders[name] = path
            continue
        archive = path.resolve()
        if archive not in by_archive:
            by_archive[archive] = unpacked / name
            by_archive[archive].mkdir(parents=True)
            rejected += unpack(path, by_archive[archive], name)
        folders[name] = by_archive[archive]
    return folders, rejected


def _votes(
    folders: Mapping[str, Path], votes: str | os.PathLike[str] | None, label_scheme: LabelScheme
) -> dict[str, Votes]:
    if "crema_d" not in folders:
        if votes is not None or label_scheme != "intended":
            raise InputError(
                f"votes and label scheme '{label_scheme}' are CREMA-D's; give crema_d too, or leave them out"
            )
        return {}
    if votes is not None:
        return read_votes(votes)
    found = next(
        (table for folder in (folders["crema_d"], *_below(folders["crema_d"])) if (table := find_votes(folder))), None
    )
    if found is not None:
        return read_votes(found)
    if label_scheme != "intended":
        raise InputError(
            f"label scheme '{label_scheme}' needs CREMA-D's votes, and none lie beside {folders['crema_d']}; give "
            "votes (--votes), the folder that holds tabulatedVotes.csv"
        )
    return {}


def _below(folder: Path) -> list[Path]:
    """Return the folders in a folder: a repository's zip file has one at its top."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def _refuse_findings(collection: Collection) -> None:
    findings = [*collection.rejected, *collection.flagged]
    if findings:
        first = findings[0]
        raise InputError(
            f"{first.corpus}/{first.file}: {first.reason} ({first.detail}); {len(findings)} findings in all, and "
            "strict makes each an error: mend the files, or build without strict and read build_report.md"
        )


def _write(collection: Collection, folder: Path, num_proc: int | None) -> dict[str, Any]:
    """Write the data set into a new folder and return its report."""
    clips = collection.clips
    columns = {
        name: [getattr(entry.clip, name) for entry in clips]
        for name in ("corpus", "speaker", "clip_id", "sentence", "sex")
    }
    columns["emotion"] = [entry.emotion for entry in clips]
    columns["pcm_sha1"] = [entry.inspection.pcm_sha1 or f"file {entry.inspection.sha256}" for entry in clips]
    layout = plan(columns)
    (folder / "data").mkdir(parents=True)
    with ThreadPoolExecutor(1) as beside:
        # While files are written, the interpreter is free for this.
        proving = beside.submit(lambda: {protocol: prove(columns, parts) for protocol, parts in layout.rows.items()})
        sizes = _write_shards(collection, layout, folder, num_proc)
        proofs = proving.result()
    facts = report(collection, list(layout.rows), layout.left_out)
    _write_json(folder / "build_report.json", facts)
    (folder / "build_report.md").write_text(render_report(facts), encoding="utf-8")
    _write_json(folder / "split_proof.json", {protocol: proof.as_dict() for protocol, proof in proofs.items()})
    card = render_data_card(collection, layout, sizes, proofs, facts)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return facts


def _write_shards(collection: Collection, layout: Layout, folder: Path, num_proc: int | None) -> dict[str, ShardSize]:
    progress = tqdm(total=len(collection.clips), desc="Writing Parquet", unit="clip", disable=None)

    def write(shard: Shard) -> ShardSize:
        path = folder / shard.path
        held = 0
        with _writer(path) as writer:
            for table in tables([collection.clips[row] for row in shard.rows], reuse_memory=True):
                writer.write_table(table)
                held += table.nbytes
                progress.update(len(table))
        return ShardSize(len(shard.rows), held, path.stat().st_size)

    pool = ThreadPoolExecutor(min(num_proc or os.cpu_count() or 1, _WRITERS))
    with progress, pool:
        # The largest first, so that no thread is left alone with it at the end.
        order = sorted(layout.shards, key=lambda shard: -len(shard.rows))
        pending = {pool.submit(write, shard): shard.path for shard in order}
        try:
            return {pending[done]: done.result() for done in as_completed(pending)}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _writer(path: Path) -> pyarrow.parquet.ParquetWriter:
    """Open a file; audio is stored as it is, since dictionaries and statistics of it cost time and space."""
    layout = schema()
    others = [column for column in _leaves(layout) if column != _AUDIO_BYTES]
    return pyarrow.parquet.ParquetWriter(
        path,
        layout,
        compression={**dict.fromkeys(others, "snappy"), _AUDIO_BYTES: "none"},
        use_dictionary=others,
        write_statistics=others,
        # A page ends only after a batch: by the default of 1,024 rows it would be the whole table, no longer in the
        # processor's cache when it is written.
        write_batch_size=_ROWS_OF_A_BATCH,
    )


def _leaves(layout: pyarrow.Schema) -> list[str]:
    """Return the dotted paths of the stored columns."""
    paths = []
    for field in layout:
        if pyarrow.types.is_struct(field.type):
            paths += [f"{field.name}.{child.name}" for child in field.type]
        else:
            paths.append(f"{field.name}.list.element" if pyarrow.types.is_list(field.type) else field.name)
    return paths


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
