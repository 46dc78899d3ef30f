"""What a run records about itself and the machine, so that its card states facts."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_ser.dataset.source import Source

__all__ = ["describe_parts", "emissions", "hardware", "peak_memory_bytes", "recorded_arguments"]

_ALWAYS = {
    "learning_rate",
    "lr_scheduler_type",
    "num_train_epochs",
    "per_device_train_batch_size",
    "seed",
    "warmup_steps",
    "weight_decay",
}


def hardware() -> dict[str, Any]:
    """Return the platform, the threads in use, the accelerators of this machine and the processes of the run.

    Example:
        >>> hardware()["threads"] > 0
        True
    """
    import torch
    from accelerate import PartialState

    found: dict[str, Any] = {
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "processes": PartialState().num_processes,
    }
    if torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
        found["accelerators"] = torch.cuda.device_count()
    return found


def peak_memory_bytes() -> dict[str, int]:
    """Return the peak memory of this process: resident on the host, allocated on the device.

    Example:
        >>> peak_memory_bytes()["host"] > 1_000_000
        True
    """
    import torch

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if torch.cuda.is_available():
        found["device"] = torch.cuda.max_memory_allocated()
    return found


def emissions(callbacks: Iterable[Any], *, resumed: bool) -> dict[str, Any] | None:
    """Return what CodeCarbon (`report_to="codecarbon"`) measured of the training, None where it did not run.

    Example:
        >>> emissions([], resumed=False) is None
        True
    """
    for callback in callbacks:
        measured: Any = getattr(getattr(callback, "tracker", None), "final_emissions_data", None)
        if type(callback).__name__ == "CodeCarbonCallback" and measured is not None and measured.emissions is not None:
            found = {
                "grams": 1000 * float(measured.emissions),
                "kilowatt_hours": float(measured.energy_consumed),
                "country": measured.country_name or None,
                "source": f"CodeCarbon {measured.codecarbon_version}",
                "covers": "training since it was resumed" if resumed else "training",
            }
            return {key: value for key, value in found.items() if value is not None}
    return None


def recorded_arguments(arguments: Any) -> dict[str, Any]:
    """Return the training arguments that matter most or differ from their defaults, without tokens and folders.

    Example:
        >>> from transformers import TrainingArguments
        >>> recorded_arguments(TrainingArguments("out", seed=7, use_cpu=True))["seed"]
        7
    """
    from transformers import TrainingArguments

    values, defaults = arguments.to_dict(), TrainingArguments(output_dir="", use_cpu=True).to_dict()
    left_out = {"output_dir", "logging_dir", "run_name", "ddp_timeout", "logging_nan_inf_filter"}
    return {
        key: value
        for key, value in sorted(values.items())
        if key not in left_out and "token" not in key and (value != defaults.get(key) or key in _ALWAYS)
    }


def describe_parts(source: Source) -> dict[str, Any]:
    """Return the clips, speakers, and counts by corpus and label of each part of a data set."""
    described = {}
    for part, rows in source.parts.items():
        counts: dict[str, dict[str, int]] = {}
        for corpus, emotion in zip(rows["corpus"], rows["emotion"], strict=True):
            label = source.labels[emotion]
            of_corpus = counts.setdefault(corpus, dict.fromkeys(source.labels, 0))
            of_corpus[label] += 1
        described[part] = {"clips": len(rows), "speakers": sorted(set(rows["speaker"])), "counts": counts}
    return described
