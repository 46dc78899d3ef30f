"""Write a folder out of sight until it is complete, then put it in its place."""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from hf_ser.errors import InputError

logger = logging.getLogger(__name__)

_EARLIER, _FINISHED = "earlier", "folder"


@contextlib.contextmanager
def staging(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty hidden folder next to the target; what is then in its `folder` takes the target's place.

    Only one process builds a target at a time. A hidden folder that exists already was therefore left by a process
    that was killed: it is removed, and an earlier build that the process had moved into it is moved back.
    """
    from filelock import FileLock, Timeout

    staged = target.with_name(f".{target.name}.building")
    lock_file = target.with_name(f".{target.name}.building.lock")
    lock = FileLock(str(lock_file))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock.acquire(timeout=0):
            try:
                if staged.exists():
                    if (staged / _EARLIER).is_dir() and not target.exists():
                        (staged / _EARLIER).rename(target)
                    shutil.rmtree(staged)
                    logger.warning("removed %s, left by an interrupted build", staged)
                _refuse(target, overwrite)
                staged.mkdir()
                yield staged
                if (staged / _FINISHED).is_dir():
                    move(staged / _FINISHED, target)
            finally:
                # On a full disk, a second error here would hide the first one.
                shutil.rmtree(staged, ignore_errors=True)
                with contextlib.suppress(OSError):
                    lock_file.unlink(missing_ok=True)
    except Timeout:
        raise InputError(f"{target} is being built by another process; wait for it, or give another folder") from None
    except OSError as error:
        reason = f"{error.filename or target}: {error.strerror or error}"
        raise InputError(f"{reason}; {target} was not written, fix this and build again") from error


def _refuse(target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; give an absent or empty folder as out")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not (target / "build_report.json").is_file():
        raise InputError(f"{target} contains other files; give an absent or empty folder as out")
    if not overwrite:
        raise InputError(f"{target} contains an earlier build; give another folder, or overwrite=True (--overwrite)")


def move(folder: Path, target: Path) -> None:
    """Move a complete folder to the target; an earlier build is replaced."""
    earlier = folder.with_name(_EARLIER)
    if target.is_dir():
        target.rename(earlier)
    try:
        folder.rename(target)
    except OSError:
        if earlier.is_dir():
            earlier.rename(target)
        raise
