"""The steps of one run, in order, and what it writes at the end."""

from __future__ import annotations

import csv
import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import EarlyStoppingCallback

from hf_ser import processes
from hf_ser._version import __version__
from hf_ser.cache import CacheFolder, Share
from hf_ser.dataset.stream import StreamedSource
from hf_ser.evaluation.plots import plot_confusion
from hf_ser.evaluation.report import evaluate_scores, render_report
from hf_ser.hub.card import render_model_card
from hf_ser.hub.card_merge import GENERATED_CARD
from hf_ser.models.checkpoint import name_base, save_model
from hf_ser.models.distributed import drops_trained_layers, freeze_bystanders
from hf_ser.models.head import fold, plain_model
from hf_ser.models.prefix import unwrapped
from hf_ser.models.probe import PROBE, probe_logits
from hf_ser.training.arguments import planned_epochs
from hf_ser.training.folder import OutputFolder, write_json
from hf_ser.training.frozen import FrozenPasses
from hf_ser.training.items import ClipItems, store_samples
from hf_ser.training.pushing import pushing_saves
from hf_ser.training.records import describe_parts, emissions, hardware, peak_memory_bytes, versions
from hf_ser.training.scoring import Collators, ValidationMetrics, balanced_weights, clip_scores
from hf_ser.training.setup import Prepared, open_for_training, prepare_model
from hf_ser.training.sharded import ShardedTrainer, require_shardable
from hf_ser.training.state import require_training_state
from hf_ser.training.streamed_trainer import StreamedShardedTrainer, StreamedTrainer
from hf_ser.training.streaming import StreamedClips
from hf_ser.training.trainer import EmotionTrainer

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from hf_ser.audio.augment import Augmentation
    from hf_ser.dataset.source import Source
    from hf_ser.models.recipes import Recipe

__all__ = ["Run"]

logger = logging.getLogger(__name__)

_HISTORY = ("step", "epoch", "eval_loss", "eval_uar", "eval_accuracy", "eval_f1_macro")


