"""Finding the clips below a folder, in an order that does not depend on the file system."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hf_ser.corpora.clip import AUDIO_EXTENSIONS, LOSSY_EXTENSIONS, Clip
from hf_ser.corpora.registry import CORPORA
from hf_ser.errors import InputError

OTHER_RECORDINGS = frozenset(
    {".aac", ".amr", ".au", ".avi", ".flv", ".m4a", ".mkv", ".mov", ".mp4", ".snd", ".webm", ".wma"}
)
"""Extensions of recordings that are not read here; such a file is reported if it has a clip's name."""


class Found(NamedTuple):
    """A file and the clip that its name stands for."""

    path: Path
    clip: Clip


@dataclass(frozen=True, slots=True)
class Discovery:
    """The clips below a folder; all paths are absolute.

    Attributes:
        root: The folder.
        copies: The files of each clip by `clip_id`: lossless formats first, then the fewest folders deep, then by path.
        ignored: `(path, reason)` for every recording that is not a clip and every broken link, sorted by path.
    """

    root: Path
    copies: Mapping[str, tuple[Found, ...]] = field(repr=False)
    ignored: tuple[tuple[Path, str], ...] = field(repr=False)

    @property
    def found(self) -> tuple[Found, ...]:
        """The first file of every clip, sorted by `clip_id`."""
        return tuple(copies[0] for copies in self.copies.values())


def discover(root: str | os.PathLike[str]) -> Discovery:
    """Find every clip of the known corpora below a folder, by the names of the files alone.

    Links to folders are followed, each real folder once. Hidden files and folders (a leading dot) and `__MACOSX` are
    skipped, and so are files that are not recordings. A folder that is missing or cannot be read is an error.
    """
    # Absolute, because SAVEE's speaker is the name of a folder, which may be the working directory.
    top = Path(os.path.abspath(root))  # noqa: PTH100 (Path.absolute keeps '..', which names no speaker)
    if not top.exists():
        raise InputError(f"folder {top} does not exist; give the folder that holds the corpora")
    if not top.is_dir():
        raise InputError(f"{top} is a file, not a folder; unpack it and give the folder that holds the corpora")
    copies: dict[str, list[Found]] = {}
    ignored: list[tuple[Path, str]] = []
    for path in visible_files(top):
        outcome = _classify(path)
        if isinstance(outcome, str):
            ignored.append((path, outcome))
        elif outcome is not None:
            copies.setdefault(outcome.clip_id, []).append(Found(path, outcome))
    for files in copies.values():
        files.sort(key=lambda file: file.path.suffix.lower() in LOSSY_EXTENSIONS)
    return Discovery(
        root=top,
        copies={clip_id: tuple(copies[clip_id]) for clip_id in sorted(copies)},
        ignored=tuple(sorted(ignored, key=lambda entry: entry[0].as_posix())),
    )


def _classify(path: Path) -> Clip | str | None:
    """Return the clip of a file, the reason why an entry is not a clip, or None where it needs no mention."""
    extension = path.suffix.lower()
    if extension not in AUDIO_EXTENSIONS and extension not in OTHER_RECORDINGS:
        return "a link that leads nowhere" if path.is_symlink() and not path.exists() else None
    stem, folder = path.stem, path.parent.name
    outcomes = (corpus.read_name(stem, folder) for corpus in CORPORA.values())
    outcome = next((outcome for outcome in outcomes if outcome is not None), None)
    if extension in AUDIO_EXTENSIONS:
        return "the name is not that of a clip of a known corpus" if outcome is None else outcome
    if isinstance(outcome, Clip):
        return f"{extension} is not read; the clip is taken from audio such as .wav or .flac"
    return outcome


def visible_files(top: Path) -> Iterator[Path]:
    """Yield every visible file, fewest folders deep first, files of equal depth in the order of their paths."""
    level, seen = [top], {top.resolve()}
    while level:
        entries = sorted((path for folder in level for path in _entries(folder)), key=Path.as_posix)
        # A link to itself is no folder, and no error here: whoever opens it reports it by name.
        folders = [path for path in entries if os.path.isdir(path)]  # noqa: PTH112
        yield from sorted({*entries} - {*folders}, key=Path.as_posix)
        level = []
        for folder in folders:
            real = folder.resolve()
            if real not in seen:
                seen.add(real)
                level.append(folder)


def _entries(folder: Path) -> list[Path]:
    try:
        return [it for it in folder.iterdir() if not it.name.startswith(".") and it.name != "__MACOSX"]
    except OSError as error:
        raise InputError(
            f"folder {folder} cannot be read ({error.strerror}); change its permissions or move it out"
        ) from error
