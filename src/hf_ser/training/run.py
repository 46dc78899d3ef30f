"""One run: open, prepare, train, save, evaluate, write."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from accelerate.utils.memory import should_reduce_batch_size
from datasets import disable_progress_bars
from transformers import PrinterCallback, ProgressCallback

from hf_ser.audio.clips import Segments
from hf_ser.audio.collate import Collator
from hf_ser.environment import peak_memory_bytes
from hf_ser.errors import InputError
from hf_ser.evaluation.calibration import calibrate
from hf_ser.evaluation.evaluate import assess
from hf_ser.evaluation.judged import judge
from hf_ser.files import write_json, write_text
from hf_ser.hub.card import render_model_card
from hf_ser.inference.classifier import load
from hf_ser.inference.states import FrozenStates, HeadOnly, pooled_states
from hf_ser.models.adapting import drops_layers, freeze_unused
from hf_ser.models.architectures import plain_model
from hf_ser.models.checkpoint import merge, save_model
from hf_ser.models.encoders import encoder_config, open_encoder, open_feature_extractor
from hf_ser.models.head import weighted_sum
from hf_ser.models.loading import quiet_loading
from hf_ser.models.probe import PROBE, probe_difference, probe_logits
from hf_ser.models.recipe import RECIPE_ARGUMENTS
from hf_ser.models.snapshot import open_snapshot
from hf_ser.models.start import adapt_and_check, start_of, trains_layer_weights
from hf_ser.training.batches import Collators, TrainingClips, label_shares, soft_targets
from hf_ser.training.callbacks import ProgressBar, PushSaves, callbacks_of
from hf_ser.training.folder import START, OutputFolder, newest_checkpoint
from hf_ser.training.records import closing, facts_before, plan, record_after, warn_of_small_validation
from hf_ser.training.trainer import EmotionTrainer

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from hf_ser.audio.augment import Augmentation
    from hf_ser.dataset.source import Source
    from hf_ser.models.recipes import Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What `finetune` was asked to do; `settings` are what defines the run, the others its arguments."""

    model_name: str
    revision: str | None
    source: Source
    chosen: Recipe
    arguments: TrainingArguments
    augmentation: Augmentation | None
    settings: Mapping[str, Any]
    push_to: str | None = None

    @property
    def checkpoints(self) -> Path:
        """Where the Trainer saves."""
        return Path(str(self.arguments.output_dir))


@dataclass(slots=True)
class Prepared:
    """A model that is ready to train: `trained` is what the Trainer trains of it, and `items` what it reads."""

    model: Any
    feature_extractor: Any
    revision: str | None
    head: dict[str, Any]
    facts: dict[str, Any]
    segments: dict[str, Segments]
    collators: Collators
    trained: Any = None
    items: dict[str, Any] = field(default_factory=dict)


