"""A fine-tuned model that takes audio in any form and gives scores by label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_ser.audio.collate import Collator
from hf_ser.audio.decode import decode
from hf_ser.audio.segment import average_by_clip, segments
from hf_ser.errors import InputError
from hf_ser.models.checkpoint import open_model
from hf_ser.models.head import plain_model

__all__ = ["Classifier", "load"]


class Classifier:
    """A model with its labels and preprocessor; call it with audio.

    Args:
        model: A `*ForSequenceClassification` model or a PEFT model around one.
        feature_extractor: The encoder's preprocessor.
        segment_seconds: Longer clips are cut into segments of this length, whose scores are averaged.

    Attributes:
        labels: In the order of the scores.
    """

    def __init__(self, model: Any, feature_extractor: Any, *, segment_seconds: float = 10.0) -> None:
        self.model = model.eval()
        self.feature_extractor = feature_extractor
        config = plain_model(model).config
        self.labels: tuple[str, ...] = tuple(config.id2label[index] for index in range(config.num_labels))
        self._collate = Collator(feature_extractor, config, training=False)
        self._sampling_rate = int(feature_extractor.sampling_rate)
        self._maximum = round(segment_seconds * self._sampling_rate)

    def __call__(self, audio: Any, *, sampling_rate: int | None = None) -> dict[str, Any]:
        """Classify one clip.

        Args:
            audio: A path, the bytes of a file, or samples `(samples,)` in [-1, 1].
            sampling_rate: Of the samples, in hertz; needed for samples alone.

        Returns:
            `{"label": ..., "scores": {label: probability}}`.

        Raises:
            InputError: The audio cannot be read, or is silent from end to end.
        """
        samples = self._samples(audio, sampling_rate)
        scores = self.scores([samples])[0]
        named = {label: float(score) for label, score in zip(self.labels, scores, strict=True)}
        return {"label": self.labels[int(scores.argmax())], "scores": named}

    def _samples(self, audio: Any, sampling_rate: int | None) -> np.ndarray:
        name = str(audio) if isinstance(audio, str | Path) else "the audio"
        if isinstance(audio, str | Path | bytes | dict):
            samples: np.ndarray = decode(audio, self._sampling_rate, name=name)
        else:
            if sampling_rate is None:
                raise InputError("samples come without their sampling_rate; give it in hertz")
            samples = np.asarray(audio, dtype=np.float32)
            if samples.ndim != 1:
                raise InputError(f"samples have shape {samples.shape}; give one channel, (samples,)")
            if sampling_rate != self._sampling_rate:
                import soxr

                samples = soxr.resample(samples, sampling_rate, self._sampling_rate, quality="HQ")
        if not len(samples) or not np.any(samples):
            raise InputError(f"{name} is silent from end to end; a prediction would mean nothing")
        return samples

    def scores(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Return class probabilities `(clips, labels)` of sample arrays at the encoder's sampling rate.

        Each segment passes the model alone, so no answer depends on a neighbour's length.
        """
        import torch

        device = next(self.model.parameters()).device
        logits, owners = [], []
        with torch.inference_mode():
            for index, samples in enumerate(clips):
                for start, stop in segments(len(samples), self._maximum):
                    batch = self._collate([{"samples": samples[start:stop], "labels": 0}])
                    batch.pop("labels", None)
                    output = self.model(**{key: value.to(device) for key, value in batch.items()})
                    logits.append(output.logits[0].double().softmax(-1).cpu().numpy())
                    owners.append(index)
        averaged: np.ndarray = average_by_clip(np.stack(logits), np.array(owners), len(clips))
        return averaged


def load(
    name: str | Path,
    *,
    segment_seconds: float = 10.0,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Classifier:
    """Open a fine-tuned model or adapter from a folder or the Hub, labels and preprocessor included.

    All files are read at one commit. Once loaded, a model from the Hub loads again without a connection (and under
    HF_HUB_OFFLINE=1), the base model of an adapter included.

    Args:
        name: The folder that `finetune` wrote, or a Hub id: of a checkpoint, an adapter or a merged adapter.
        segment_seconds: Longer clips are cut into segments of this length, whose scores are averaged.
        revision: Branch, tag or commit on the Hub; None is the main branch. An adapter's base model is read at the
            commit that `adapter_config.json` names.
        token: Token of the Hub; None takes the one of `hf auth login` or HF_TOKEN, False none.
        cache_dir: Folder to keep the files in; None is the Hugging Face cache.

    Returns:
        A classifier to call with a path, bytes or samples.

    Raises:
        InputError: There is no such model or revision, it is private or gated, the Hub cannot be reached and the
            files are not in the cache, its base is gone, or it holds no trained head.

    Example:
        >>> load("no/such/folder")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: model 'no/such/folder': ...
    """
    model, feature_extractor = open_model(name, revision=revision, token=token, cache_dir=cache_dir)
    return Classifier(model, feature_extractor, segment_seconds=segment_seconds)
