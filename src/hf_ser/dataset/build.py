"""Write the data set as a folder of Parquet files that `datasets.load_dataset` reads without this library."""

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tqdm import tqdm

from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import OTHER_RECORDINGS
from hf_ser.dataset.collection import Collection, collect
from hf_ser.dataset.data_card import render_data_card, render_report, report, write_records
from hf_ser.dataset.hygiene import Finding
from hf_ser.dataset.layout import plan, write_files
from hf_ser.dataset.own_build import build_own
from hf_ser.dataset.proof import prove
from hf_ser.dataset.staging import staging
from hf_ser.dataset.votes import LABEL_SCHEMES, LabelScheme, Votes, find_votes, read_votes
from hf_ser.errors import InputError
from hf_ser.text import printable

# Besides recordings, a build reads tables of votes.
_WANTED = AUDIO_EXTENSIONS | OTHER_RECORDINGS | {".csv"}


class BuildResult(NamedTuple):
    """The folder of a finished build (`data/*.parquet`, `README.md`, reports), and what `build_report.json` has."""

    folder: Path
    report: Mapping[str, Any]


def build_dataset(
    *,
    out: str | os.PathLike[str],
    dataset: Any = None,
    ravdess: str | os.PathLike[str] | None = None,
    crema_d: str | os.PathLike[str] | None = None,
    tess: str | os.PathLike[str] | None = None,
    savee: str | os.PathLike[str] | None = None,
    label_scheme: LabelScheme = "intended",
    votes: str | os.PathLike[str] | None = None,
    strict: bool = False,
    overwrite: bool = False,
    num_proc: int | None = None,
    **data: Any,
) -> BuildResult:
    """Build the eight-emotions data set, or one of recordings of your own, and return its folder and report.

    Every file is checked, and those of the four corpora are compared with the list of published files. The bytes of
    the files are stored unchanged. The folder appears when it is complete; the same files give the same bytes.

    Args:
        out: Folder to write; it must be absent or empty.
        dataset: What `open_dataset` takes, in place of the four corpora below: recordings of your own.
        ravdess: Folder (in any layout) or zip file of RAVDESS; None leaves the corpus out.
        crema_d: The same for CREMA-D.
        tess: The same for TESS.
        savee: The same for SAVEE.
        label_scheme: Source of CREMA-D's labels: `intended` (the file name), `voice_vote` or `multimodal_vote`
            (the emotion that most people perceived; clips with tied votes are rejected and listed).
        votes: CREMA-D's `tabulatedVotes.csv` or its folder; None looks for it near CREMA-D's audio.
        strict: Treat any rejected or flagged file as an error.
        overwrite: Replace an earlier build in `out`.
        num_proc: Number of files that are read at a time, by threads; None takes the number of processors.
        **data: With `dataset`: passed to `open_dataset` (`labels`, `columns`, `speaker_pattern`, `licence`, …).

    Raises:
        InputError: No corpus is given, a path contains no clip of its corpus, needed votes are missing, `out` is in
            use, or `strict` is set and a file was rejected or flagged. `out` is then unchanged.

    Example:
        >>> import tempfile
        >>> build_dataset(out=tempfile.mkdtemp())
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: no data is given; give dataset, or at least one of ravdess, crema_d, tess, savee
    """
    given = {"ravdess": ravdess, "crema_d": crema_d, "tess": tess, "savee": savee}
    sources = {name: Path(path) for name, path in given.items() if path is not None}
    if dataset is not None or data:
        if dataset is None or sources or votes is not None or label_scheme != "intended":
            other = [*(sources if dataset is not None else data), "votes"][0]
            raise InputError(
                f"dataset and {other} do not go together; give recordings of your own, or the four corpora"
            )
    elif not sources:
        raise InputError(f"no data is given; give dataset, or at least one of {', '.join(given)}")
    if label_scheme not in LABEL_SCHEMES:
        raise InputError(f"label_scheme '{label_scheme}' is unknown; choose one of {', '.join(LABEL_SCHEMES)}")
    if num_proc is not None and num_proc < 1:
        raise InputError(f"num_proc is {num_proc}; give 1 or more")
    target = Path(os.path.abspath(out))  # noqa: PTH100 (resolve() would replace a link by its target)
    with staging(target, overwrite=overwrite) as staged:
        if dataset is not None:
            facts = build_own(dataset, staged / "folder", num_proc=num_proc, strict=strict, **data)
            return BuildResult(target, facts)
        folders, unreadable = _open_sources(sources, staged / "unpacked")
        known_votes = _votes(folders, votes, label_scheme)
        collection = collect(
            folders, label_scheme=label_scheme, votes=known_votes, num_proc=num_proc, already_rejected=unreadable
        )
        findings = [*collection.rejected, *collection.flagged]
        if findings and (strict or collection.clips.empty):
            first = findings[0]
            fault = f"{first.corpus}/{printable(first.file)}: {first.reason} ({printable(first.detail)})"
            why = "which strict treats as errors: fix the files, or build without strict"
            why = "so that no clip is left: fix the files" if collection.clips.empty else why
            raise InputError(f"{fault}; {len(findings)} findings in all, {why}")
        return BuildResult(target, _write(collection, staged / "folder", num_proc))


