"""The state of a training beside the weights, in safetensors and JSON: a resumed run goes on with the same bits.

A checkpoint folder holds `training_state.json` with `optimizer.safetensors` (the optimizer, the schedule of the
learning rate and the scale of the gradients) and, for each process, `random_state_RANK.json` with
`random_state_RANK.safetensors`. Trainer's own files for these are pickles.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from hf_ser.errors import InputError
from hf_ser.training.state_file import Unwritable, read_state, require_writable, write_state

__all__ = [
    "OPTIMIZER_STATE",
    "TRAINING_STATE",
    "load_random_state",
    "load_training_state",
    "require_training_state",
    "require_writable_optimizer",
    "save_random_state",
    "save_training_state",
]

logger = logging.getLogger(__name__)

TRAINING_STATE: Final = "training_state.json"
OPTIMIZER_STATE: Final = "optimizer.safetensors"
"""The tensors of the former, the optimizer's most of all."""
_PICKLES: Final = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth", "training_args.bin")


def save_training_state(checkpoint: Path, *, optimizer: Any, scheduler: Any, scaler: Any, devices: int) -> None:
    """Write the state that all processes share.

    Args:
        checkpoint: The checkpoint's folder.
        optimizer: Any whose state is dense tensors and plain values (see `require_writable_optimizer`).
        scheduler: Of the learning rate.
        scaler: Of the gradients in half precision; None without one.
        devices: How many share each step's clips: with another number, the same steps see other clips.
    """
    checkpoint.mkdir(parents=True, exist_ok=True)
    state = {
        "devices": devices,
        "scheduler": scheduler.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    write_state(state, checkpoint / TRAINING_STATE, checkpoint / OPTIMIZER_STATE)


def load_training_state(checkpoint: Path, *, optimizer: Any, scheduler: Any, scaler: Any, devices: int) -> None:
    """Put back what `save_training_state` wrote.

    Raises:
        InputError: The checkpoint holds none, it is damaged, or it is of another training.
    """
    require_training_state(checkpoint)
    with _one_line(checkpoint):
        state = read_state(checkpoint / TRAINING_STATE, checkpoint / OPTIMIZER_STATE)
        if state["devices"] != devices:
            raise InputError(
                f"checkpoint {checkpoint} is of a run on {state['devices']} devices, now there are {devices}; "
                "go on with as many, or start again (--overwrite)"
            )
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])


def save_random_state(checkpoint: Path, rank: int, cuda_devices: int) -> None:
    """Write the states of this process's random generators: Python's, numpy's, torch's, and its CUDA devices'.

    Args:
        checkpoint: The checkpoint's folder; it may be that no other process has made it yet.
        rank: Of this process.
        cuda_devices: How many this process trains on.
    """
    checkpoint.mkdir(parents=True, exist_ok=True)
    kind, keys, *rest = np.random.get_state(legacy=True)
    state = {
        "python": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), *rest),
        "torch": torch.random.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device) for device in _cuda_devices(cuda_devices)],
    }
    write_state(state, *_random_files(checkpoint, rank))


def load_random_state(checkpoint: Path, rank: int, cuda_devices: int) -> None:
    """Put back what `save_random_state` wrote.

    Raises:
        InputError: The checkpoint holds no state of this process, or it is damaged.
    """
    with _one_line(checkpoint):
        state = read_state(*_random_files(checkpoint, rank))
        random.setstate(state["python"])
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, np.asarray(keys, dtype=np.uint32), *rest))
        torch.random.set_rng_state(state["torch"])
        if len(state["cuda"]) != cuda_devices:
            logger.warning(
                "the run was begun on %s and goes on %s: it will not be the run that it would have been",
                *("CUDA" if count else "the CPU" for count in (len(state["cuda"]), cuda_devices)),
            )
            return
        for device, device_state in zip(_cuda_devices(cuda_devices), state["cuda"], strict=True):
            torch.cuda.set_rng_state(device_state, device)


def _cuda_devices(count: int) -> list[int]:
    """Return the devices of a process: its own, or, where one process drives several, the first of all."""
    return [torch.cuda.current_device()] if count == 1 else list(range(count))


def require_training_state(checkpoint: Path) -> None:
    """Refuse a checkpoint that a run cannot go on from.

    Raises:
        InputError: Its training state is absent, or pickled.
    """
    if (checkpoint / TRAINING_STATE).is_file():
        return
    if any(found for pattern in _PICKLES for found in checkpoint.glob(pattern)):
        raise InputError(
            f"checkpoint {checkpoint} holds its training state as pickles, which are not read; start again "
            "(--overwrite), or go on with the version that wrote it"
        )
    raise InputError(f"checkpoint {checkpoint} holds no {TRAINING_STATE}; start again (--overwrite)")


def require_writable_optimizer(kind: Any, options: Mapping[str, Any], like: torch.Tensor) -> None:
    """Refuse, before training begins, an optimizer whose state could not be saved.

    The state comes into being with the first step, so one of the same kind takes a step on a parameter of its own.

    Args:
        kind: The optimizer's class.
        options: What it is made with.
        like: A parameter that will be trained.

    Raises:
        InputError: Its state holds more than dense tensors and plain values.

    Example:
        >>> require_writable_optimizer(torch.optim.AdamW, {"lr": 1e-3}, torch.zeros(2))
    """
    # As large as quantising optimizers ask before they quantise.
    trial = torch.nn.Parameter(torch.zeros(128, 128, dtype=like.dtype, device=like.device))
    trial.grad = torch.zeros_like(trial)
    twin = kind([{"params": [trial]}], **options)
    twin.step()
    try:
        require_writable(twin.state_dict())
    except Unwritable as error:
        raise InputError(
            f"optimizer {kind.__name__}: {error} in its state, which safetensors and JSON do not hold; "
            "choose another, such as optim adamw_torch"
        ) from error


def _random_files(checkpoint: Path, rank: int) -> tuple[Path, Path]:
    return checkpoint / f"random_state_{rank}.json", checkpoint / f"random_state_{rank}.safetensors"


@contextmanager
def _one_line(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"checkpoint {checkpoint}: its training state is damaged or of another training ({reason}); "
            "start again (--overwrite)"
        ) from error
