"""Every save of a training on the Hub, while it goes on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_ser.errors import InputError
from hf_ser.hub.artefact import checkpoint_files
from hf_ser.hub.facts import shareable_record
from hf_ser.hub.live import LivePush
from hf_ser.models.head import fold
from hf_ser.models.probe import probe_logits
from hf_ser.training.last_checkpoint import last_checkpoint_files

__all__ = ["pushing_saves"]

logger = logging.getLogger(__name__)


@contextmanager
def pushing_saves(repo_id: str | None, trainer: Any, run: Mapping[str, Any], checkpoints: Path) -> Iterator[None]:
    """Push what the Trainer saves in this block; of a distributed run, the first process alone does.

    Args:
        repo_id: The repository; None pushes nothing.
        trainer: The Trainer.
        run: What is known of the run before it trains, with the keys of run.json.
        checkpoints: Where the Trainer saves.
    """
    if repo_id is None or not trainer.is_world_process_zero():
        yield
        return
    live = LivePush(repo_id, shareable_record(run), checkpoints)
    trainer.add_callback(_PushSaves(live, trainer, checkpoints))
    finished = False
    try:
        yield
        finished = True
    finally:
        live.close(finished=finished)


class _PushSaves(TrainerCallback):  # type: ignore[misc]
    def __init__(self, live: LivePush, trainer: Any, checkpoints: Path) -> None:
        self._live = live
        self._trainer = trainer
        self._checkpoints = checkpoints

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        evaluated = [entry["eval_uar"] for entry in state.log_history if "eval_uar" in entry]
        progress = {
            "step": state.global_step,
            "epoch": state.epoch or 0.0,
            "validation_uar": evaluated[-1] if evaluated else None,
        }
        try:
            model = checkpoint_files(self._checkpoints / f"checkpoint-{state.global_step}")
            files = {**model, **last_checkpoint_files(self._checkpoints)}
            self._live.save(files, progress, self._answers())
        except (OSError, InputError) as error:
            logger.warning("step %d is not on the Hub, and training goes on: %s", state.global_step, error)

    def _answers(self) -> Callable[[], list[list[float]]]:
        """Return what gives the probe's logits of the model as it is now, computed when it is called."""
        model = copy.deepcopy(self._trainer.saved_model)
        feature_extractor = self._trainer.processing_class

        def answers() -> list[list[float]]:
            fold(model)
            return probe_logits(model, feature_extractor)

        return answers
