"""Pooled states of a frozen encoder: one vector per segment, computed once and kept between runs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hf_ser.audio.collate import Collator
from hf_ser.audio.kept import all_values, compute_once, digest_of
from hf_ser.models.architectures import encoder_weights, plain_model
from hf_ser.models.head import head_logits, pooled_inputs

if TYPE_CHECKING:
    from hf_ser.audio.clips import Segments

# Settings of training mode and of the head, and names; the states do not depend on them.
_IRRELEVANT = (
    *("dropout", "layerdrop", "mask_", "apply_spec_augment", "label", "classifier", "problem_type", "architectures"),
    *("name_or_path", "_version", "dtype", "use_cache"),
)
_SEGMENTS_AT_ONCE = 512


def pooled_states(
    model: Any,
    feature_extractor: Any,
    segments: Segments,
    *,
    layers: bool = False,
    epoch: int | None = None,
    description: str = "",
) -> NDArray[np.float32]:
    """Return the features that enter the head, averaged over the frames of each segment, in the order of `segments`.

    The encoder runs in evaluation mode and without gradients, on the model's device; batching never changes a
    segment's features by more than rounding. They are kept in the folder of `hf_ser.files.cache_folder`, under a
    fingerprint of the encoder's weights, its settings, the preprocessor and the audio, and read from there next time.

    Returns:
        `(segments, hidden)`; with `layers`, of every layer, `(segments, layers + 1, hidden)`. `epoch` says whose
        augmentation is applied; None takes the audio as it is.
    """
    hidden = (int(plain_model(model).config.hidden_size),)
    shape = (int(plain_model(model).config.num_hidden_layers) + 1, *hidden) if layers else hidden
    if not len(segments):
        return np.empty((0, *shape), dtype=np.float32)
    order = np.argsort(-np.asarray(segments.lengths), kind="stable")
    collate = Collator(feature_extractor, plain_model(model).config, training=False)

    def compute(rows: list[int]) -> list[NDArray[np.float32]]:
        indices = [int(order[row]) for row in rows]
        items = [segments[index if epoch is None else (epoch, index)] for index in indices]
        return encode(model, collate, [item["samples"] for item in items], layers=layers)

    with _evaluating(model):
        kept = compute_once(
            compute,
            [segments.keys[index] for index in order],
            folder="states",
            fingerprint=_fingerprint(model, feature_extractor, segments.epoch_key(epoch), layers),
            batch_size=_SEGMENTS_AT_ONCE,
            description=description or "Encoding clips (frozen encoder)",
        )
    states = np.empty((len(segments), *shape), dtype=np.float32)
    states[order] = all_values(kept).reshape(states.shape)
    return states


def encode(
    model: Any, collate: Collator, clips: Sequence[NDArray[np.float32]], *, layers: bool = False
) -> list[NDArray[np.float32]]:
    """Return the pooled features of clips `(samples,)`, for a model in evaluation mode.

    A processor computes several small batches side by side, one per core; an accelerator one large batch at a time.
    """
    first = next(model.parameters())
    workers = min(torch.get_num_threads(), _MOST_WORKERS) if first.device.type == "cpu" else 1
    seconds = _SECONDS_PER_BATCH["cpu" if first.device.type == "cpu" else "accelerator"]
    batches = _batches([len(clip) for clip in clips], round(seconds * collate.sampling_rate))

    def run(batch: list[int]) -> NDArray[np.float32]:
        try:
            inputs = collate([{"samples": clips[index]} for index in batch])
            with torch.no_grad():
                moved = {
                    name: values.to(first.device, first.dtype if values.is_floating_point() else None)
                    for name, values in inputs.items()
                }
                result: NDArray[np.float32] = pooled_inputs(model, moved, layers=layers).float().cpu().numpy()
            return result
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        half = len(batch) // 2
        return np.concatenate([run(batch[:half]), run(batch[half:])])

    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(clips)
    with _one_thread_each(workers), ThreadPoolExecutor(workers) as pool:
        for batch, states in zip(batches, pool.map(run, batches), strict=True):
            for index, state in zip(batch, states, strict=True):
                found[index] = state
    return found


_MOST_WORKERS = 8
_SECONDS_PER_BATCH = {"cpu": 12.0, "accelerator": 160.0}
"""Seconds of audio per batch, padding included; a processor is fastest on batches that stay in its cache."""


def _batches(lengths: Sequence[int], samples: int) -> list[list[int]]:
    """Return batches of like lengths, the longest first, each of at most `samples` with padding, or of one clip."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= samples:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


