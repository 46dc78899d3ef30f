"""Calling the loaders of `transformers` and `peft` quietly, with errors of one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hf_ser.errors import InputError, hub_reason
from hf_ser.models.snapshot import Snapshot


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence the report on newly initialised weights; what became of the head is logged separately."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # PEFT 0.21 uses a name that transformers is about to rename; users can do nothing about it.
            warnings.filterwarnings(
                "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
            )
            yield
    finally:
        transformers_logging.set_verbosity(before)
        if bars:
            transformers_logging.enable_progress_bar()


def read_pretrained(what: str, snapshot: Snapshot, read: Any, **options: Any) -> Any:
    """Call a `from_pretrained` on a snapshot's folder; whatever fails becomes one line that names the model."""
    try:
        return read(str(snapshot.folder), trust_remote_code=False, **options)
    except Exception as error:
        reason = hub_reason(error).replace(str(snapshot.folder), snapshot.name)
        raise InputError(
            f"model '{snapshot.name}': cannot read its {what}: {reason}; name another revision, or have it saved again"
        ) from error
