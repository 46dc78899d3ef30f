"""Fine-tuned models that return the scores of each label for audio in any form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.collate import Collator
from hf_ser.audio.segment import average_by_clip, segments
from hf_ser.errors import InputError, hub_errors, persistent
from hf_ser.inference.confidence import UNKNOWN, is_far, recorded_calibration, threshold_for, with_temperature
from hf_ser.inference.samples import UsageError, clip_name, samples_of
from hf_ser.inference.states import encode, pooled_states
from hf_ser.models.architectures import plain_model
from hf_ser.models.checkpoint import open_model
from hf_ser.models.group_norm import normalize_each_clip
from hf_ser.models.head import head_logits
from hf_ser.models.snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    import torch

    from hf_ser.inference.batches import Decoded


class Classifier:
    """A model with its labels and preprocessor; call it with audio.

    Args:
        model: A `*ForSequenceClassification` model or a PEFT model around one.
        feature_extractor: The encoder's preprocessor.
        segment_seconds: Longer clips are cut into segments of this length, whose scores are averaged.

    Attributes:
        labels: In the order of the scores.
        name: Folder or Hub id of the model; empty if it has none.
        record: Content of the `run.json` next to the model; empty if there is none.
        calibration: What validation data said of the model's confidence (`hf_ser.evaluation.calibration`), applied to
            every answer; empty for none.
        risk: Share of errors among the answered clips that is accepted; None answers every clip.
        coverage: Share of clips whose true label is to be among an answer's `labels`; None leaves them out.
    """

    def __init__(self, model: Any, feature_extractor: Any, *, segment_seconds: float = 10.0) -> None:
        normalize_each_clip(model)
        config = plain_model(model).config
        self.model = model.eval()
        self.feature_extractor = feature_extractor
        self.segment_seconds = segment_seconds
        self.sampling_rate = int(feature_extractor.sampling_rate)
        self.labels: tuple[str, ...] = tuple(config.id2label[index] for index in range(config.num_labels))
        self.name = str(getattr(config, "name_or_path", ""))
        self.record: Mapping[str, Any] = {}
        self.calibration: Mapping[str, Any] = {}
        self.risk: float | None = None
        self.coverage: float | None = None
        self._layers = bool(getattr(config, "use_weighted_layer_sum", False))
        self._collate = Collator(feature_extractor, config, training=False)

    def __repr__(self) -> str:
        """Return a line for notebooks."""
        kind = type(plain_model(self.model)).__name__
        return f"Classifier({self.name or kind!r}, labels: {', '.join(self.labels)}, device: {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        found: torch.device = next(self.model.parameters()).device
        return found

    def __call__(self, audio: Any, *, sampling_rate: int | None = None) -> dict[str, Any]:
        """Classify one clip; for many, `predict` is several times as fast.

        Args:
            audio: A path, the bytes of a file, samples `(samples,)`, `{"array", "sampling_rate"}` or
                `{"bytes", "path"}`. Samples are floats in [-1, 1], or int8, int16, int32 or uint8, which are scaled.
            sampling_rate: Of the samples, in hertz; required for samples.

        Returns:
            `{"label": ..., "scores": {label: probability}}`. A calibrated model adds `far`, whether the audio is unlike
            its validation data; with `risk`, the label is "unknown" where it abstains; with `coverage`, `labels` are
            those that reach it.

        Raises:
            InputError: The audio cannot be read or is silent, or the model returns scores that are not finite.
        """
        if isinstance(audio, list | tuple) and not all(isinstance(value, int | float) for value in audio):
            raise InputError("a classifier is called with one clip; use its method predict for many")
        name = clip_name(audio, "the audio")
        scores = self.outputs([samples_of(audio, sampling_rate, self.sampling_rate, name)])[0]
        if fault := _fault(name, scores):
            raise fault
        return self._named(scores)

    def predict(
        self,
        clips: Iterable[Any],
        *,
        sampling_rate: int | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> list[dict[str, Any]]:
        """Classify many clips in batches of similar lengths; clips are decoded while the model works.

        Batching never changes a prediction (by more than 1e-5). A clip that cannot be read gets an error; the others
        get their scores.

        Args:
            clips: Each as for a call; any iterable, such as a generator or a column of a data set.
            sampling_rate: Of those clips that are samples, in hertz.
            batch_size: Maximum number of segments per batch; None chooses by the device.
            progress: Whether to show a progress bar.

        Returns:
            For each clip, in order, the result of a call or `{"error": "one line"}`.

        Raises:
            InputError: `batch_size` is below 1, or samples are given without `sampling_rate`.
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
        """Yield the results of `predict` in bounded memory, however many clips there are; arguments as there."""
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; give at least 1, or leave it out")
        if isinstance(clips, str | bytes | Path):
            raise InputError("predict takes many clips; call the classifier itself for one, or give a list")
        return self._stream(clips, sampling_rate, batch_size, progress)

    def _stream(
        self, clips: Iterable[Any], sampling_rate: int | None, batch_size: int | None, progress: bool
    ) -> Iterator[dict[str, Any]]:
        from tqdm.auto import tqdm

        from hf_ser.inference.batches import windows

        def read(position: int, audio: Any) -> Decoded:
            name = clip_name(audio, f"clip {position}")
            try:
                return name, samples_of(audio, sampling_rate, self.sampling_rate, name)
            except UsageError:
                raise
            except InputError as error:
                return name, error

        def score(window: list[NDArray[np.float32]]) -> NDArray[np.float64]:
            return self.outputs(window, batch_size)

        total = len(clips) if isinstance(clips, Sized) else None
        with tqdm(total=total, desc="predict", unit="clip", disable=not progress) as bar:
            for name, result in windows(clips, read, score, self.sampling_rate):
                bar.update()
                error = result if isinstance(result, InputError) else _fault(name, result)
                yield {"error": str(error)} if isinstance(result, InputError) or error else self._named(result)

    def outputs(self, clips: Sequence[NDArray[np.float32]], batch_size: int | None = None) -> NDArray[np.float64]:
        """Return each label's probability before calibration, then the features that enter the head.

        `clips` are samples `(samples,)` at the model's rate; both are means over a clip's segments, `(clips, labels +
        hidden)`. Of a head that reads several layers, the features are the mean over them.
        """
        maximum = round(self.segment_seconds * self.sampling_rate)
        pieces = [
            (owner, clip[start:stop])
            for owner, clip in enumerate(clips)
            for start, stop in segments(len(clip), maximum)
        ]
        # Batches of a given size hold similar lengths; otherwise `encode` forms the batches.
        pieces.sort(key=lambda piece: -len(piece[1]))
        size = batch_size or len(pieces) or 1
        states = [
            state
            for first in range(0, len(pieces), size)
            for state in encode(
                self.model, self._collate, [clip for _, clip in pieces[first : first + size]], layers=self._layers
            )
        ]
        found = self._head(np.stack(states)) if states else np.empty((0, len(self.labels)))
        return average_by_clip(found, np.array([owner for owner, _ in pieces], dtype=np.int64), len(clips))

    def _head(self, states: NDArray[np.float32]) -> NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            # In parts: the states of all layers of many clips may not fit next to the model.
            tensors = (torch.from_numpy(states[first : first + 1024]).clone() for first in range(0, len(states), 1024))
            parts = [head_logits(self.model, part.to(self.device)).double().cpu() for part in tensors]
            probabilities: NDArray[np.float64] = torch.cat(parts).softmax(-1).numpy()
        features = states.reshape(len(states), -1, states.shape[-1]).mean(axis=1)
        return np.concatenate([probabilities, features], axis=1)

    def _named(self, output: NDArray[np.float64]) -> dict[str, Any]:
        scores = with_temperature(output[: len(self.labels)], self.calibration.get("temperature", 1))
        named = {label: float(score) for label, score in zip(self.labels, scores, strict=True)}
        answer: dict[str, Any] = {"label": self.labels[int(scores.argmax())], "scores": named}
        if (least := threshold_for(self.calibration, "risk", self.risk)) is not None and scores.max() < least:
            answer["label"] = UNKNOWN
        if (least := threshold_for(self.calibration, "coverage", self.coverage)) is not None:
            answer["labels"] = [label for label, score in named.items() if score >= least]
        if self.calibration:
            answer["far"] = bool(is_far(output[len(self.labels) :], self.calibration))
        return answer


