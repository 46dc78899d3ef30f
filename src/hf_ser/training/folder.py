"""The output folder: claimed before training, filled at the end."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hf_ser.errors import InputError
from hf_ser.files import write_json

__all__ = ["START", "OutputFolder", "newest_checkpoint"]

SETTINGS: Final = "settings.json"
"""What defines a run; beside its checkpoints."""

START: Final = "start.safetensors"
"""The head and the statistics of the features before the first step; beside the checkpoints."""

TRAINER_STATE: Final = "trainer_state.json"
"""What the Trainer writes last into a checkpoint."""

RESULTS: Final = (
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "config.json",
    "confusion.png",
    "generation_config.json",
    "metrics.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "predictions.csv",
    "preprocessor_config.json",
    "report.md",
    "run.json",
    ".hf_ser",
)
"""What a run writes, by name: `overwrite` removes nothing else."""

_LEFTOVERS: Final = (".results-*", ".push-*", ".*.partial")
_IGNORED: Final = (".lock", ".DS_Store", "Thumbs.db", "desktop.ini", *_LEFTOVERS)

_MAY_GROW: Final = {"arguments.max_steps", "arguments.num_train_epochs", "recipe.epochs"}

_UNSAID: Final = {"processes": 1}
"""The value of a setting that is not written down."""


class OutputFolder:
    """The folder of one run.

    Args:
        path: The folder; it may be absent or empty.
        resume: Continue the unfinished run that it holds.
        overwrite: Remove the run that it holds first.

    Raises:
        InputError: It is in use, and neither `resume` nor `overwrite` says what to do with it.
    """

    def __init__(self, path: Path | str, *, resume: bool = False, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.resume = resume
        self._overwrite = overwrite
        self._created: list[Path] = []
        if resume and overwrite:
            raise InputError("resume and overwrite exclude each other; give one of them")
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"output folder '{self.path}' is a file; name a folder")
        finished = (self.path / "run.json").is_file()
        unfinished = not finished and (self.checkpoints / SETTINGS).is_file()
        if resume and not unfinished:
            reason = "holds a finished run" if finished else "holds no run"
            raise InputError(f"output folder '{self.path}' {reason}, nothing to resume; start without resume (--resume)")
        if finished and not overwrite:
            raise InputError(
                f"output folder '{self.path}' holds a finished run; choose another, or give overwrite (--overwrite)"
            )
        if unfinished and not (resume or overwrite):
            raise InputError(
                f"output folder '{self.path}' holds an unfinished run; give resume (--resume) to continue it, or "
                "overwrite (--overwrite) to start again"
            )
        if not finished and not unfinished and (others := self._others()):
            raise InputError(
                f"output folder '{self.path}' is in use: it holds '{others[0]}' and no run of this library; choose "
                "another folder"
            )

    @property
    def checkpoints(self) -> Path:
        """Where the Trainer saves during the run."""
        return self.path / "checkpoints"

    def _others(self) -> list[str]:
        """Return what is in the folder beside what a run that was killed at its very beginning leaves."""
        if not self.path.is_dir():
            return []
        names = [entry.name for entry in self.path.iterdir() if not _matches(entry.name, _IGNORED)]
        return [name for name in sorted(names) if name != self.checkpoints.name or not self._barely_begun()]

    def _barely_begun(self) -> bool:
        return self.checkpoints.is_dir() and all(
            _matches(entry.name, _IGNORED) for entry in self.checkpoints.iterdir()
        )

    @contextmanager
    def claimed(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder for this run alone; write down, or compare, what defines the run.

        Raises:
            InputError: Another run holds it, the settings differ from those of the run to resume, or the disk is full.
        """
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
            self._begin(json.loads(json.dumps(settings, default=str)))
            yield
        except Exception as error:
            if not _is_full_disk(error):
                raise
            raise InputError(
                f"output folder '{self.path}': the disk is full; free space, then continue with resume (--resume)"
            ) from error
        finally:
            self._clear_partial()
            lock.release()
            (self.path / ".lock").unlink(missing_ok=True)
            for folder in reversed(self._created):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def _begin(self, settings: dict[str, Any]) -> None:
        for entry in [*self.path.iterdir(), *(self.checkpoints.iterdir() if self.checkpoints.is_dir() else ())]:
            if _matches(entry.name, _LEFTOVERS):
                _remove(entry)
        if self.resume:
            self._compare(settings)
        elif self._overwrite:
            for entry in self.path.iterdir():
                if _matches(entry.name, (*RESULTS, self.checkpoints.name)):
                    _remove(entry)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(self.checkpoints / SETTINGS, settings)

    def _compare(self, settings: dict[str, Any]) -> None:
        try:
            before = _flat(json.loads((self.checkpoints / SETTINGS).read_text(encoding="utf-8")))
        except ValueError:
            raise InputError(f"output folder '{self.path}': its {SETTINGS} is damaged; start again (--overwrite)") from None
        now = _flat(settings)
        changes = []
        for key in sorted({*before, *now}):
            was, given = (held.get(key, _UNSAID.get(key)) for held in (before, now))
            if was != given and not (key in _MAY_GROW and was is not None and given is not None and given > was):
                changes.append(f"{key} was {json.dumps(was)} and is now {json.dumps(given)}")
        if changes:
            raise InputError(
                f"output folder '{self.path}': the run to resume differs: {'; '.join(changes)}; resume it as it was, "
                "or start again (--overwrite)"
            )

    def _clear_partial(self) -> None:
        """Remove what was not written whole, and a run that has no checkpoint to continue from."""
        for folder in self.checkpoints.glob("checkpoint-*"):
            if _step(folder) is None:
                shutil.rmtree(folder, ignore_errors=True)
        if self.checkpoints.is_dir() and newest_checkpoint(self.checkpoints) is None and not self.resume:
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    @contextmanager
    def results(self) -> Iterator[Path]:
        """Yield a folder to fill; its files appear in the output folder together, `run.json` last."""
        staged = Path(tempfile.mkdtemp(prefix=".results-", dir=self.path))
        try:
            yield staged
            for file in sorted(staged.iterdir(), key=lambda entry: entry.name == "run.json"):
                file.replace(self.path / file.name)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        shutil.rmtree(self.checkpoints)


def newest_checkpoint(checkpoints: Path) -> Path | None:
    """Return the newest checkpoint that was saved whole, or None.

    Example:
        >>> newest_checkpoint(Path("no run is here"))
    """
    found = [(step, folder) for folder in checkpoints.glob("checkpoint-*") if (step := _step(folder)) is not None]
    return max(found)[1] if found else None


def _step(checkpoint: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        json.loads((checkpoint / TRAINER_STATE).read_text(encoding="utf-8"))
        return int(checkpoint.name.partition("-")[2])
    return None


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        flat.update(_flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value})
    return flat


def _is_full_disk(error: BaseException) -> bool:
    """Return whether this is about a full disk; `safetensors` and `torch` raise errors of other kinds for it."""
    codes = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    texts = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed", "os error 27")
    return getattr(error, "errno", None) in codes or any(text in str(error) for text in texts)
