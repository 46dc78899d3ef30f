"""The folder that a data set is written in until it is whole, and the step by which it takes its place."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from hf_ser.errors import InputError

__all__ = ["move", "staging"]

logger = logging.getLogger(__name__)

_EARLIER = "earlier"


@contextlib.contextmanager
def staging(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a hidden folder beside the target, on its file system; it is gone afterwards.

    One process builds a target at a time. So a hidden folder that is there already was left by a process that was
    killed, and is cleared away; an earlier build that such a process had moved aside goes back to its place.

    Args:
        target: Where the data set is to go.
        overwrite: Whether an earlier build may lie there.

    Raises:
        InputError: The target is in use, or cannot be written; also in place of an `OSError` while it is written.
    """
    from filelock import FileLock, Timeout

    lock_file = target.parent / f".{target.name}.building.lock"
    lock = FileLock(str(lock_file))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{target} is being built by another process; wait for it, or give another folder") from (
                None
            )
        try:
            _clear_leftovers(target)
            _refuse(target, overwrite)
            with TemporaryDirectory(prefix=_prefix(target), dir=target.parent, ignore_cleanup_errors=True) as made:
                yield Path(made)
        finally:
            # Before the release: whoever holds the lock by then holds one on this very file. Windows removes it then.
            with contextlib.suppress(PermissionError):
                lock_file.unlink(missing_ok=True)
            lock.release()
    except OSError as error:
        where = error.filename or target
        raise InputError(
            f"{where}: {error.strerror or error}; {target} was not written, mend this and build again"
        ) from error


def _prefix(target: Path) -> str:
    return f".{target.name}.building-"


def _clear_leftovers(target: Path) -> None:
    """Remove what a killed process left; the caller holds the lock."""
    # The eight characters that `tempfile` adds: a target named `a.building-b` is another one.
    ours = re.compile(re.escape(_prefix(target)) + "[a-z0-9_]{8}")
    for folder in sorted(target.parent.iterdir()):
        if not ours.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        earlier = folder / _EARLIER
        if earlier.is_dir() and not os.path.lexists(target):
            earlier.rename(target)
        shutil.rmtree(folder, ignore_errors=True)
        logger.warning("removed %s, which a build that was broken off had left", folder)


def _refuse(target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; give an absent or empty folder as out")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not (target / "build_report.json").is_file():
        raise InputError(f"{target} holds other files; give an absent or empty folder as out")
    if not overwrite:
        raise InputError(f"{target} holds an earlier build; give another folder, or overwrite=True (--overwrite)")


def move(folder: Path, target: Path) -> None:
    """Put a finished folder in its place; an earlier build goes only when the new one is there.

    Args:
        folder: The finished folder, in the folder that `staging` yields.
        target: Where it goes.
    """
    if target.is_dir() and any(target.iterdir()):
        earlier = folder.with_name(_EARLIER)
        target.rename(earlier)
        try:
            folder.rename(target)
        except OSError:
            earlier.rename(target)
            raise
        shutil.rmtree(earlier)
        return
    if target.is_dir():
        target.rmdir()
    folder.rename(target)
