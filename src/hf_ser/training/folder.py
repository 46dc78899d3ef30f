"""The output folder: claimed before training, filled at once at the end."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hf_ser import processes
from hf_ser.errors import InputError
from hf_ser.hub.facts import without_local_paths

__all__ = ["SETTINGS", "TRAINER_STATE", "OutputFolder", "newest_checkpoint", "write_json"]

logger = logging.getLogger(__name__)

SETTINGS: Final = "settings.json"
"""What makes the run what it is; beside its checkpoints."""

_UNSAID: Final = {"processes": 1, "streaming": False}
"""What a setting is that was not written down, being the rule."""

TRAINER_STATE: Final = "trainer_state.json"
"""What the Trainer writes last into a checkpoint."""


class OutputFolder:
    """One run's folder.

    Args:
        path: The folder; it may be absent or empty.
        resume: Go on with the unfinished run that it holds.
        overwrite: Remove the run that it holds first.
        fetch: Brings the unfinished run of elsewhere into the folder of checkpoints that it is given, whole or not
            at all; used where `resume` finds the folder absent or empty.

    Raises:
        InputError: It is in use, and neither `resume` nor `overwrite` says what to do with it.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        resume: bool = False,
        overwrite: bool = False,
        fetch: Callable[[Path], None] | None = None,
    ) -> None:
        self.path = Path(path)
        self.resume = resume
        self._fetch: Callable[[Path], None] | None = None
        self._overwrite = overwrite
        self._created: list[Path] = []
        # Of the processes of one distributed run, the first alone looks at the folder and writes to it.
        self.writes = processes.is_first()
        if not self.writes:
            return
        if resume and overwrite:
            raise InputError("resume and overwrite exclude each other; give one of them")
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"output folder '{self.path}' is a file; name a folder")
        finished = (self.path / "run.json").is_file()
        unfinished = (self.checkpoints / SETTINGS).is_file()
        if resume:
            if finished:
                raise InputError(f"output folder '{self.path}' holds a finished run; there is nothing to resume")
            if not unfinished:
                if fetch is None or self._in_use():
                    raise InputError(
                        f"output folder '{self.path}' holds no run to resume; start it without resume (--resume)"
                    )
                self._fetch = fetch
        elif overwrite:
            if self._in_use() and not finished and not unfinished:
                raise InputError(
                    f"output folder '{self.path}' holds files that are no run of this library; "
                    "they are not overwritten: choose another folder"
                )
        elif finished:
            raise InputError(
                f"output folder '{self.path}' holds a finished run; choose another, or pass overwrite (--overwrite)"
            )
        elif unfinished:
            raise InputError(
                f"output folder '{self.path}' holds an unfinished run; pass resume (--resume) to go on with it, "
                "or overwrite (--overwrite) to start again"
            )
        elif self._in_use():
            raise InputError(f"output folder '{self.path}' is in use: it is not empty; choose another folder")

    @property
    def checkpoints(self) -> Path:
        """Where the Trainer saves while the run goes on."""
        return self.path / "checkpoints"

    def _in_use(self) -> bool:
        return self.path.is_dir() and any(entry.name != ".lock" for entry in self.path.iterdir())

    @contextmanager
    def claimed(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder for this run alone; write down (or compare) what makes the run what it is.

        Of several processes the first holds it; machines that do not see it keep nothing of the run.

        Raises:
            InputError: Another run holds it, the settings differ from those of the run to resume, that run cannot be
                fetched, or it is to be resumed on machines that do not see it.
        """
        with self._locked(settings) if self.writes else contextlib.nullcontext():
            is_here = self._is_seen_from_here()
            try:
                yield
            finally:
                if not is_here:
                    self._clear_elsewhere()

    def _is_seen_from_here(self) -> bool:
        """Return whether this process sees the folder of the first one; all processes ask together."""
        if processes.count() == 1:
            return True
        mark = self.checkpoints / f".seen-{uuid.uuid4().hex}"
        if self.writes:
            mark.touch()
        try:
            names = processes.gather(mark.name)
            sees: bool = (self.checkpoints / names[0]).is_file()
            seen = processes.gather(sees)
        finally:
            mark.unlink(missing_ok=True)
        blind = [str(process) for process, found in enumerate(seen) if not found]
        if blind and self.resume:
            raise InputError(
                f"output folder '{self.path}' is not seen by process {blind[0]} of {len(seen)}; a run on several "
                "machines is resumed from a disk that all of them share"
            )
        if not sees and self._in_use():
            raise InputError(
                f"output folder '{self.path}' is in use on the machine of process {processes.rank()}, which does not "
                "share the first one's disk; empty it there, or choose another folder"
            )
        if blind:
            logger.info("%d processes do not share this machine's disk: results are written here alone", len(blind))
        return sees

    def _clear_elsewhere(self) -> None:
        # Processes of one machine may do this at the same time.
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    @contextmanager
    def _locked(self, settings: Mapping[str, Any]) -> Iterator[None]:
        from filelock import FileLock, Timeout

        for folder in reversed([self.path, *self.path.parents]):
            if not folder.exists():
                try:
                    folder.mkdir()
                except OSError as error:
                    raise InputError(f"output folder '{self.path}' cannot be made: {error.strerror}") from error
                self._created.append(folder)
        lock = FileLock(str(self.path / ".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"output folder '{self.path}' is in use by another run; wait for it or choose another"
            ) from None
        except OSError as error:
            raise InputError(f"output folder '{self.path}' cannot be written: {error.strerror}") from error
        try:
            self._agree(json.loads(json.dumps(settings, default=str)))
            yield
        except BaseException:
            self._leave_nothing_half_written()
            raise
        finally:
            lock.release()
            (self.path / ".lock").unlink(missing_ok=True)
            for folder in reversed(self._created):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def _agree(self, settings: dict[str, Any]) -> None:
        file = self.checkpoints / SETTINGS
        if self._fetch is not None:
            self._fetch(self.checkpoints)
            try:
                # Where the model lay is not told on the Hub.
                self._compare(without_local_paths(settings))
            except InputError:
                shutil.rmtree(self.checkpoints)
                raise
            write_json(file, settings)
            return
        if self.resume:
            self._compare(settings)
            return
        if self._overwrite:
            for entry in self.path.iterdir():
                if entry.name != ".lock":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(file, settings)

    def _compare(self, settings: dict[str, Any]) -> None:
        before = json.loads((self.checkpoints / SETTINGS).read_text())
        for key in sorted({*before, *settings}):
            was, now = (held.get(key, _UNSAID.get(key)) for held in (before, settings))
            if was != now:
                raise InputError(
                    f"output folder '{self.path}': the run to resume had {key} = {_short(was)}, "
                    f"now it is {_short(now)}; resume it as it was, or overwrite it (--overwrite)"
                )

    def _leave_nothing_half_written(self) -> None:
        if self.checkpoints.is_dir() and self.last_checkpoint() is None and not self.resume:
            shutil.rmtree(self.checkpoints)

    def last_checkpoint(self) -> Path | None:
        """Return the newest checkpoint that was saved whole."""
        return newest_checkpoint(self.checkpoints)

    @contextmanager
    def results(self, *, keep_checkpoints: bool) -> Iterator[Path]:
        """Yield a folder to fill; its files appear in the output folder together, `run.json` last."""
        staged = Path(tempfile.mkdtemp(prefix=".results-", dir=self.path))
        try:
            yield staged
            files = (entry for entry in staged.rglob("*") if entry.is_file())
            for file in sorted(files, key=lambda entry: entry.name == "run.json"):
                place = self.path / file.relative_to(staged)
                place.parent.mkdir(exist_ok=True)
                file.replace(place)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        if not keep_checkpoints:
            shutil.rmtree(self.checkpoints)


def newest_checkpoint(checkpoints: Path) -> Path | None:
    """Return the newest checkpoint that was saved whole, or None; the Trainer writes its state last.

    Example:
        >>> newest_checkpoint(Path("no run is here"))
    """
    found = []
    for folder in checkpoints.glob("checkpoint-*"):
        try:
            json.loads((folder / TRAINER_STATE).read_text())
            found.append((int(folder.name.partition("-")[2]), folder))
        except (OSError, ValueError):
            continue
    return max(found)[1] if found else None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def write_json(file: Path, values: Any) -> None:
    """Write JSON whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    partial.replace(file)