def _fault(name: str, scores: NDArray[np.float64]) -> InputError | None:
    if np.isfinite(scores).all():
        return None
    return InputError(
        f"{name}: the model returns scores that are not finite numbers; check the level of the audio and the weights "
        "of the model"
    )


def load(
    name: str | Path,
    *,
    segment_seconds: float | None = None,
    base: str | Path | None = None,
    device: str | torch.device | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    calibrated: bool = True,
    risk: float | None = None,
    coverage: float | None = None,
) -> Classifier:
    """Open a fine-tuned model or adapter from a folder or the Hub, with its labels and preprocessor.

    All files are read at one commit. Once loaded, a model from the Hub loads again offline (also with
    HF_HUB_OFFLINE=1), including the base model of an adapter.

    Args:
        name: The output folder of `finetune`, or the Hub id of a checkpoint, an adapter or a merged adapter.
        segment_seconds: Longer clips are cut into segments of this length, whose scores are averaged; None takes the
            length that the model was trained with, or 10 s if no `run.json` next to the model records it.
        base: Folder or Hub id of the base model of an adapter; None takes the one that the adapter names.
        device: Such as "cpu" or "cuda:1"; None is a GPU if there is one.
        revision: Branch, tag or commit on the Hub; None is the main branch. The base model of an adapter is read at
            the commit that `adapter_config.json` names.
        token: Token for the Hub; None takes the one of `hf auth login` or HF_TOKEN, False none.
        cache_dir: Folder for downloaded files; None is the Hugging Face cache.
        calibrated: Whether to apply the calibration that the `run.json` next to the model records.
        risk: Answer "unknown" below the confidence at which this share of the answers on validation data was wrong:
            0.01 to 0.50.
        coverage: Add to each answer the `labels` that contained the true one for this share of the validation clips:
            0.50 to 0.99.

    Returns:
        A classifier to call with a path, bytes or samples.

    Raises:
        InputError: There is no such model or revision, it is private or gated, the Hub cannot be reached and the
            files are not cached, the base model is missing, or there is no trained head.

    Example:
        >>> load("no/such/folder")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: model 'no/such/folder': ...
    """
    import torch

    snapshot = open_snapshot(name, weights=False, revision=revision, token=token, cache_dir=cache_dir)
    model, feature_extractor = open_model(name, base=base, revision=snapshot.commit, token=token, cache_dir=cache_dir)
    record = _run_record(snapshot, {"token": token, "cache_dir": cache_dir})
    if segment_seconds is None:
        segment_seconds = _recorded_seconds(record)
    classifier = Classifier(
        model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        feature_extractor,
        segment_seconds=segment_seconds,
    )
    classifier.name, classifier.record = str(name), record
    if calibrated:
        classifier.calibration = recorded_calibration(record, plain_model(model).config.hidden_size)
    for kind, wanted in (("risk", risk), ("coverage", coverage)):
        threshold_for(classifier.calibration, kind, wanted)
    classifier.risk, classifier.coverage = risk, coverage
    return classifier


