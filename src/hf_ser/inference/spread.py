"""Prediction of many clips by several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hf_ser import processes

__all__ = ["spread"]


def spread(predict: Callable[[list[Any]], Sequence[Any]], clips: Sequence[Any]) -> list[Any]:
    """Predict each process's share of the clips; return all answers, in the clips' order, in every process.

    Args:
        predict: Answers a list of clips, one answer each, of values that JSON holds.
        clips: The clips; the same in every process.

    Raises:
        InputError: A clip cannot be read, in whichever process.

    Example:
        >>> spread(lambda clips: [clip.upper() for clip in clips], ["happy", "sad"])
        ['HAPPY', 'SAD']
    """
    with processes.together():
        mine = list(predict([clips[index] for index in processes.share(len(clips))]))
        parts = processes.gather(mine)
    answers: list[Any] = [None] * len(clips)
    for process, part in enumerate(parts):
        answers[process :: processes.count()] = part
    return answers
