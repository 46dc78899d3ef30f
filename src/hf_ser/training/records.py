"""What a run records about itself and the machine, so that its card states facts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser import __version__

if TYPE_CHECKING:
    from hf_ser.dataset.source import Source
    from hf_ser.training.run import Job, Prepared

_ALWAYS = {"learning_rate", "lr_scheduler_type", "num_train_epochs", "per_device_train_batch_size", "seed",
           "warmup_steps", "weight_decay"}  # fmt: skip
_NEVER = {"output_dir", "logging_dir", "run_name", "ddp_timeout", "logging_nan_inf_filter"}
_HISTORY = ("step", "epoch", "eval_loss", "eval_uar", "eval_accuracy", "eval_f1_macro")


def facts_before(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Return the record of a run as far as it is known before training."""
    from hf_ser.evaluation.environment import hardware, versions
    from hf_ser.models.architectures import plain_model

    arguments, source = job.arguments, job.source
    local = Path(job.model_name).is_dir()
    proof = source.proof.as_dict()
    # What the parts hold is in `parts`.
    del proof["parts"]
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
        "dataset": {
            "name": source.name,
            "local": source.path is None or Path(source.path).is_dir(),
            "synthetic": source.synthetic,
            "fingerprint": source.fingerprint,
            "clips": sum(len(rows) for rows in source.parts.values()),
            "left_out_of_training": dict(source.left_out),
            "parts": _describe_parts(source),
            "proof": proof,
            "languages": list(source.languages),
            "licence": source.licence,
        },
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
    from transformers import TrainingArguments

    values, defaults = arguments.to_dict(), TrainingArguments(output_dir="", use_cpu=True).to_dict()
    return {
        key: value
        for key, value in sorted(values.items())
        if key not in _NEVER and "token" not in key and (value != defaults.get(key) or key in _ALWAYS)
    }


def _describe_parts(source: Source) -> dict[str, Any]:
    described = {}
    for part, rows in source.parts.items():
        counts: dict[str, dict[str, int]] = {}
        for corpus, emotion in zip(rows["corpus"], rows["emotion"], strict=True):
            counts.setdefault(corpus, dict.fromkeys(source.labels, 0))[source.labels[emotion]] += 1
        described[part] = {"clips": len(rows), "speakers": sorted(set(rows["speaker"])), "counts": counts}
    return described
