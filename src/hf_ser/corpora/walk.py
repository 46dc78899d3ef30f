"""Finding the clips below a folder, each once, in an order that the file system has no part in."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hf_ser.corpora.clip import AUDIO_EXTENSIONS, Clip
from hf_ser.corpora.registry import CORPORA
from hf_ser.errors import InputError

__all__ = ["Discovery", "discover", "visible_files"]

# Recordings in formats that are not read here: worth a word when they bear a clip's name.
OTHER_RECORDINGS = frozenset(
    {".aac", ".amr", ".au", ".avi", ".flv", ".m4a", ".mkv", ".mov", ".mp4", ".snd", ".webm", ".wma"}
)


class Found(NamedTuple):
    """A clip and the file that holds it."""

    path: Path
    clip: Clip


class Ignored(NamedTuple):
    """A recording that is no clip of the corpora, and why."""

    path: Path
    reason: str


class Duplicate(NamedTuple):
    """A further file with a clip that was found already at `kept`."""

    path: Path
    kept: Path
    clip_id: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What lies below a folder; all paths are absolute.

    Attributes:
        root: The folder.
        found: `(path, clip)` for every clip, once, sorted by `clip_id`.
        ignored: `(path, reason)` for every recording that is no clip of the corpora, sorted by path.
        duplicates: `(path, kept, clip_id)` for every further file with the same clip, sorted by `clip_id`.
    """

    root: Path
    found: tuple[Found, ...]
    ignored: tuple[Ignored, ...]
    duplicates: tuple[Duplicate, ...]


def discover(root: str | os.PathLike[str]) -> Discovery:
    """Find every clip of the four corpora below a folder.

    Files are told by their names and not opened. Where several bear the same clip, as in a nested second copy
    of a corpus, the one fewest folders deep is kept, and among equals the first in the order of their paths.
    Links to folders are followed, each real folder once. Hidden files and folders (a leading dot) and
    `__MACOSX` are passed over, and so are files that are no recordings.

    Args:
        root: Folder that holds one or more corpora, in any layout.

    Raises:
        InputError: If `root` is missing or no folder, or a folder below it cannot be read.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("DC_su01.wav", "OA_bite_neutral.wav", "03-02-01-01-01-01-01.wav", "README.txt"):
        ...     (folder / name).touch()
        >>> discovery = discover(folder)
        >>> [clip.clip_id for path, clip in discovery.found]
        ['savee/DC_su01', 'tess/OAF_bite_neutral']
        >>> [reason for path, reason in discovery.ignored]
        ['RAVDESS song (vocal channel 02), not speech']
    """
    # Absolute before anything is read: SAVEE's folder counts even where the caller stands in it.
    top = Path(os.path.abspath(root))  # noqa: PTH100 (Path.absolute keeps '..', which names no speaker)
    if not top.exists():
        raise InputError(f"folder {top} does not exist; give the folder that holds the corpora")
    if not top.is_dir():
        raise InputError(f"{top} is a file, not a folder; unpack it and give the folder that holds the corpora")
    found: dict[str, Found] = {}
    ignored: list[Ignored] = []
    duplicates: list[Duplicate] = []
    for path in visible_files(top):
        outcome = _classify(path)
        if isinstance(outcome, str):
            ignored.append(Ignored(path, outcome))
        elif outcome is not None:
            kept = found.setdefault(outcome.clip_id, Found(path, outcome))
            if kept.path is not path:
                duplicates.append(Duplicate(path, kept.path, outcome.clip_id))
    return Discovery(
        root=top,
        found=tuple(found[clip_id] for clip_id in sorted(found)),
        ignored=tuple(sorted(ignored, key=lambda entry: entry.path.as_posix())),
        duplicates=tuple(sorted(duplicates, key=lambda entry: (entry.clip_id, entry.path.as_posix()))),
    )


def _classify(path: Path) -> Clip | str | None:
    """Return the clip of a file, the reason why a recording is none, or None for what is no recording."""
    extension = path.suffix.lower()
    if extension not in AUDIO_EXTENSIONS and extension not in OTHER_RECORDINGS:
        return None
    stem, folder = path.stem, path.parent.name
    outcomes = (corpus.read_name(stem, folder) for corpus in CORPORA.values())
    outcome = next((outcome for outcome in outcomes if outcome is not None), None)
    if extension in AUDIO_EXTENSIONS:
        return "the name is that of no clip of the four corpora" if outcome is None else outcome
    if isinstance(outcome, Clip):
        return f"{extension} is not read; the clip is taken from audio such as .wav or .flac"
    return outcome


def visible_files(top: Path) -> Iterator[Path]:
    """Yield every file, the least deep first and those of one depth in the order of their paths."""
    level, seen = [top], {top.resolve()}
    while level:
        files: list[Path] = []
        folders: list[Path] = []
        for folder in level:
            for path, is_folder in _entries(folder):
                (folders if is_folder else files).append(path)
        yield from sorted(files, key=Path.as_posix)
        level = []
        for folder in sorted(folders, key=Path.as_posix):
            real = folder.resolve()
            if real not in seen:
                seen.add(real)
                level.append(folder)


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    """Return each visible entry of a folder and whether it is a folder itself, links followed."""
    try:
        with os.scandir(folder) as entries:
            return [
                (Path(entry.path), entry.is_dir())
                for entry in entries
                if not entry.name.startswith(".") and entry.name != "__MACOSX"
            ]
    except OSError as error:
        raise InputError(
            f"folder {folder} cannot be read ({error.strerror}); change its permissions or move it out"
        ) from error
