"""A fine-tuned model that takes audio in any form and gives scores by label."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np

from hf_ser.audio.collate import Collator
from hf_ser.audio.decode import decode
from hf_ser.errors import InputError
from hf_ser.models.checkpoint import open_model
from hf_ser.models.head import plain_model

__all__ = ["Classifier", "load"]

logger = logging.getLogger(__name__)


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
        from hf_ser.models.rewrites import FrontEnd

        self.model = model.eval()
        self.feature_extractor = feature_extractor
        config = plain_model(model).config
        self.labels: tuple[str, ...] = tuple(config.id2label[index] for index in range(config.num_labels))
        self._collate = Collator(feature_extractor, config, training=False)
        self._front_end = FrontEnd(model)
        self._pads_apart = getattr(config, "feat_extract_norm", "layer") != "group" or self._front_end.applies
        self._sampling_rate = int(feature_extractor.sampling_rate)
        self._maximum = round(segment_seconds * self._sampling_rate)

    def __call__(self, audio: Any, *, sampling_rate: int | None = None) -> dict[str, Any]:
        """Classify one clip; for many, `predict` is several times as fast.

        Args:
            audio: A path, the bytes of a file, or samples `(samples,)` in [-1, 1].
            sampling_rate: Of the samples, in hertz; needed for samples alone.

        Returns:
            `{"label": ..., "scores": {label: probability}}`.

        Raises:
            InputError: The audio cannot be read, or is silent from end to end.
        """
        if isinstance(audio, list | tuple) and not all(isinstance(value, int | float) for value in audio):
            raise InputError("a classifier is called with one clip; give many to its method predict")
        samples = self._samples(audio, sampling_rate, _name(audio))
        return self._named(self.scores([samples])[0])

    def predict(
        self,
        clips: Iterable[Any],
        *,
        sampling_rate: int | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> list[dict[str, Any]]:
        """Classify many clips, in batches of like lengths, decoding while the model works.

        No answer depends on the clips beside it: it differs from that on the clip alone by less than 1e-5. A clip
        that cannot be read costs its own answer only.

        Args:
            clips: Each as for a call, or a `{"bytes", "path"}` of `datasets.Audio(decode=False)`; any iterable, a
                generator or a column of a data set too.
            sampling_rate: Of those clips that are samples, in hertz.
            batch_size: Segments a batch; None takes what suits the device.
            progress: Whether to show a bar.

        Returns:
            An answer for each clip, in their order: as from a call, or `{"error": "one line"}`.

        Raises:
            InputError: `batch_size` is below 1, or samples come without `sampling_rate`.
        """
        return list(self.stream(clips, sampling_rate=sampling_rate, batch_size=batch_size, progress=progress))

    def stream(
        self,
        clips: Iterable[Any],
        *,
        sampling_rate: int | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield what `predict` returns, some hundred answers at a time: memory is the same for any number of clips.

        Args:
            clips: As for `predict`; taken from as the answers are asked for.
            sampling_rate: As for `predict`.
            batch_size: As for `predict`.
            progress: As for `predict`.

        Raises:
            InputError: As for `predict`.
        """
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; give at least 1, or leave it out")
        if isinstance(clips, str | bytes | Path):
            raise InputError("predict takes many clips; call the classifier itself for one, or give a list")
        return self._stream(clips, sampling_rate, batch_size, progress)

    def _stream(
        self, clips: Iterable[Any], sampling_rate: int | None, batch_size: int | None, progress: bool
    ) -> Iterator[dict[str, Any]]:
        from tqdm.auto import tqdm

        def read(position: int, audio: Any) -> Any:
            try:
                return self._samples(audio, sampling_rate, _name(audio, f"clip {position}"))
            except _UsageError:
                raise
            except InputError as error:
                return error

        total = len(clips) if isinstance(clips, Sized) else None
        with tqdm(total=total, desc="predict", unit="clip", disable=not progress) as bar:
            for answer in self._answers(clips, read, batch_size):
                bar.update()
                if isinstance(answer, InputError):
                    yield {"error": str(answer)}
                else:
                    yield self._named(answer)

    def _answers(self, clips: Iterable[Any], read: Any, batch_size: int | None) -> Iterator[Any]:
        from hf_ser.inference.batches import Limits, answers

        device = next(self.model.parameters()).device
        limits = Limits.of(device, self._sampling_rate, batch_size, equal_lengths=not self._pads_apart)
        return answers(clips, read, self._segment_scores, longest=self._maximum, limits=limits, device=device)

    def _named(self, scores: np.ndarray) -> dict[str, Any]:
        named = {label: float(score) for label, score in zip(self.labels, scores, strict=True)}
        return {"label": self.labels[int(scores.argmax())], "scores": named}

    def _samples(self, audio: Any, sampling_rate: int | None, name: str) -> np.ndarray:
        if isinstance(audio, str | Path | bytes | dict):
            samples: np.ndarray = decode(audio, self._sampling_rate, name=name)
        else:
            if sampling_rate is None:
                raise _UsageError("samples come without their sampling_rate; give it in hertz")
            samples = np.asarray(audio, dtype=np.float32)
            if samples.ndim != 1:
                raise InputError(f"{name}: samples have shape {samples.shape}; give one channel, (samples,)")
            if not np.isfinite(samples).all():
                raise InputError(f"{name}: holds samples that are not finite numbers; remove it")
            if sampling_rate != self._sampling_rate:
                import soxr

                samples = soxr.resample(samples, sampling_rate, self._sampling_rate, quality="HQ")
        if not len(samples) or not np.any(samples):
            raise InputError(f"{name} is silent from end to end; a prediction would mean nothing")
        return samples

    def scores(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Return class probabilities `(clips, labels)` of sample arrays at the encoder's sampling rate."""
        found = list(self._answers(clips, lambda position, samples: samples, None))
        return np.stack(found) if found else np.empty((0, len(self.labels)))

    def _segment_scores(self, clips: list[np.ndarray]) -> np.ndarray:
        """Pass one batch through the model; of a batch that does not fit, each half."""
        import torch

        try:
            device = next(self.model.parameters()).device
            batch = self._collate([{"samples": samples} for samples in clips])
            with torch.inference_mode(), self._front_end.active():
                output = self.model(**{key: value.to(device) for key, value in batch.items()})
                scores: np.ndarray = output.logits.double().softmax(-1).cpu().numpy()
            return scores
        except torch.OutOfMemoryError:
            if len(clips) == 1:
                raise
        half = len(clips) // 2
        return np.concatenate([self._segment_scores(clips[:half]), self._segment_scores(clips[half:])])


class _UsageError(InputError):
    """What is wrong with the call rather than with one of its clips."""


def _name(audio: Any, other: str = "the audio") -> str:
    """Return what errors call a clip."""
    if isinstance(audio, dict):
        audio = audio.get("path") or other
    return str(audio) if isinstance(audio, str | Path) else other


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
