"""From the logits of segments to the scores of clips, while training and at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hf_ser.audio.segment import average_by_clip
from hf_ser.evaluation.metrics.accuracy import accuracy_score
from hf_ser.evaluation.metrics.confusion import confusion_counts
from hf_ser.evaluation.metrics.f1 import f1_averages
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.training.items import collate_states

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Collators", "ValidationMetrics", "balanced_weights", "clip_scores"]


def balanced_weights(labels: ArrayLike, count: int) -> torch.Tensor:
    """Return a weight for each label `(count,)`, inverse to its share; the mean over the clips is 1.

    Example:
        >>> balanced_weights([0, 0, 0, 2], 3)
        tensor([0.6667, 0.0000, 2.0000])
    """
    import torch

    clips = np.bincount(np.asarray(labels), minlength=count)
    present = clips > 0
    weights = np.zeros(count, dtype=np.float32)
    weights[present] = clips.sum() / (present.sum() * clips[present])
    return torch.from_numpy(weights)


class Collators:
    """The collators behind the one that Trainer knows; the items say which is due.

    Args:
        training: Makes batches of training items.
        evaluation: Makes batches of the others.
    """

    def __init__(self, training: Any, evaluation: Any) -> None:
        self._training = training
        self._evaluation = evaluation

    def __call__(self, items: Any) -> dict[str, Any]:
        """Collate items that are all states, all clips for training, or all clips for evaluation."""
        if isinstance(items, dict) or "states" in items[0]:
            return collate_states(items)
        batch: dict[str, Any] = (self._training if items[0]["training"] else self._evaluation)(items)
        return batch


class ValidationMetrics:
    """UAR, accuracy and macro F1 of clips from the logits of their segments.

    Args:
        clip_index: `(segments,)` clip of each segment.
        references: `(clips,)` label identifiers.
    """

    def __init__(self, clip_index: NDArray[np.int64], references: ArrayLike) -> None:
        self._clip_index = clip_index
        self._references = np.asarray(references)

    def __call__(self, prediction: Any) -> dict[str, float]:
        """Measure a `transformers.EvalPrediction`."""
        scores = segment_to_clip(prediction.predictions, self._clip_index, len(self._references))
        counts = confusion_counts(scores.argmax(axis=1), self._references, scores.shape[1])
        return {
            "uar": float(unweighted_average_recall(counts)),
            "accuracy": float(accuracy_score(counts)),
            "f1_macro": float(f1_averages(counts)["macro"]),
        }


def segment_to_clip(predictions: Any, clip_index: NDArray[np.int64], clips: int) -> NDArray[np.float64]:
    """Return the mean class probabilities of each clip `(clips, labels)` from logits of segments.

    Example:
        >>> segment_to_clip(np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([0, 0]), 1).round(2)
        array([[0.7, 0.3]])
    """
    logits = predictions[0] if isinstance(predictions, tuple) else predictions
    shifted = np.asarray(logits, dtype=np.float64)
    probabilities = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    averaged: NDArray[np.float64] = average_by_clip(probabilities, clip_index, clips)
    return averaged


def clip_scores(trainer: Any, items: Any, clips: int) -> NDArray[np.float64]:
    """Pass items through the model and return class probabilities `(clips, labels)`."""
    # Trainer would measure any part by the validation part's references.
    metrics, trainer.compute_metrics = trainer.compute_metrics, None
    try:
        predictions = trainer.predict(items).predictions
    finally:
        trainer.compute_metrics = metrics
    return segment_to_clip(predictions, items.clip_index, clips)
