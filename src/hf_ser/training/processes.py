"""The processes of a distributed run, as far as they share out work and wait for each other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hf_ser.cache import Share

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["share_of"]


def share_of(arguments: TrainingArguments) -> Share:
    """Return this process's share of the work of a run, whether it is one of several or alone.

    Example:
        >>> from transformers import TrainingArguments
        >>> share_of(TrainingArguments("out", use_cpu=True)).count
        1
    """
    # Asking for the device is what brings the processes together.
    _ = arguments.device
    count = int(arguments.world_size)
    if count == 1:
        return Share()
    from accelerate import PartialState

    return Share(
        index=int(arguments.process_index),
        count=count,
        local_index=int(arguments.local_process_index),
        local_count=int(os.environ.get("LOCAL_WORLD_SIZE", count)),
        wait=PartialState().wait_for_everyone,
    )
