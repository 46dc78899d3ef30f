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

# Beside the checkpoints: what defines a run, and the head and the statistics of the features before the first step.
SETTINGS: Final = "settings.json"
START: Final = "start.safetensors"

RESULTS: Final = ("README.md", "adapter_config.json", "adapter_model.safetensors", "config.json", "confusion.png",
                  "generation_config.json", "metrics.json", "model*.safetensors", "model.safetensors.index.json",
                  "predictions.csv", "preprocessor_config.json", "report.md", "report.html", "run.json", "scores.png",
                  "sources.png", ".hf_ser")  # fmt: skip
"""What a run writes, by name: `overwrite` removes nothing else."""

_LEFTOVERS: Final = (".results-*", ".push-*", ".*.partial")
_IGNORED: Final = (".lock", ".DS_Store", "Thumbs.db", "desktop.ini", *_LEFTOVERS)

_MAY_GROW: Final = {"arguments.max_steps", "arguments.num_train_epochs", "recipe.epochs"}


class OutputFolder:
    """The folder of one run; arguments as those of `finetune`. One in use is refused, unless they say what to do."""

    def __init__(self, path: Path | str, *, resume: bool = False, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.resume = resume
        self._overwrite = overwrite
        finished = (self.path / "run.json").is_file()
        unfinished = not finished and (self.checkpoints / SETTINGS).is_file()
        problem = None
        if resume and overwrite:
            raise InputError("resume and overwrite exclude each other; give one of them")
        if self.path.exists() and not self.path.is_dir():
            problem = "is a file; name a folder"
        elif resume and not unfinished:
            problem = f"holds {'a finished' if finished else 'no'} run, nothing to resume; leave out resume (--resume)"
        elif finished and not overwrite:
            problem = "holds a finished run; choose another, or give overwrite (--overwrite)"
        elif unfinished and not (resume or overwrite):
            problem = (
                "holds an unfinished run; give resume (--resume) to continue it, or overwrite (--overwrite) to start "
                "again"
            )
        elif not finished and not unfinished and (others := self._others()):
            problem = f"is in use: it holds '{others[0]}' and no run of this library; choose another folder"
        if problem is not None:
            raise InputError(f"output folder '{self.path}' {problem}")

    @property
    def checkpoints(self) -> Path:
        """Where the Trainer saves during the run."""
        return self.path / "checkpoints"

    def _others(self) -> list[str]:
        """Return what is in the folder, except for what a run leaves that was killed at its very beginning."""
        names = [entry.name for entry in _entries(self.path) if not _matches(entry.name, _IGNORED)]
        begun = all(_matches(entry.name, _IGNORED) for entry in _entries(self.checkpoints))
        return [name for name in sorted(names) if name != self.checkpoints.name or not begun]

    @contextmanager
    def claimed(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder for this run alone; write down, or compare, what defines the run."""
        from filelock import FileLock, Timeout

        created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        lock = FileLock(str(self.path / ".lock"))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"output folder '{self.path}' is in use by another run; wait, or choose another") from None
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
            for folder in created:
                if not _entries(folder):
                    folder.rmdir()

    def _begin(self, settings: dict[str, Any]) -> None:
        patterns: tuple[str, ...] = _LEFTOVERS
        if self.resume:
            self._compare(settings)
        elif self._overwrite:
            patterns = (*RESULTS, self.checkpoints.name, *_LEFTOVERS)
        for entry in [*_entries(self.checkpoints), *_entries(self.path)]:
            if _matches(entry.name, patterns):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(self.checkpoints / SETTINGS, settings)

    def _compare(self, settings: dict[str, Any]) -> None:
        from transformers.utils import flatten_dict

        before = flatten_dict(json.loads((self.checkpoints / SETTINGS).read_text(encoding="utf-8")))
        now, changes = flatten_dict(settings), []
        for key in sorted({*before, *now}):
            was, given = (held.get(key) for held in (before, now))
            if was != given and not (key in _MAY_GROW and was is not None and given is not None and given > was):
                changes.append(f"{key} was {json.dumps(was)} and is now {json.dumps(given)}")
        if changes:
            raise InputError(
                f"output folder '{self.path}': the run to resume differs: {'; '.join(changes)}; resume it as it was, "
                "or start again (--overwrite)"
            )

    def _clear_partial(self) -> None:
        """Remove what was not written whole, and a run that has no checkpoint to continue from."""
        # Those of stages are in folders of their own.
        saved = list(self.checkpoints.glob("**/checkpoint-*"))
        for folder in saved:
            if _step(folder) is None:
                shutil.rmtree(folder, ignore_errors=True)
        if self.checkpoints.is_dir() and not any(map(Path.exists, saved)) and not self.resume:
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
    """Return the newest checkpoint that was saved whole, or None."""
    found = [(step, folder) for folder in checkpoints.glob("checkpoint-*") if (step := _step(folder)) is not None]
    return max(found)[1] if found else None


def _step(checkpoint: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        # The Trainer writes this file last.
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        return int(checkpoint.name.partition("-")[2])
    return None


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _is_full_disk(error: BaseException) -> bool:
    """Return whether this is about a full disk; `safetensors` and `torch` raise errors of other kinds for it."""
    codes = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    texts = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed", "os error 27")
    return getattr(error, "errno", None) in codes or any(text in str(error) for text in texts)
