"""Unpack the zip files in which the corpora are published, without trusting their contents."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import OTHER_RECORDINGS
from hf_ser.dataset.collection import Finding
from hf_ser.errors import InputError

__all__ = ["unpack"]

# Besides recordings, a build reads tables of votes.
_WANTED = AUDIO_EXTENSIONS | OTHER_RECORDINGS | {".csv"}


def unpack(archive: Path, target: Path, corpus: str) -> list[Finding]:
    """Unpack the recordings and tables of a zip file into a new folder, and return the members that were left out.

    Links, and members with an absolute path or `..` in their path, are left out, as are members that cannot be read.

    Raises:
        InputError: The file is not a zip file, or is encrypted.
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
