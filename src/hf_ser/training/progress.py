"""What a run says: its plan, one progress bar, and at the end why it stopped and what to do next."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import ProgressCallback, TrainingArguments

from hf_ser.files import cache_folder
from hf_ser.text import percent

logger = logging.getLogger(__name__)


def plan(source: Any, facts: Mapping[str, Any], chosen: Any, arguments: TrainingArguments, segments: int) -> str:
    """Return what a run is going to do, in a few lines; `segments` is the number of those to train on."""
    parts = ", ".join(
        f"{part} {len(rows):,} clips of {_count(len(set(rows['speaker'])), 'speaker')}"
        for part, rows in source.parts.items()
    )
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    steps = arguments.max_steps
    if steps <= 0:
        steps = math.ceil(arguments.num_train_epochs * math.ceil(segments / batch))
    precision = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32"
    processes = f" x {arguments.world_size} processes" if arguments.world_size > 1 else ""
    patience = "" if chosen.patience is None else f", ending after {chosen.patience} evaluations without a better UAR"
    kept = f"decoded audio and frozen states in {cache_folder()}; delete it at any time"
    model = facts["model"]
    return (
        f"Data:     {source.name}, protocol {source.protocol}: {parts}\n"
        f"Labels:   {', '.join(source.labels)}\n"
        f"Model:    {model['name']}, recipe {chosen.name}: {model['trainable_parameters']:,} of "
        f"{model['parameters']:,} parameters train\n"
        f"Training: at most {steps:,} steps of {batch} clips on {arguments.device.type}{processes} ({precision})"
        f"{patience}\n"
        f"Kept:     {'nothing (HF_SER_CACHE=off)' if cache_folder() is None else kept}"
    )


def warn_of_small_validation(source: Any) -> None:
    """Warn where the validation part cannot choose a checkpoint well: one speaker, or labels without a clip."""
    rows = source.parts["validation"]
    absent = [label for index, label in enumerate(source.labels) if index not in set(rows["emotion"])]
    problems = [f"no clip of {', '.join(absent)}"] if absent else []
    if (speakers := len(set(rows["speaker"]))) < 2:
        problems.insert(0, f"only {_count(speakers, 'speaker')}")
    if problems:
        text = "the validation part has %d clips, %s: the checkpoint is chosen by few facts; add speakers to it"
        logger.warning(text, len(rows), " and ".join(problems))


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


def closing(run: Mapping[str, Any], metrics: Mapping[str, Any], folder: Path) -> str:
    """Return the last lines of a run: why it ended, the selected checkpoint, the result and the next command."""
    best, pooled = run["best"], metrics["test"]["pooled"]
    return (
        f"Training ended: {run['stopped']}.\n"
        f"Selected checkpoint: step {best['step']} (epoch {best['epoch']:g}), validation UAR "
        f"{percent(best['validation_uar'])} %; test UAR {percent(pooled['uar'])} % on {pooled['clips']:,} clips.\n"
        f"Next: {shlex.join(['hf-ser', 'predict', str(folder), 'CLIP.wav'])}, or "
        f"{shlex.join(['hf-ser', 'evaluate', str(folder), '--dataset', 'DATASET'])}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