class _Threads:
    lock = threading.Lock()
    users = 0
    before = 1


@contextmanager
def _one_thread_each(workers: int) -> Iterator[None]:
    """Divide torch's threads among the workers: two workers of one thread each beat one of two threads."""
    with _Threads.lock:
        if not _Threads.users:
            _Threads.before = torch.get_num_threads()
            torch.set_num_threads(max(1, _Threads.before // workers))
        _Threads.users += 1
    try:
        yield
    finally:
        with _Threads.lock:
            _Threads.users -= 1
            if not _Threads.users:
                torch.set_num_threads(_Threads.before)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Put the model into evaluation mode, in full precision, and leave torch's generator as it was.

    Freezing does not switch dropout off, and some releases of `transformers` draw for LayerDrop in any mode.
    """
    modes = [(module, module.training) for module in model.modules() if module.training]
    tf32 = torch.backends.cudnn.allow_tf32
    model.eval()
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
        for module, mode in modes:
            module.training = mode


def _fingerprint(model: Any, feature_extractor: Any, epoch_key: str, layers: bool) -> str:
    base = plain_model(model)
    settings = {
        key: value for key, value in base.config.to_dict().items() if not any(word in key for word in _IRRELEVANT)
    }
    digest = hashlib.sha256()
    for name, tensor in encoder_weights(model, layer_weights=not layers):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest_of(
        type(base).__name__,
        settings,
        feature_extractor.to_dict(),
        digest.hexdigest(),
        layers,
        epoch_key,
        version("transformers"),
    )


class HeadOnly(nn.Module):
    """The head of a model alone, to train on pooled features; its parameters are the model's own.

    Trainer visits every module several times per step, which for a whole encoder takes longer than such a step.
    """

    # The loss is a plain mean over the batch; Trainer would divide it once more.
    accepts_loss_kwargs = False

    def __init__(self, model: Any) -> None:
        super().__init__()
        base = plain_model(model)
        self.config = base.config
        self.projector, self.classifier = base.projector, base.classifier
        if hasattr(base, "layer_weights") and base.layer_weights.requires_grad:
            self.layer_weights = base.layer_weights

    def forward(self, states: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Return `logits` `(batch, labels)` and, given labels `(batch,)`, their mean cross-entropy `loss`."""
        logits = head_logits(self, states)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


IGNORED_LABEL = -100  # `torch` leaves a clip with this label out of the loss, `transformers` out of its mean


class FrozenStates(torch.utils.data.Dataset[dict[str, Any]]):
    """Pooled states in place of the segments; `states` returns them for a view of the audio (None: not augmented).

    `targets` `(segments, labels)` are given with the labels, in training.
    """

    def __init__(
        self,
        states: Callable[[int | None], NDArray[np.float32]],
        labels: Any,
        augmentation: Any,
        targets: NDArray[np.float32] | None = None,
    ) -> None:
        self._states, self._labels, self._augmentation = states, np.asarray(labels), augmentation
        self._targets = targets
        self._matrices: dict[int | None, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> dict[str, torch.Tensor]:
        """Return a whole batch, as reading row by row would dominate a step: `states` `(batch, ...)` and `labels`."""
        pairs = [key if isinstance(key, tuple) else (None, key) for key in keys]
        epoch, index = pairs[0][0], np.array([pair[1] for pair in pairs])
        rows = np.where(index < 0, ~index, index)
        labels = np.where(index < 0, IGNORED_LABEL, self._labels[rows])
        # Torch takes the rows: its memory is aligned, by which a matrix product may round.
        states = torch.from_numpy(self.matrix(epoch))[torch.from_numpy(rows)]
        batch = {"states": states, "labels": torch.from_numpy(labels)}
        if self._targets is not None:
            batch["targets"] = torch.from_numpy(self._targets[rows] * (index >= 0)[:, None])
        return batch

    def matrix(self, epoch: int | None = None) -> NDArray[np.float32]:
        """Return the states of all segments in an epoch, or without augmentation, encoded at the first call."""
        view = None if epoch is None or self._augmentation is None else self._augmentation.view(epoch)
        if view not in self._matrices:
            if view is not None and self._augmentation.views is None:
                # Each epoch augments anew, and no state is used again.
                self._matrices.clear()
            self._matrices[view] = self._states(view)
        return self._matrices[view]