class Run:
    """One run, from an opened data set to a filled folder.

    Args:
        model_name: Folder or Hub id of the encoder.
        source: The data set.
        chosen: The recipe.
        arguments: The training arguments of `for_this_job`.
        folder: The claimed output folder.
        settings: What the folder wrote down of the run.
        options: Options of `from_pretrained`.
        features: Keeps what frozen parts make of clips, for other runs; None keeps nothing.
        samples: Keeps decoded clips; None decodes them whenever they are read.
        push_to: Repository that every save is pushed to; None for none.
    """

    def __init__(
        self,
        model_name: str,
        source: Source,
        chosen: Recipe,
        arguments: TrainingArguments,
        folder: OutputFolder,
        settings: dict[str, Any],
        options: dict[str, Any],
        features: CacheFolder | None = None,
        samples: CacheFolder | None = None,
        push_to: str | None = None,
    ) -> None:
        self.model_name = model_name
        self.source = source
        self.chosen = chosen
        self.arguments = arguments
        self.folder = folder
        self.settings = settings
        self.options = options
        self.features = features
        self.samples = samples
        self.push_to = push_to
        self.seconds: dict[str, float] = {}

    @contextmanager
    def _clock(self, step: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[step] = round(self.seconds.get(step, 0.0) + time.perf_counter() - begin, 3)

    def execute(
        self, augmentation: Augmentation | None, *, keep_checkpoints: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Prepare, train, evaluate and write; return the contents of `metrics.json` and `run.json`."""
        arguments, chosen, source = self.arguments, self.chosen, self.source
        patience = self.settings["patience"]
        with processes.first_of_node_first():
            prepared = open_for_training(self.model_name, source.labels, chosen, arguments.seed, self.options)
        clips = self._clips(prepared, augmentation)
        # The first process may have had to fetch the run to resume.
        arguments.distributed_state.wait_for_everyone()
        checkpoint = self.folder.last_checkpoint() if self.folder.resume else None
        if checkpoint is not None:
            require_training_state(checkpoint)
        is_sharded = require_shardable(arguments, chosen)
        passes = FrozenPasses(
            prepared.feature_extractor,
            prepared.model.config,
            own=CacheFolder(self.folder.checkpoints / "frozen", gigabytes=1e6),
            shared=self.features,
            batch_size=arguments.per_device_eval_batch_size,
            workers=arguments.dataloader_num_workers,
            share=Share.of_this_run(),
            progress=not arguments.disable_tqdm,
            epochs=planned_epochs(arguments, len(clips["train"])),
        )
        with self._clock("preparation"):
            items = prepare_model(
                prepared,
                chosen,
                clips,
                passes,
                seed=arguments.seed,
                device=arguments.device,
                checkpoint=checkpoint,
                is_sharded=is_sharded,
            )
            name_base(unwrapped(prepared.model), self.model_name, prepared.revision)
        if prepared.evaluation_batch_size is not None:
            logger.info("this encoder's output depends on padding: clips are evaluated one by one")
            arguments.per_device_eval_batch_size = prepared.evaluation_batch_size
        # A clip that cannot be read ends all processes here, before they count on each other in the training.
        processes.wait_for_all()
        if processes.count() > 1:
            freeze_bystanders(unwrapped(prepared.model))
            if arguments.ddp_find_unused_parameters is None:
                arguments.ddp_find_unused_parameters = drops_trained_layers(unwrapped(prepared.model))
        trainer = _trainer_class(is_sharded, isinstance(items["train"], StreamedClips))(
            recipe=chosen,
            label_weights=balanced_weights(clips["train"].labels, len(source.labels))
            if chosen.balance_labels
            else None,
            seconds_per_batch=self.settings["seconds_per_batch"],
            model=prepared.model,
            args=arguments,
            train_dataset=items["train"],
            eval_dataset=items["validation"],
            data_collator=Collators(prepared.collate_training, prepared.collate_evaluation),
            processing_class=prepared.feature_extractor,
            compute_metrics=ValidationMetrics(items["validation"].clip_index, source.parts["validation"]["emotion"]),
            callbacks=[] if patience is None else [EarlyStoppingCallback(early_stopping_patience=patience)],
        )
        facts = self._facts(prepared)
        with self._clock("training"), pushing_saves(self.push_to, trainer, facts, self.folder.checkpoints):
            outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        with self._clock("evaluation"):
            scores = {
                part: clip_scores(trainer, items[part], len(source.parts[part])) for part in ("validation", "test")
            }
        metrics = self._metrics(scores)
        # Trainer's figure is the loss of this process's clips.
        run = self._record(trainer, facts, float(np.mean(processes.gather(outcome.training_loss))))
        model = trainer.whole_model()
        if arguments.should_save:
            shutil.rmtree(passes.own.root, ignore_errors=True)
            with self.folder.results(keep_checkpoints=keep_checkpoints) as staged:
                # Nothing trains any more: from here on the model is what its files say.
                fold(model)
                save_model(model, staged, prepared.feature_extractor)
                logits = probe_logits(model, prepared.feature_extractor)
                # JSON knows no NaN; a model that answers it is kept for its owner to look into, and never pushed.
                finite = [[value if math.isfinite(value) else None for value in row] for row in logits]
                run["probe"] = {"clips": PROBE, "logits": finite}
                self._write(staged, metrics, run, scores["test"])
        return metrics, run

    def _clips(self, prepared: Prepared, augmentation: Augmentation | None) -> dict[str, Any]:
        """Return the segments of each part, decoded once into the store where there is one, or as they stream."""
        source, sampling_rate = self.source, int(prepared.feature_extractor.sampling_rate)
        read: Any = partial(StreamedClips, audio=source.audio) if isinstance(source, StreamedSource) else None
        if read is None:
            store = None
            if self.samples is not None:
                with self._clock("decoding"):
                    store = store_samples(
                        source.parts.values(),
                        sampling_rate,
                        self.samples,
                        share=Share.of_this_run(),
                        progress=not self.arguments.disable_tqdm,
                    )
            read = partial(ClipItems, store=store)
        return {
            part: read(
                rows,
                segment_seconds=self.settings["segment_seconds"],
                sampling_rate=sampling_rate,
                augmentation=augmentation if part == "train" else None,
                seed=self.arguments.seed,
            )
            for part, rows in source.parts.items()
        }

    def _metrics(self, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
        metrics: dict[str, Any] = {"labels": list(self.source.labels)}
        for part, values in scores.items():
            rows = self.source.parts[part]
            metrics[part] = evaluate_scores(
                values,
                np.asarray(rows["emotion"]),
                labels=self.source.labels,
                corpora=list(rows["corpus"]),
                speakers=list(rows["speaker"]),
                seed=self.arguments.seed,
            )
        return metrics

    def _write(self, staged: Path, metrics: dict[str, Any], run: dict[str, Any], scores: np.ndarray) -> None:
        write_json(staged / "metrics.json", metrics)
        _write_predictions(staged / "predictions.csv", self.source, scores)
        (staged / "report.md").write_text(render_report(run, metrics))
        title = f"{self.chosen.name}, {self.source.protocol}, test part"
        plot_confusion(metrics["test"]["pooled"]["confusion"], self.source.labels, staged / "confusion.png", title)
        card = render_model_card(run, metrics)
        (staged / "README.md").write_text(card)
        generated = staged / GENERATED_CARD
        generated.parent.mkdir()
        generated.write_text(card)
        write_json(staged / "run.json", run)

    def _facts(self, prepared: Prepared) -> dict[str, Any]:
        """Return what is known of the run before it trains."""
        arguments, source = self.arguments, self.source
        return {
            "hf_ser": __version__,
            "model": {
                "name": self.model_name,
                "local": Path(self.model_name).is_dir(),
                "revision": prepared.revision,
                # A model in shards is of a class made for it.
                "architecture": type(plain_model(unwrapped(prepared.model))).__name__.removeprefix("FSDP"),
                "saved": "adapter" if self.chosen.lora else "checkpoint",
                **prepared.facts,
            },
            "recipe": self.chosen.as_dict(),
            "head": prepared.head,
            "protocol": source.protocol,
            "labels": list(source.labels),
            "dataset": {
                "name": source.name,
                "local": Path(source.name).is_dir(),
                "synthetic": source.synthetic,
                "fingerprint": source.fingerprint,
                "clips": sum(len(rows) for rows in source.parts.values()),
                "left_out_of_training": dict(source.left_out),
                "parts": describe_parts(source),
                "proof": source.proof.as_dict(),
            },
            **{
                key: self.settings[key]
                for key in ("arguments", "augmentation", "segment_seconds", "seconds_per_batch", "patience")
            },
            "seeds": {
                "weights": arguments.seed,
                "order": arguments.seed if arguments.data_seed is None else arguments.data_seed,
                "augmentation": arguments.seed,
                "bootstrap": arguments.seed,
            },
            "versions": versions(),
            "hardware": hardware(),
        }

    def _record(self, trainer: Any, facts: dict[str, Any], training_loss: float) -> dict[str, Any]:
        evaluations = [entry for entry in trainer.state.log_history if "eval_uar" in entry]
        best = max(evaluations, key=lambda entry: entry["eval_uar"])
        measured = emissions(trainer.callback_handler.callbacks, resumed=self.folder.resume)
        return {
            **facts,
            "seconds": {**self.seconds, "total": round(sum(self.seconds.values()), 3)},
            "steps": trainer.state.global_step,
            **trainer.input_share.as_dict(),
            "step": trainer.step_record(),
            "training_loss": training_loss,
            "peak_memory_bytes": peak_memory_bytes(),
            **({} if measured is None else {"emissions": measured}),
            "best": {"step": best["step"], "epoch": best["epoch"], "validation_uar": best["eval_uar"]},
            "history": [{key.removeprefix("eval_"): entry[key] for key in _HISTORY} for entry in evaluations],
            "resumed": self.folder.resume,
        }


def _trainer_class(sharded: bool, streamed: bool) -> type[EmotionTrainer]:
    if streamed:
        return StreamedShardedTrainer if sharded else StreamedTrainer
    return ShardedTrainer if sharded else EmotionTrainer


def _write_predictions(file: Path, source: Source, scores: np.ndarray) -> None:
    """Write one line a test clip, so that any figure can be computed again."""
    rows = source.parts["test"]
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clip_id", "corpus", "speaker", "emotion", "predicted", *source.labels])
        columns = zip(rows["clip_id"], rows["corpus"], rows["speaker"], rows["emotion"], scores, strict=True)
        for clip_id, corpus, speaker, emotion, values in columns:
            predicted = source.labels[int(values.argmax())]
            shares = [f"{value:.6f}" for value in values]
            writer.writerow([clip_id, corpus, speaker, source.labels[emotion], predicted, *shares])
