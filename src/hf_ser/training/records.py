"""What a run records about itself, so that its card states facts, and what it says at its beginning and end."""

from __future__ import annotations

import logging
import math
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser import __version__
from hf_ser.files import cache_folder
from hf_ser.text import render

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from hf_ser.dataset.source import Source
    from hf_ser.training.run import Job, Prepared

logger = logging.getLogger(__name__)

_ALWAYS = {"learning_rate", "lr_scheduler_type", "num_train_epochs", "per_device_train_batch_size", "seed",
           "warmup_steps", "weight_decay"}  # fmt: skip
_NEVER = {"output_dir", "logging_dir", "run_name", "ddp_timeout", "logging_nan_inf_filter"}
_FINDINGS = 20
"""How many of the rows that are left out a record names; `hf-ser check --json` names all."""
_HISTORY = ("step", "epoch", "eval_loss", "eval_uar", "eval_accuracy", "eval_f1_macro")


def facts_before(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Return the record of a run as far as it is known before training."""
    from hf_ser.environment import hardware, versions
    from hf_ser.models.architectures import plain_model

    arguments, source = job.arguments, job.source
    local = Path(job.model_name).is_dir()
    return {
        "hf_ser": __version__,
        "model": {
            "name": Path(job.model_name).resolve().name if local else job.model_name,
            "local": local,
            "revision": prepared.revision,
            "architecture": type(plain_model(prepared.model)).__name__,
            "saved": "adapter" if job.chosen.lora else "checkpoint",
            **prepared.facts,
        },
        "recipe": job.chosen.as_dict(),
        "head": prepared.head,
        "protocol": source.protocol,
        "labels": list(source.labels),
        "dataset": describe_data(source),
        "arguments": job.settings["arguments"],
        "augmentation": job.settings["augmentation"],
        "seeds": dict.fromkeys(("weights", "augmentation", "bootstrap"), arguments.seed)
        | {"order": arguments.seed if arguments.data_seed is None else arguments.data_seed},
        "versions": versions(),
        "hardware": hardware(),
    }


def record_after(trainer: Any, facts: dict[str, Any], loss: float, stopped: str, *, resumed: bool) -> dict[str, Any]:
    """Return the record with what training added to it."""
    evaluations = [entry for entry in trainer.state.log_history if math.isfinite(entry.get("eval_loss", math.nan))]
    best = max(evaluations, key=lambda entry: entry["eval_uar"])
    return {
        **facts,
        "steps": trainer.state.global_step,
        "stopped": stopped,
        "training_loss": loss if math.isfinite(loss) else None,
        "best": {"step": best["step"], "epoch": best["epoch"], "validation_uar": best["eval_uar"]},
        "history": [{key.removeprefix("eval_"): entry[key] for key in _HISTORY} for entry in evaluations],
        "resumed": resumed,
    }


def recorded_arguments(arguments: Any) -> dict[str, Any]:
    """Return the training arguments that matter most or differ from their defaults, without tokens and folders."""
    from hf_ser.training.arguments import stock_arguments

    values, defaults = arguments.to_dict(), stock_arguments(arguments).to_dict()
    return {
        key: value
        for key, value in sorted(values.items())
        if key not in _NEVER and "token" not in key and (value != defaults.get(key) or key in _ALWAYS)
    }


def plan(source: Any, facts: Mapping[str, Any], chosen: Any, arguments: TrainingArguments, segments: int) -> str:
    """Return what a run is going to do, in a few lines; `segments` is the number of those to train on."""
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    steps = arguments.max_steps
    if steps <= 0:
        steps = math.ceil(arguments.num_train_epochs * math.ceil(segments / batch))
    settings = {"recipe": chosen, "arguments": arguments, "steps": steps, "batch": batch, "cache": cache_folder()}
    return render("plan.txt", source=source, model=facts["model"], **settings).rstrip()


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


def closing(run: Mapping[str, Any], metrics: Mapping[str, Any], folder: Path) -> str:
    """Return the last lines of a run: why it ended, the selected checkpoint, the result and the next command."""
    predict = shlex.join(["hf-ser", "predict", str(folder), "CLIP.wav"])
    evaluate = shlex.join(["hf-ser", "evaluate", str(folder), "--dataset", "DATASET"])
    pooled = metrics["test"]["pooled"]
    return render("closing.txt", run=run, pooled=pooled, predict=predict, evaluate=evaluate).rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def describe_data(source: Source) -> dict[str, Any]:
    """Return what the record of a run says of its data; `evaluate` reads the speakers of the parts from it."""
    parts = {}
    for part, rows in source.parts.items():
        counts: dict[str, dict[str, int]] = {}
        for corpus, emotion in zip(rows["corpus"], rows["emotion"], strict=True):
            counts.setdefault(corpus, dict.fromkeys(source.labels, 0))[source.labels[emotion]] += 1
        parts[part] = {"clips": len(rows), "speakers": sorted(set(rows["speaker"])), "counts": counts}
    return {
        "name": source.name,
        "local": source.path is None or Path(source.path).is_dir(),
        "synthetic": source.synthetic,
        "fingerprint": source.fingerprint,
        "clips": sum(len(rows) for rows in source.parts.values()),
        "left_out_of_training": dict(source.left_out),
        "parts": parts,
        "proof": {key: value for key, value in source.proof.as_dict().items() if key != "parts"},
        "languages": list(source.languages),
        "licence": source.licence,
        "acted": source.acted,
        "labels_renamed": dict(source.renamed),
        "left_out": dict(Counter(it.reason for it in source.findings)),
        "left_out_first": [it._asdict() for it in source.findings[:_FINDINGS]],
    }