def _open_sources(sources: Mapping[str, Path], unpacked: Path) -> tuple[dict[str, Path], list[Finding]]:
    """Return a folder for each corpus, and what was left out of zip files; each zip file is unpacked once."""
    archives = {path.resolve(): name for name, path in sources.items() if path.is_file()}
    rejected = [found for path, name in archives.items() for found in _unpack(path, unpacked / name, name)]
    inside = {path: unpacked / name for path, name in archives.items()}
    return {name: inside.get(path.resolve(), path) for name, path in sources.items()}, rejected


def _unpack(archive: Path, target: Path, corpus: str) -> list[Finding]:
    """Unpack the recordings and tables of a zip file into a new folder, and return the members that were left out.

    Those are links, members with an absolute path or `..` in their path, and members that cannot be read.
    """
    rejected = []
    target.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in tqdm(opened.infolist(), desc=f"Unpacking {archive.name}", unit="file", disable=None):
                path = PurePosixPath(member.filename.replace("\\", "/"))
                hidden = any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in path.parts)
                if member.is_dir() or hidden or path.suffix.lower() not in _WANTED:
                    continue
                link = stat.S_ISLNK(member.external_attr >> 16)
                if link or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
                    detail = "it is a link" if link else "its path leads out of the folder"
                    rejected.append(Finding(corpus, member.filename, None, "unsafe_path", detail))
                    continue
                file = target / path
                file.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with opened.open(member) as source, file.open("wb") as sink:
                        # A video is rejected by its name; its contents would only fill the disk.
                        if path.suffix.lower() not in OTHER_RECORDINGS:
                            shutil.copyfileobj(source, sink)
                except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                    file.unlink(missing_ok=True)
                    detail = f"cannot be unpacked ({error})"
                    rejected.append(Finding(corpus, member.filename, None, "unreadable", detail))
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive}: not a zip file, or truncated; download it again, or give a folder") from error
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"{archive}: cannot be unpacked ({error}); unpack it yourself and give the folder") from error
    return rejected


def _votes(
    folders: Mapping[str, Path], votes: str | os.PathLike[str] | None, label_scheme: LabelScheme
) -> dict[str, Votes]:
    top = folders.get("crema_d")
    if top is None:
        if votes is not None or label_scheme != "intended":
            raise InputError(f"votes and label scheme '{label_scheme}' need CREMA-D; give crema_d, or leave them out")
        return {}
    votes = votes or find_votes(top)
    if votes is None and label_scheme != "intended":
        raise InputError(
            f"label scheme '{label_scheme}' needs CREMA-D's votes, and none are near {top}; give votes (--votes), the "
            "folder that contains tabulatedVotes.csv"
        )
    return {} if votes is None else read_votes(votes)


def _write(collection: Collection, folder: Path, num_proc: int | None) -> dict[str, Any]:
    """Write the data set into a new folder and return its report."""
    layout = plan(collection.clips)
    sizes = write_files(collection.clips, layout, folder, num_proc)
    proofs = {protocol: prove(collection.clips, parts) for protocol, parts in layout.rows.items()}
    facts = report(collection, layout.rows, layout.left_out)
    card = render_data_card(collection, layout, sizes, proofs, facts)
    write_records(folder, facts, proofs, render_report(facts), card)
    return facts
