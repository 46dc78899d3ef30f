"""What happens beside training: a progress bar, and every save pushed to the Hub in the background."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from transformers import (
    EarlyStoppingCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from hf_ser.models.recipe import Recipe

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 600.0


class ProgressBar(ProgressCallback):  # type: ignore[misc]
    """Trainer's bar of the steps, with the training loss and the validation UAR instead of printed dictionaries."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show the newest figures."""
        names = {"loss": "loss {:.3f}", "eval_uar": "validation UAR {:.3f}"}
        self._shown = getattr(self, "_shown", {})
        self._shown |= {name: form.format(logs[name]) for name, form in names.items() if name in logs}
        if self.training_bar is not None:
            self.training_bar.set_postfix_str(", ".join(self._shown.values()), refresh=False)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show no second bar."""


def callbacks_of(chosen: Recipe) -> list[TrainerCallback]:
    """Return what a recipe asks for: early stopping, and its start among the checkpoints to choose from."""
    found: list[TrainerCallback] = [] if chosen.head_start == "noise" else [_KeepStart()]
    if chosen.patience is not None:
        found.append(EarlyStoppingCallback(early_stopping_patience=chosen.patience))
    return found


class _KeepStart(TrainerCallback):  # type: ignore[misc]
    """Evaluate and save the first step too: where training does not win on validation, the start is the result."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for it."""
        if state.global_step == 1:
            control.should_evaluate = control.should_save = True


class PushSaves(TrainerCallback):  # type: ignore[misc]
    """Push each checkpoint in a thread; one that is saved while a push is still under way is left out.

    A push that fails is reported by a warning, and training continues. `export` saves the model as it is into a folder,
    and returns its logits for the probe.
    """

    def __init__(
        self, repo_id: str, run: Mapping[str, Any], workspace: Path, export: Callable[[Path], list[list[float]]]
    ) -> None:
        self._repo_id, self._run, self._workspace, self._export = repo_id, run, workspace, export
        self._thread: threading.Thread | None = None

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Export the model and begin to push it; the start is no progress."""
        if state.global_step == 1 or (self._thread is not None and self._thread.is_alive()):
            return
        evaluated = [entry["eval_uar"] for entry in state.log_history if "eval_uar" in entry]
        progress = {
            "step": state.global_step,
            "epoch": state.epoch or 0.0,
            "validation_uar": evaluated[-1] if evaluated else None,
        }
        folder = Path(tempfile.mkdtemp(prefix=".push-", dir=self._workspace))
        with self._reported(folder, state.global_step):
            logits = self._export(folder)
            # A daemon: a hanging connection must not keep the process alive.
            self._thread = threading.Thread(target=self._push, args=(folder, logits, progress), daemon=True)
            self._thread.start()

    def _push(self, folder: Path, logits: list[list[float]], progress: Mapping[str, Any]) -> None:
        from hf_ser.hub.push import push_checkpoint

        with self._reported(folder, progress["step"]):
            push_checkpoint(folder, self._repo_id, self._run, logits, progress)
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _reported(self, folder: Path, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            logger.warning("step %d was not pushed, training continues: %s", step, error)
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self) -> None:
        """Wait for the push that is under way."""
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)
            if self._thread.is_alive():
                logger.warning("a push to '%s' hangs and is no longer waited for", self._repo_id)