def execute(job: Job, folder: OutputFolder | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Do the job; return the contents of `metrics.json` and `run.json`. Only the main process has the folder."""
    state, seconds = PartialState(), dict[str, float]()
    with contextlib.nullcontext() if folder is None else folder.claimed(job.settings):
        state.wait_for_everyone()
        if not job.checkpoints.is_dir():
            raise InputError(f"process {state.process_index} does not see '{job.checkpoints}'; use a shared disk")
        prepared, stages = None, list[dict[str, Any]]()
        for stage in _stages(job):
            with _clock(seconds, "preparation"):
                prepared = _prepare(stage, prepared)
            facts = facts_before(stage, prepared) | {"recipe": job.chosen.as_dict()}
            if folder is not None:
                warn_of_small_validation(job.source)
                training = len(prepared.segments["train"])
                logger.info("%s", plan(job.source, facts, stage.chosen, stage.arguments, training))
            trainer = _trainer(stage, prepared)
            with _clock(seconds, "training"):
                loss, stopped = _train(stage, trainer, prepared, facts)
            state.wait_for_everyone()
            stages.append(record_after(trainer, facts, loss, stopped, resumed=folder is not None and folder.resume))
        results: list[Any] = [None, None]
        if folder is not None and prepared is not None:
            run = stages[-1]
            if job.chosen.stages:
                prepared.model = merge(prepared.model)
                run["model"]["saved"] = "checkpoint"
                run["stages"] = [
                    {key: it[key] for key in ("steps", "stopped", "best", "history")} for it in stages[:-1]
                ]
            with folder.results() as staged:
                results = list(_finish(job, prepared, run, seconds, folder.path, staged))
            logger.info("%s", closing(results[1], results[0], folder.path))
        broadcast_object_list(results)
    return results[0], results[1]


@contextlib.contextmanager
def _clock(seconds: dict[str, float], step: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[step] = round(seconds.get(step, 0.0) + time.perf_counter() - begin, 3)


def _stages(job: Job) -> list[Job]:
    """Return the trainings of a job, each with its own checkpoints; of a recipe without stages, the job itself."""
    if not job.chosen.stages:
        return [job]
    found = []
    for place, (chosen, fields) in enumerate(zip(job.chosen.in_stages, job.chosen.stages, strict=True), start=1):
        arguments = copy.copy(job.arguments)
        arguments.output_dir = str(job.checkpoints / f"stage_{place}")
        Path(arguments.output_dir).mkdir(exist_ok=True)
        for name in RECIPE_ARGUMENTS.keys() & fields.keys():
            setattr(arguments, RECIPE_ARGUMENTS[name], fields[name])
        found.append(replace(job, chosen=chosen, arguments=arguments))
    return found


def _prepare(job: Job, before: Prepared | None) -> Prepared:
    """Open the encoder and the clips, or go on from the stage before; start the head, and apply the recipe."""
    arguments, chosen, state = job.arguments, job.chosen, PartialState()
    if arguments.disable_tqdm or not state.is_main_process:
        disable_progress_bars()
    # The other processes read what the main one has downloaded, decoded and encoded.
    with state.main_process_first():
        snapshot = open_snapshot(job.model_name, inspect=encoder_config, revision=job.revision)
        if before is None:
            settings: dict[str, Any] = {
                "settings": chosen.settings,
                "reuse_head": chosen.head_start != "noise" and chosen.layers != "best",
            }
            model, head = open_encoder(snapshot, job.source.labels, seed=arguments.seed, **settings)
        else:
            model, head = merge(before.model), {**before.head, "kept_labels": list(job.source.labels)}
        feature_extractor = open_feature_extractor(snapshot)
        vars(feature_extractor).update(chosen.preprocessing)
        model = model.to(arguments.device)
        segments = {
            part: Segments(
                rows,
                sampling_rate=int(feature_extractor.sampling_rate),
                segment_seconds=chosen.segment_seconds,
                augmentation=job.augmentation if part == "train" else None,
                seed=arguments.seed,
            )
            for part, rows in job.source.parts.items()
        }

        def pooled(part: str, layers: bool) -> Any:
            return _encode(model, feature_extractor, segments[part], part, None, layers), segments[part].labels

        statistics = start_of(model, chosen, pooled, head, job.checkpoints / START, arguments.seed)
    train = segments["train"]
    collators = Collators(*(Collator(feature_extractor, model.config, training=training) for training in (True, False)))
    shortest = collators.evaluation([train[int(index)] for index in np.argsort(train.lengths, kind="stable")[:8]])
    adapted, facts = adapt_and_check(model, chosen, statistics, shortest, arguments.seed)
    if state.num_processes > 1:
        freeze_unused(adapted)
        if arguments.ddp_find_unused_parameters is None:
            arguments.ddp_find_unused_parameters = drops_layers(adapted)
    prepared = Prepared(adapted, feature_extractor, snapshot.commit, head, facts, segments, collators)
    soft = soft_targets(job.source.parts["train"], job.source.labels) if chosen.label_scheme == "soft" else None
    targets = None if soft is None else soft[train.clip_index]
    if chosen.encoder_is_frozen:
        layers = trains_layer_weights(model, chosen)
        for part, augmentation in (("train", job.augmentation), ("validation", None)):
            encode = partial(_encode_in_turn, adapted, feature_extractor, segments[part], part, layers=layers)
            its_targets = targets if part == "train" else None
            prepared.items[part] = FrozenStates(encode, segments[part].labels, augmentation, its_targets)
        prepared.items["validation"].matrix()
        prepared.trained = HeadOnly(adapted)
    else:
        prepared.items = {"train": TrainingClips(train, targets), "validation": segments["validation"]}
        prepared.trained = adapted
    return prepared


def _encode(model: Any, extractor: Any, segments: Segments, part: str, view: int | None, layers: bool) -> Any:
    description, base = f"Encoding {part} clips (frozen encoder)", plain_model(model)
    # The states of all layers are kept whatever their weights are now: the search for a layer and evaluation read them.
    weighted = hasattr(base, "layer_weights")
    states = pooled_states(model, extractor, segments, layers=weighted, epoch=view, description=description)
    if layers or not weighted:
        return states
    return weighted_sum(base.layer_weights.detach().cpu(), torch.from_numpy(states)).numpy()


def _encode_in_turn(*arguments: Any, **options: Any) -> Any:
    with PartialState().main_process_first():
        return _encode(*arguments, **options)


def _trainer(job: Job, prepared: Prepared) -> EmotionTrainer:
    chosen, arguments, source = job.chosen, job.arguments, job.source
    train = prepared.segments["train"]
    trainer = EmotionTrainer(
        recipe=chosen,
        config=plain_model(prepared.model).config,
        # Frozen states are all of one size.
        lengths=[1] * len(train) if chosen.encoder_is_frozen else train.lengths,
        shares=label_shares(train.labels, len(source.labels)),
        clip_index=prepared.segments["validation"].clip_index,
        references=source.parts["validation"]["emotion"],
        model=prepared.trained,
        args=arguments,
        train_dataset=prepared.items["train"],
        eval_dataset=prepared.items["validation"],
        data_collator=prepared.collators,
        callbacks=callbacks_of(chosen),
    )
    # These print dictionaries to standard output, or draw at every step.
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if trainer.is_world_process_zero() and not arguments.disable_tqdm:
        trainer.add_callback(ProgressBar())
    return trainer


def _train(job: Job, trainer: EmotionTrainer, prepared: Prepared, facts: Mapping[str, Any]) -> tuple[float, str]:
    """Train, or continue from the newest checkpoint; return the training loss and why training ended."""
    arguments, state = job.arguments, trainer.state
    by_patience = f"no better validation UAR in {job.chosen.patience} evaluations"
    checkpoint = newest_checkpoint(job.checkpoints)
    ended = None if checkpoint is None else _ended(checkpoint, arguments, by_patience)
    if ended is not None:
        # Trainer would take one more step; without an epoch, it only loads the best checkpoint.
        arguments.max_steps, arguments.num_train_epochs = -1, 0
    pushing = None
    if job.push_to is not None and trainer.is_world_process_zero():
        pushing = PushSaves(job.push_to, facts, job.checkpoints, partial(_export, job, prepared))
        trainer.add_callback(pushing)
    try:
        with quiet_loading():
            outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        raise InputError(
            f"step {trainer.state.global_step + 1}: a batch of {arguments.per_device_train_batch_size} clips does not "
            "fit into memory; halve per_device_train_batch_size and double gradient_accumulation_steps, set "
            "gradient_checkpointing, or lower segment_seconds of the recipe"
        ) from error
    finally:
        if pushing is not None:
            pushing.finish()
    state = trainer.state
    if trainer.diverged_at is not None:
        ended = f"the loss or a score was not finite at step {trainer.diverged_at}"
        if state.best_model_checkpoint is None:
            raise InputError(
                f"{ended}, and there is no checkpoint from before; lower the learning rate (it is "
                f"{arguments.learning_rate:g}), or look for broken weights and clips"
            )
        ended += "; the best checkpoint before it is the result"
        logger.warning("%s", ended)
    if ended is None:
        ended = f"all {state.max_steps} steps are done" if state.global_step >= state.max_steps else by_patience
    return float(outcome.training_loss), ended


def _ended(checkpoint: Path, arguments: TrainingArguments, by_patience: str) -> str | None:
    """Return why the training had ended when a checkpoint was saved, or None if it had not."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    if state["global_step"] < state["max_steps"]:
        control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
        return by_patience if control.get("should_training_stop") else None
    # More steps or epochs may be given now.
    steps, epochs = arguments.max_steps, arguments.num_train_epochs
    more = steps > state["global_step"] if steps > 0 else epochs > state["epoch"]
    return None if more else f"all {state['max_steps']} steps are done"


def _export(job: Job, prepared: Prepared, directory: Path) -> list[list[float]]:
    """Save the model as others load it; return the logits of the model itself, which the files have to give."""
    logits = probe_logits(prepared.model, prepared.feature_extractor)
    if not all(math.isfinite(value) for row in logits for value in row):
        raise InputError("the trained model's logits are not finite numbers; lower the learning rate")
    with quiet_loading():
        save_model(prepared.model, directory, prepared.feature_extractor, job.model_name, prepared.revision)
    return logits


def _finish(
    job: Job, prepared: Prepared, run: dict[str, Any], seconds: dict[str, float], path: Path, staged: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Save the model, evaluate what was saved, and write the files of the run."""
    arguments, source = job.arguments, job.source
    logits = _export(job, prepared, staged)
    classifier = load(str(staged), segment_seconds=job.chosen.segment_seconds, device=str(arguments.device))
    difference = probe_difference(logits, probe_logits(classifier.model, classifier.feature_extractor))
    if not difference <= 1e-5:
        raise InputError(
            f"the saved model differs from the trained one by {difference:.1g} in its logits; its checkpoints are "
            f"kept in '{job.checkpoints}': please report this with the recipe"
        )
    # As `evaluate` on the finished folder finds them.
    classifier.name, classifier.record = str(path), run
    with _clock(seconds, "evaluation"):
        validation = judge(classifier, source, "validation", arguments.seed)
        # Before the test part is read: what it is answered with is fixed by validation alone.
        classifier.calibration = run["calibration"] = calibrate(validation)
        judged = {"validation": assess(validation), "test": assess(judge(classifier, source, "test", arguments.seed))}
    metrics = {"labels": list(source.labels)} | {part: dict(found.results[part]) for part, found in judged.items()}
    if run["model"]["saved"] == "adapter":
        run["model"]["base_digest"] = json.loads((staged / "config.json").read_text())["hf_ser_base_digest"]
    run["probe"] = {"clips": PROBE, "logits": logits}
    run["seconds"] = {**seconds, "total": round(sum(seconds.values()), 3)}
    run["peak_memory_bytes"] = peak_memory_bytes()
    replace(judged["test"], results=metrics).save(staged)
    # The facts of the evaluation are in run.json.
    (staged / "evaluation.json").unlink()
    write_text(staged / "README.md", render_model_card(run, metrics))
    write_json(staged / "run.json", run)
    return metrics, run
