"""The Trainer of a run whose clips arrive while it goes on."""

from __future__ import annotations

from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import EvalPrediction
from transformers.trainer_utils import EvalLoopOutput

from hf_ser import processes
from hf_ser.models.head import pooled_inputs
from hf_ser.models.rewrites import FrontEnd
from hf_ser.training.sharded import ShardedTrainer
from hf_ser.training.streaming import StreamedClips, StreamLoader, stream_loader
from hf_ser.training.trainer import EmotionTrainer

__all__ = ["StreamedShardedTrainer", "StreamedTrainer", "streamed_features"]


class _Streamed:
    """What differs where the items are `StreamedClips`; stands before `EmotionTrainer` in a class's bases."""

    args: Any
    model: Any
    train_dataset: Any
    eval_dataset: Any
    data_collator: Any
    compute_metrics: Any
    callback_handler: Any
    state: Any
    _train_batch_size: int
    control: Any

    def _loader(self, items: StreamedClips, batch_size: int, seed: int | None) -> StreamLoader:
        arguments = self.args
        return stream_loader(
            items,
            self.data_collator,
            batch_size,
            seed=seed,
            num_workers=arguments.dataloader_num_workers,
            pin_memory=arguments.dataloader_pin_memory,
            prefetch_factor=arguments.dataloader_prefetch_factor,
        )

    def get_train_dataloader(self) -> StreamLoader:
        """Return the loader of this process's training batches."""
        arguments = self.args
        seed = arguments.seed if arguments.data_seed is None else arguments.data_seed
        loader = self._loader(self.train_dataset, self._train_batch_size, seed)
        self._training_batches = loader.batch_sampler
        return loader

    def get_eval_dataloader(self, eval_dataset: Any = None) -> StreamLoader:
        """Return the loader of this process's share of an evaluation, in the files' order."""
        items = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._loader(items, self.args.eval_batch_size, None)

    def get_test_dataloader(self, test_dataset: Any) -> StreamLoader:
        """Return the loader of this process's share of a prediction, in the files' order."""
        return self.get_eval_dataloader(test_dataset)

    def _init_training_state(self, *arguments: Any, **options: Any) -> tuple[int, int]:
        epochs, steps = super()._init_training_state(*arguments, **options)  # type: ignore[misc]
        if not self.args.ignore_data_skip:
            # Trainer passes over these batches by asking for them.
            self._training_batches.unread = steps
        return epochs, steps

    def evaluation_loop(
        self,
        dataloader: StreamLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Pass each process's share through the model, and bring the logits of all together."""
        items: Any = dataloader.dataset
        self.model.eval()
        self.callback_handler.eval_dataloader = dataloader
        places, logits, loss = [], [], 0.0
        for batch in dataloader:
            found = batch.pop("items")
            real = batch.pop("counts") > 0
            measured, predicted, _ = self.prediction_step(  # type: ignore[attr-defined]
                self.model, batch, False, ignore_keys=ignore_keys
            )
            if real.any():
                places.append(found[real])
                logits.append(predicted.float().cpu()[real])
                loss += float(measured) * int(real.sum())
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        predictions = processes.merge_rows(_joined(places, torch.int64), _joined(logits), len(items)).numpy()
        metrics: dict[str, Any] = {}
        if self.compute_metrics is not None:
            metrics = dict(self.compute_metrics(EvalPrediction(predictions=predictions, label_ids=items.labels)))
        metrics["loss"] = sum(processes.gather(loss)) / max(1, len(items))
        named = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=predictions, label_ids=items.labels, metrics=named, num_samples=len(items))


class StreamedTrainer(_Streamed, EmotionTrainer):
    """An `EmotionTrainer` on `StreamedClips`."""


class StreamedShardedTrainer(_Streamed, ShardedTrainer):
    """A `ShardedTrainer` on `StreamedClips`."""


def streamed_features(
    model: Any,
    items: StreamedClips,
    collate: Any,
    *,
    batch_size: int,
    workers: int,
    description: str,
    progress: bool,
) -> torch.Tensor:
    """Pass streamed segments through the encoder once, each process its share, and pool their frames.

    Returns:
        Features `(segments, hidden)`, float32, on the CPU of every process.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    places, features = [], []
    bar = tqdm(total=len(items), desc=description, unit="clip", disable=not progress or not processes.is_first())
    with torch.inference_mode(), FrontEnd(model).active(), pooled_inputs(model), bar:
        for batch in stream_loader(items, collate, batch_size, seed=None, num_workers=workers):
            found = batch.pop("items")
            real = batch.pop("counts") > 0
            del batch["labels"]
            if real.any():
                pooled = model(**{name: tensor.to(device) for name, tensor in batch.items()}).logits
                places.append(found[real])
                features.append(pooled.float().cpu()[real])
                bar.update(int(real.sum()) * processes.count())
    model.train(was_training)
    return processes.merge_rows(_joined(places, torch.int64), _joined(features), len(items)).clone()


def _joined(parts: list[torch.Tensor], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.cat(parts) if parts else torch.empty(0, dtype=dtype)
