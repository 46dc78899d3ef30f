"""The zip files that corpora come in, unpacked without trust in their contents."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePath, PurePosixPath

from tqdm import tqdm

from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import OTHER_RECORDINGS
from hf_ser.dataset.collection import Finding
from hf_ser.errors import InputError

__all__ = ["unpack"]

# What a build reads of an archive beside its recordings.
_TABLES = frozenset({".csv"})


def unpack(archive: Path, target: Path, corpus: str) -> list[Finding]:
    """Unpack the recordings and tables of a zip file into a folder.

    No member is written outside of the folder: absolute paths, `..` and links are refused, whatever the member
    is called elsewhere. Members that cannot be read are left out.

    Args:
        archive: The zip file.
        target: An existing, empty folder.
        corpus: The corpus that it was given for.

    Returns:
        What was left out of the recordings.

    Raises:
        InputError: The file is no zip file, is encrypted, or does not fit on the disk.
    """
    rejected = []
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if _wanted(member)]
            needed = sum(member.file_size for member in members if not _left_empty(_path(member)))
            free = shutil.disk_usage(target).free
            if needed > free:
                raise InputError(f"{archive}: unpacked it takes {needed:,} bytes, and {target} has {free:,} left")
            for member in tqdm(members, desc=f"Unpacking {archive.name}", unit="file", disable=None):
                reason = _unsafe(member)
                if reason:
                    rejected.append(Finding(corpus, member.filename, None, "unsafe_path", reason))
                    continue
                try:
                    _write(opened, member, target)
                except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                    rejected.append(
                        Finding(corpus, member.filename, None, "unreadable", f"cannot be unpacked ({error})")
                    )
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive}: not a zip file, or cut off; download it again, or give a folder") from error
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"{archive}: cannot be unpacked ({error}); unpack it yourself and give the folder") from error
    return rejected


def _wanted(member: zipfile.ZipInfo) -> bool:
    path = _path(member)
    hidden = any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in path.parts)
    return not member.is_dir() and not hidden and path.suffix.lower() in AUDIO_EXTENSIONS | OTHER_RECORDINGS | _TABLES


def _path(member: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(member.filename.replace("\\", "/"))


def _unsafe(member: zipfile.ZipInfo) -> str | None:
    """Return why a member may not be written, or None."""
    path = _path(member)
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        return "its path leads out of the folder"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it is a link"
    return None


def _left_empty(path: PurePath) -> bool:
    """Return whether a member is told by its name, as videos are: its contents would only fill the disk."""
    return path.suffix.lower() in OTHER_RECORDINGS


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    file = target.joinpath(*_path(member).parts)
    file.parent.mkdir(parents=True, exist_ok=True)
    if _left_empty(file):
        file.touch()
        return
    try:
        with opened.open(member) as source, file.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
