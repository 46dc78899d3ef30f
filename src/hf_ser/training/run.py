"""The steps of one run, in order, and what it writes at the end."""

from __future__ import annotations

import csv
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import EarlyStoppingCallback

from hf_ser._version import __version__
from hf_ser.cache import CacheFolder
from hf_ser.evaluation.plots import plot_confusion
from hf_ser.evaluation.report import evaluate_scores, render_report
from hf_ser.hub.card import render_model_card
from hf_ser.models.checkpoint import resolved_revision, save_model
from hf_ser.models.head import plain_model
from hf_ser.training.arguments import planned_epochs
from hf_ser.training.folder import OutputFolder, write_json
from hf_ser.training.frozen import FrozenPasses
from hf_ser.training.items import ClipItems, store_samples
from hf_ser.training.processes import share_of
from hf_ser.training.records import describe_parts, hardware, peak_memory_bytes, versions
from hf_ser.training.scoring import Collators, ValidationMetrics, balanced_weights, clip_scores
from hf_ser.training.setup import Prepared, open_for_training, prepare_model
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
        prepared = open_for_training(self.model_name, source.labels, chosen, arguments.seed, self.options)
        sampling_rate = int(prepared.feature_extractor.sampling_rate)
        share, progress = share_of(arguments), not arguments.disable_tqdm
        samples = None
        if self.samples is not None:
            with self._clock("decoding"):
                parts = source.parts.values()
                samples = store_samples(parts, sampling_rate, self.samples, share=share, progress=progress)
        clips = {
            part: ClipItems(
                rows,
                segment_seconds=self.settings["segment_seconds"],
                sampling_rate=sampling_rate,
                augmentation=augmentation if part == "train" else None,
                seed=arguments.seed,
                store=samples,
            )
            for part, rows in source.parts.items()
        }
        checkpoint = self.folder.last_checkpoint() if self.folder.resume else None
        passes = FrozenPasses(
            prepared.feature_extractor,
            prepared.model.config,
            own=CacheFolder(self.folder.checkpoints / "frozen", gigabytes=1e6),
            shared=self.features,
            batch_size=arguments.per_device_eval_batch_size,
            workers=arguments.dataloader_num_workers,
            share=share,
            progress=progress,
            epochs=planned_epochs(arguments, len(clips["train"])),
        )
        with self._clock("preparation"):
            items = prepare_model(
                prepared, chosen, clips, passes, seed=arguments.seed, device=arguments.device, checkpoint=checkpoint
            )
        if prepared.evaluation_batch_size is not None:
            logger.info("this encoder's output depends on padding: clips are evaluated one by one")
            arguments.per_device_eval_batch_size = prepared.evaluation_batch_size
        trainer = EmotionTrainer(
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
        with self._clock("training"):
            outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        with self._clock("evaluation"):
            scores = {
                part: clip_scores(trainer, items[part], len(source.parts[part])) for part in ("validation", "test")
            }
        metrics = self._metrics(scores)
        run = self._record(trainer, prepared, outcome.training_loss)
        if arguments.should_save:
            shutil.rmtree(passes.own.root, ignore_errors=True)
            with self.folder.results(keep_checkpoints=keep_checkpoints) as staged:
                save_model(trainer.emotion_model, staged, prepared.feature_extractor)
                self._write(staged, metrics, run, scores["test"])
        return metrics, run

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
        (staged / "README.md").write_text(render_model_card(run, metrics))
        write_json(staged / "run.json", run)

    def _record(self, trainer: Any, prepared: Prepared, training_loss: float) -> dict[str, Any]:
        evaluations = [entry for entry in trainer.state.log_history if "eval_uar" in entry]
        best = max(evaluations, key=lambda entry: entry["eval_uar"])
        base = plain_model(trainer.emotion_model)
        arguments, source = self.arguments, self.source
        return {
            "hf_ser": __version__,
            "model": {
                "name": self.model_name,
                "local": Path(self.model_name).is_dir(),
                "revision": resolved_revision(self.model_name, self.options),
                "architecture": type(base).__name__,
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
            "seconds": {**self.seconds, "total": round(sum(self.seconds.values()), 3)},
            "steps": trainer.state.global_step,
            **trainer.input_share.as_dict(),
            "training_loss": training_loss,
            "peak_memory_bytes": peak_memory_bytes(),
            "best": {"step": best["step"], "epoch": best["epoch"], "validation_uar": best["eval_uar"]},
            "history": [{key.removeprefix("eval_"): entry[key] for key in _HISTORY} for entry in evaluations],
            "resumed": self.folder.resume,
        }


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
