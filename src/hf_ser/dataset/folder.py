"""A folder of corpora as a `datasets.Dataset` that points at its files."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import soundfile

from hf_ser.corpora import CORPORA, Clip, Discovery, discover
from hf_ser.corpora.clip import LFS_POINTER
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["read_folder"]

logger = logging.getLogger(__name__)


def read_folder(root: str | os.PathLike[str], corpora: str | Iterable[str] | None = None) -> "Dataset":
    """Return the clips below a folder as a data set, sorted by `clip_id`.

    Every file's header is read, so that a broken download is known before a long run starts. No sample is
    decoded, and neither torchcodec nor FFmpeg is needed. How many nested copies and foreign recordings were
    left out is logged as a warning.

    Args:
        root: Folder that holds one or more of the four corpora, in any layout.
        corpora: Name or names of the corpora to read (`ravdess`, `crema_d`, `tess`, `savee`); None reads all.

    Returns:
        One row for each clip, with the columns `audio` (`Audio(decode=False)`; the absolute path, no bytes),
        `emotion` (`ClassLabel` of `EMOTIONS`), `corpus`, `speaker`, `sex`, `age` (years or None), `sentence`,
        `intensity`, `clip_id`, `duration` (seconds) and `sampling_rate` (hz of the file).

    Raises:
        InputError: If the folder is missing, a corpus is unknown, the folder holds no clip (or none of a
            corpus asked for), or a file is empty, a Git LFS pointer, without samples or not readable.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> soundfile.write(f"{folder}/OAF_back_ps.wav", [0.0] * 16000, 16000)
        >>> row = read_folder(folder)[0]
        >>> row["clip_id"], EMOTIONS[row["emotion"]], row["age"], row["duration"]
        ('tess/OAF_back_ps', 'surprise', 64, 1.0)
    """
    wanted = _wanted(corpora)
    discovery = discover(root)
    found = [(path, clip) for path, clip in discovery.found if clip.corpus in wanted]
    present = {clip.corpus for _, clip in found}
    # A corpus asked for by name must be there; a folder read as a whole may hold any of them.
    missing = [name for name in wanted if name not in present]
    if missing and (corpora is not None or not found):
        raise InputError(_nothing_found(discovery, missing))
    headers = _read_headers(found)
    _log_left_out(discovery, wanted)
    return _to_dataset(found, headers)


def _wanted(corpora: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the names asked for, each once, in the order of `CORPORA`."""
    if corpora is None:
        return tuple(CORPORA)
    names = {corpora} if isinstance(corpora, str) else set(corpora)
    unknown = sorted(names - set(CORPORA))
    if unknown or not names:
        given = ", ".join(unknown) or "none"
        raise InputError(f"corpora names unknown corpora ({given}); choose from {', '.join(CORPORA)}")
    return tuple(name for name in CORPORA if name in names)


def _nothing_found(discovery: Discovery, missing: list[str]) -> str:
    """Return the message for a folder without clips of the corpora named."""
    expected = ", ".join(f"{' or '.join(CORPORA[name].examples)} ({name})" for name in missing)
    passed_over = ""
    if discovery.ignored:
        path, reason = discovery.ignored[0]
        passed_over = f" ({len(discovery.ignored)} recordings passed over, such as {path.name}: {reason})"
    return (
        f"folder {discovery.root} holds no clip of {', '.join(missing)}{passed_over}; "
        f"files must keep their published names, such as {expected}"
    )


class _Header(NamedTuple):
    """Length in seconds and sampling rate in hz, from a file's header."""

    duration: float
    sampling_rate: int


class _Fault(NamedTuple):
    """What is wrong with a file and the way out."""

    what: str
    way_out: str


def _read_headers(found: list[tuple[Path, Clip]]) -> list[_Header]:
    """Return the header of every file, or raise for the first that has none, once all were read."""
    from datasets.utils import tqdm

    headers: list[_Header] = []
    faults: list[tuple[Path, _Fault]] = []
    # One thread on purpose: 10,774 headers take 2 s, and pools of 2 to 8 threads took longer.
    for path, _ in tqdm(found, desc="Checking audio files", unit="file"):
        header = _read_header(path)
        if isinstance(header, _Fault):
            faults.append((path, header))
        else:
            headers.append(header)
    if faults:
        path, fault = faults[0]
        more = f" ({len(faults) - 1} more of {len(found)} files are unusable)" if len(faults) > 1 else ""
        raise InputError(f"{path} {fault.what}{more}; {fault.way_out}")
    return headers


def _read_header(path: Path) -> _Header | _Fault:
    """Return a file's header, or what is wrong with the file."""
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        return _diagnose(path, error.error_string)
    if info.frames == 0:
        return _Fault("holds no samples", "download it again or remove it")
    return _Header(info.frames / info.samplerate, info.samplerate)


def _diagnose(path: Path, reason: str) -> _Fault:
    """Return why soundfile could not read a file."""
    try:
        with path.open("rb") as file:
            head = file.read(len(LFS_POINTER))
    except OSError as error:
        return _Fault(f"cannot be opened ({error.strerror})", "mend its link or its permissions, or remove it")
    if not head:
        return _Fault("is empty (0 bytes)", "download it again or remove it")
    if head == LFS_POINTER:
        return _Fault(
            "is a Git LFS pointer, not audio",
            "run `git lfs pull` in a clone of its repository (GitHub's zip has pointers only)",
        )
    return _Fault(f"is not audio that soundfile reads ({reason.rstrip('.')})", "download it again or remove it")


def _log_left_out(discovery: Discovery, wanted: tuple[str, ...]) -> None:
    """Say how many files were left out, with one example of each kind."""
    duplicates = [entry for entry in discovery.duplicates if entry.clip_id.split("/")[0] in wanted]
    if duplicates:
        path, kept, _ = duplicates[0]
        logger.warning(
            "%d nested copies of clips were left out, such as %s (kept: %s)",
            len(duplicates),
            path,
            kept,
        )
    if discovery.ignored:
        path, reason = discovery.ignored[0]
        logger.warning(
            "%d recordings that are no clips were left out, such as %s (%s)",
            len(discovery.ignored),
            path,
            reason,
        )


def _to_dataset(found: list[tuple[Path, Clip]], headers: list[_Header]) -> "Dataset":
    """Return the columns as a data set."""
    from datasets import Audio, ClassLabel, Dataset, Features, Value

    clips = [clip for _, clip in found]
    columns = {
        "audio": [str(path) for path, _ in found],
        "emotion": [clip.emotion for clip in clips],
        "corpus": [clip.corpus for clip in clips],
        "speaker": [clip.speaker for clip in clips],
        "sex": [clip.sex for clip in clips],
        "age": [clip.age for clip in clips],
        "sentence": [clip.sentence for clip in clips],
        "intensity": [clip.intensity for clip in clips],
        "clip_id": [clip.clip_id for clip in clips],
        "duration": [header.duration for header in headers],
        "sampling_rate": [header.sampling_rate for header in headers],
    }
    features = Features(
        {name: Value("string") for name in columns}
        | {"emotion": ClassLabel(names=list(EMOTIONS)), "age": Value("int32")}
        | {"duration": Value("float64"), "sampling_rate": Value("int32")}
    )
    # Paths first, cast second: encoding paths as Audio directly imports torchcodec even with decode=False.
    return Dataset.from_dict(columns, features=features).cast_column("audio", Audio(decode=False))
