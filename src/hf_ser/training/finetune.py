"""The main job."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser import processes
from hf_ser.audio.augment import Augmentation
from hf_ser.cache import CacheFolder
from hf_ser.dataset.source import open_source
from hf_ser.dataset.stream import open_stream
from hf_ser.errors import InputError
from hf_ser.models.recipes import Recipe
from hf_ser.models.recipes import recipe as find_recipe
from hf_ser.training.arguments import PAPER_ARGUMENTS, for_this_job, training_arguments
from hf_ser.training.folder import OutputFolder

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import TrainingArguments

    from hf_ser.hub.commits import Pushed

__all__ = ["FinetuneResult", "finetune"]


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """A finished run.

    Attributes:
        output_dir: Holds the model or adapter, labels, preprocessor, `metrics.json`, `predictions.csv`,
            `report.md`, `confusion.png`, `run.json` and the model card.
        metrics: What `metrics.json` holds.
        run: What `run.json` holds.
        pushed: What the last push of `push_to` did; None without it.
    """

    output_dir: Path
    metrics: Mapping[str, Any]
    run: Mapping[str, Any]
    pushed: Pushed | None = None

    @property
    def report(self) -> Mapping[str, Any]:
        """The pooled metrics of the test part: `uar`, `accuracy`, `f1`, `eer`, `intervals` and more."""
        pooled: Mapping[str, Any] = self.metrics["test"]["pooled"]
        return pooled

    def push_to_hub(self, repo_id: str, **options: Any) -> Pushed:
        """Put the run on the Hub.

        Args:
            repo_id: `USER/NAME`; the repository is made, private, where it does not exist.
            **options: Those of `hf_ser.push_to_hub`: `merged`, `private`, `revision`, `create_pr`, `base_model`,
                `token`.

        Raises:
            InputError: See `hf_ser.push_to_hub`.
        """
        from hf_ser.hub.push import push_to_hub

        return push_to_hub(self.output_dir, repo_id, **options)


@processes.together()
def finetune(
    model: str | Path,
    dataset: str | Path | Dataset | DatasetDict,
    *,
    output_dir: str | Path,
    recipe: str | Recipe = "lora_qkv",
    protocol: str | None = None,
    args: TrainingArguments | None = None,
    paper: bool = False,
    augmentation: Augmentation | None = None,
    segment_seconds: float = 10.0,
    seconds_per_batch: float | None = None,
    patience: int | None = 5,
    resume: bool = False,
    overwrite: bool = False,
    allow_speaker_overlap: bool = False,
    keep_checkpoints: bool = False,
    cache_features: bool = True,
    streaming: bool = False,
    cache_audio: bool = True,
    cache_gigabytes: float = 20.0,
    revision: str | None = None,
    push_to: str | None = None,
) -> FinetuneResult:
    """Fine-tune a speech encoder to recognise emotion, evaluate it by speakers it never heard, document it.

    The checkpoint with the best unweighted average recall (UAR) on the validation part is kept; the test part
    is read once, at the end. Under `torchrun`, the processes share the work and the first alone writes.

    Args:
        model: A folder or Hub id of a HuBERT, wav2vec2, WavLM or Whisper encoder.
        dataset: A folder that holds the corpora, a data set built by this library, a Hub id, a `Dataset`, or
            a `DatasetDict` with parts of its own.
        output_dir: Absent or empty; see `FinetuneResult` for what it holds afterwards.
        recipe: `full`, `lora_qkv`, `lora_classifier`, or a `Recipe`.
        protocol: How the data set is split; `speaker_independent` unless `paper` says otherwise.
        args: Training knobs; None takes the recipe's own (see `training_arguments`). Never changed.
        paper: The paper's setting: its random split, which shares speakers, Adam at 1e-5 for every part and
            50 epochs, the head as the checkpoint brings it.
        augmentation: Pitch shift, time stretch and noise for training clips; None for none.
        segment_seconds: Longer clips are cut into segments of this length, whose scores are averaged.
        seconds_per_batch: Make training batches of as many clips as fit into this many seconds of audio, padding
            included, instead of a number of clips; for each process and accumulated batch. The loss is the mean
            over the clips of a step. Pooled features of a frozen encoder have no length: their batches are counted.
        patience: Evaluations without a better UAR after which training stops; None never stops early.
        resume: Go on with the unfinished run in `output_dir`, or, where that is absent or empty, with the one that
            was pushed to `push_to`.
        overwrite: Remove the run that `output_dir` holds.
        allow_speaker_overlap: Accept a data set whose own parts share speakers.
        keep_checkpoints: Keep the Trainer's checkpoints when the run is finished.
        cache_features: Keep what the frozen part of the encoder makes of each clip in the Hugging Face cache, for
            later epochs and other runs: pooled vectors where the whole encoder is frozen, else the output of its
            frozen convolutions or lower layers. Without it, pooled vectors are kept for this run alone.
        cache_audio: Decode each clip once and keep its samples, 16 bits each, in the Hugging Face cache, for later
            epochs and other runs; clips of 16 bits at the encoder's sampling rate are kept bit for bit, others
            within 1/65000 of their peak.
        cache_gigabytes: The most that these caches may hold together; what was used longest ago goes first.
        streaming: Read the audio while training goes on, and keep none of it on the disk: for a data set in
            Parquet, on the Hub or in a folder, that is larger than the disk.
        revision: Branch, tag or commit of the model on the Hub.
        push_to: Repository on the Hub, `USER/NAME`, made, private, where it does not exist. Every save is pushed
            there while training goes on, which neither waits for that nor fails by it, and in the end the
            finished model as by `push_to_hub`. Whether that will be let in is checked before training.

    Returns:
        The finished run.

    Raises:
        InputError: Something given cannot be used; nothing is left behind half-written.

    Example:
        >>> from hf_ser import finetune
        >>> finetune("hubert-tiny", "corpora", recipe="lora_kqv", output_dir="out")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: recipe 'lora_kqv' is unknown; choose full, lora_qkv or lora_classifier
    """
    chosen = find_recipe(recipe)
    if paper:
        if protocol not in (None, "paper"):
            raise InputError(f"paper=True means protocol 'paper', not '{protocol}'; give one of them")
        if args is not None:
            raise InputError("paper=True sets the training arguments; give args, or paper, not both")
        protocol = "paper"
        chosen = find_recipe(chosen, head_start="checkpoint", learning_rate=1e-5, learning_rate_scale={})
        args = training_arguments(chosen, output_dir, **PAPER_ARGUMENTS)
    if segment_seconds <= 0:
        raise InputError(f"segment_seconds is {segment_seconds}; give a length above 0")
    if seconds_per_batch is not None and seconds_per_batch <= 0:
        raise InputError(f"seconds_per_batch is {seconds_per_batch}; give a length above 0")
    if seconds_per_batch is not None and streaming:
        raise InputError("seconds_per_batch needs the lengths of all clips at hand; leave it out, or streaming")
    caches = CacheFolder.default(cache_gigabytes)
    fetch = None
    if push_to is not None:
        from hf_ser.training.last_checkpoint import fetch_last_checkpoint

        fetch = partial(fetch_last_checkpoint, push_to)
    folder = OutputFolder(output_dir, resume=resume, overwrite=overwrite, fetch=fetch)
    if push_to is not None and folder.writes:
        from hf_ser.hub.access import check_access

        if chosen.lora and Path(model).exists():
            raise InputError(
                f"push_to: an adapter on the folder '{model}' would load for nobody else; train from its Hub id, or "
                "leave push_to out and push in the end, merged (hf-ser push --merged) or with --base-model USER/NAME"
            )
        check_access(push_to)
    open_it = open_stream if streaming else open_source
    with processes.first_of_node_first():
        source = open_it(dataset, protocol or "speaker_independent", allow_speaker_overlap=allow_speaker_overlap)
    arguments = for_this_job(args or training_arguments(chosen, output_dir), folder.checkpoints)
    from hf_ser.training.records import recorded_arguments

    settings = {
        "model": str(model),
        "revision": revision,
        "data": source.fingerprint,
        "protocol": source.protocol,
        "recipe": chosen.as_dict(),
        "arguments": {key: value for key, value in recorded_arguments(arguments).items() if "dataloader" not in key},
        "augmentation": None if augmentation is None else dataclasses.asdict(augmentation),
        "segment_seconds": segment_seconds,
        "seconds_per_batch": seconds_per_batch,
        "patience": patience,
        # Only what is not the rule, so that a run of an earlier version can be resumed.
        **({"streaming": True} if streaming else {}),
        # A step's clips are spread over the processes, so another number of them is another run.
        **({} if processes.count() == 1 else {"processes": processes.count()}),
    }
    options = {} if revision is None else {"revision": revision}
    from hf_ser.training.run import Run
    from hf_ser.training.sharded import require_shardable

    require_shardable(arguments, chosen)

    features, samples = caches if cache_features else None, caches if cache_audio else None
    with folder.claimed(settings):
        run = Run(str(model), source, chosen, arguments, folder, settings, options, features, samples, push_to=push_to)
        metrics, record = run.execute(augmentation, keep_checkpoints=keep_checkpoints)
    result = FinetuneResult(folder.path, metrics, record)
    if push_to is None or not folder.writes:
        return result
    try:
        return dataclasses.replace(result, pushed=result.push_to_hub(push_to))
    except InputError as error:
        again = shlex.join(["hf-ser", "push", str(folder.path), push_to])
        raise InputError(
            f"{error}; the run is finished and complete in '{folder.path}', push it by: {again}"
        ) from error