def _run_record(snapshot: Snapshot, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the content of the run.json beside a model, which may be anybody's; empty without one."""
    if snapshot.commit is not None:
        from huggingface_hub import snapshot_download

        wanted = {"revision": snapshot.commit, "allow_patterns": ["run.json"], **options}
        with hub_errors(f"model '{snapshot.name}'"):
            persistent(lambda: snapshot_download(snapshot.name, **wanted))
    try:
        record = json.loads((snapshot.folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _recorded_seconds(record: Mapping[str, Any]) -> float:
    recipe = record.get("recipe")
    seconds = recipe.get("segment_seconds") if isinstance(recipe, dict) else None
    # Runs of earlier releases record it next to the recipe.
    seconds = record.get("segment_seconds", 10.0) if seconds is None else seconds
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or not 0 < seconds <= 600:
        raise InputError(f"run.json next to the model has segment_seconds {seconds!r}; pass segment_seconds yourself")
    return float(seconds)


def part_outputs(classifier: Classifier, rows: Any) -> NDArray[np.float64]:
    """Return `Classifier.outputs` of the rows of a `Source`; repeating it gives the same bits.

    Decoded audio and the features that enter the head are kept in the cache folder, as in training.
    """
    from hf_ser.audio.clips import Segments

    items = Segments(rows, sampling_rate=classifier.sampling_rate, segment_seconds=classifier.segment_seconds)
    states = pooled_states(
        classifier.model, classifier.feature_extractor, items, layers=classifier._layers, description="Encoding clips"
    )
    return average_by_clip(classifier._head(states), items.clip_index, len(rows))
