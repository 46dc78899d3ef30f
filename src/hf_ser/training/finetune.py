"""The main job."""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.audio.augment import Augmentation
from hf_ser.dataset.source import Source, open_dataset
from hf_ser.errors import InputError
from hf_ser.models.recipes import Recipe, paper_recipe
from hf_ser.models.recipes import recipe as find_recipe
from hf_ser.text import percent, percent_range
from hf_ser.training.arguments import PAPER_ARGUMENTS, for_this_job, training_arguments
from hf_ser.training.folder import OutputFolder

if TYPE_CHECKING:
    import pandas
    from datasets import Dataset, DatasetDict
    from transformers import TrainingArguments

    from hf_ser.hub.commits import Pushed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class FinetuneResult:
    """A finished run.

    Attributes:
        output_dir: Holds the model or adapter, labels, preprocessor, `metrics.json`, `predictions.csv`,
            `report.md`, `confusion.png`, `run.json` and the model card.
        metrics: Contents of `metrics.json`.
        run: Contents of `run.json`.
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

    @property
    def predictions(self) -> pandas.DataFrame:
        """The test clips, one per row, with their label, the predicted label and the score of each label."""
        import pandas

        return pandas.read_csv(self.output_dir / "predictions.csv")

    @property
    def confusion(self) -> pandas.DataFrame:
        """Test clips by true label (rows) and predicted label (columns)."""
        import pandas

        labels = list(self.metrics["labels"])
        return pandas.DataFrame(self.report["confusion"], index=labels, columns=labels)

    def __repr__(self) -> str:
        bounds = self.report["intervals"]["uar"]
        interval = f" (95 % interval {percent_range(bounds)})" if bounds else ""
        return (
            f"FinetuneResult\n  model   {self.run['model']['name']}, recipe {self.run['recipe']['name']}\n"
            f"  labels  {', '.join(self.metrics['labels'])}\n"
            f"  UAR     {percent(self.report['uar'])} %{interval} on {self.report['clips']:,} test clips\n"
            f"  folder  {self.output_dir}"
        )

    def push_to_hub(self, repo_id: str, **options: Any) -> Pushed:
        """Push the run to the Hub; arguments and errors as those of `hf_ser.push_to_hub`."""
        from hf_ser.hub.push import push_to_hub

        return push_to_hub(self.output_dir, repo_id, **options)


def finetune(
    model: str | Path,
    dataset: str | Path | Dataset | DatasetDict | Source | Sequence[Any],
    *,
    output_dir: str | Path,
    recipe: str | Recipe = "lora_qkv",
    protocol: str | None = None,
    args: TrainingArguments | None = None,
    paper: bool = False,
    augmentation: Augmentation | None = None,
    resume: bool = False,
    overwrite: bool = False,
    revision: str | None = None,
    push_to: str | None = None,
    **data: Any,
) -> FinetuneResult:
    """Fine-tune a speech encoder to recognise emotion, evaluate it on unseen speakers, and document it.

    The checkpoint with the best unweighted average recall (UAR) on the validation part is selected; the test part is
    used once, at the end, by `hf_ser.evaluate`. Under `torchrun`, the processes share the work and the main process
    writes.

    Args:
        model: A folder or Hub id of a HuBERT, wav2vec2, WavLM, data2vec or Whisper encoder.
        dataset: Recordings of the known corpora or of your own: what `open_dataset` takes (folders, tables, Hub ids,
            `datasets` objects, or a list of these), or what it returned.
        output_dir: Absent or empty; see `FinetuneResult` for what it holds afterwards.
        recipe: The name of one of `RECIPES`, a YAML file, or a `Recipe`.
        protocol: How the data set is split; `speaker_independent` unless `paper` is given.
        args: Training arguments. None takes the recipe's own; fields of a plain `TrainingArguments` that are at
            their defaults also take the recipe's values.
        paper: The paper's setting: its random split, which shares speakers, a new head, plain cross-entropy, Adam
            at 1e-5 for every part, and 50 epochs.
        augmentation: Pitch shift, time stretch and noise for training clips; None for none.
        resume: Continue the unfinished run in `output_dir`; its settings must be the same, except that more steps
            or epochs may be given.
        overwrite: Remove the run in `output_dir` first; other files there stay.
        revision: Branch, tag or commit of the model on the Hub.
        push_to: Repository on the Hub, `USER/NAME`; a private one is created where there is none. Checkpoints are
            pushed there in the background during training, and the finished model at the end. Access is checked
            before training.
        **data: Passed to `open_dataset` (`labels`, `columns`, `speaker_pattern`, …).

    Returns:
        The finished run.

    Raises:
        InputError: Something given cannot be used, or training diverged; nothing is left half-written.

    Example:
        >>> from hf_ser import finetune
        >>> finetune("hubert-tiny", "corpora", recipe="lora_kqv", output_dir="out")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: recipe 'lora_kqv' is unknown; choose full, lora_qkv, lora_classifier, head, ...
    """
    chosen = find_recipe(recipe)
    if paper:
        if protocol not in (None, "paper"):
            raise InputError(f"paper=True means protocol 'paper', not '{protocol}'; give one of them")
        if args is not None:
            raise InputError("paper=True sets the training arguments; give args, or paper, not both")
        chosen, protocol = paper_recipe(chosen), "paper"
        args = training_arguments(chosen, output_dir, **PAPER_ARGUMENTS)
    # Cheap checks come before the libraries that take seconds to import.
    is_main = os.environ.get("RANK", "0") == "0"
    folder = OutputFolder(output_dir, resume=resume, overwrite=overwrite) if is_main else None
    arguments = for_this_job(args or training_arguments(chosen, output_dir), chosen, Path(output_dir) / "checkpoints")
    # This decides on the device and joins the other processes, by the time limit of the arguments.
    state = arguments.distributed_state
    if push_to is not None and is_main:
        _check_push(push_to, model, chosen)
    with state.main_process_first():
        source = open_dataset(dataset, protocol or "speaker_independent", **data)
    if paper and source.protocol != "paper":
        raise InputError(f"paper=True means protocol 'paper', and the data set was opened with '{source.protocol}'")
    from hf_ser.training.records import recorded_arguments
    from hf_ser.training.run import Job, execute

    settings = {
        "model": str(model),
        "revision": revision,
        "data": source.fingerprint,
        "protocol": source.protocol,
        "recipe": chosen.as_dict(),
        "arguments": {key: value for key, value in recorded_arguments(arguments).items() if "dataloader" not in key},
        "augmentation": None if augmentation is None else dataclasses.asdict(augmentation),
        # A step's clips are spread over the processes, so that another number of them is another run.
        "processes": state.num_processes,
    }
    job = Job(str(model), revision, source, chosen, arguments, augmentation, settings, push_to)
    try:
        metrics, record = execute(job, folder)
    except KeyboardInterrupt:
        if is_main and (Path(output_dir) / "checkpoints").is_dir():
            words = [word for word in sys.argv[1:] if word not in ("--overwrite", "--resume")]
            command = shlex.join(["hf-ser", *words, "--resume"]) if words[:1] == ["finetune"] else "resume=True"
            logger.warning("interrupted; continue by: %s", command)
        raise
    result = FinetuneResult(Path(output_dir), metrics, record)
    if push_to is None or not is_main:
        return result
    try:
        return dataclasses.replace(result, pushed=result.push_to_hub(push_to))
    except InputError as error:
        again = shlex.join(["hf-ser", "push", str(result.output_dir), push_to])
        done = f"the run is finished and complete in '{result.output_dir}', push it by: {again}"
        raise type(error)(f"{error}; {done}") from error


def _check_push(push_to: str, model: str | Path, chosen: Recipe) -> None:
    from hf_ser.hub.access import check_access

    if chosen.stages:
        raise InputError(f"push_to: recipe '{chosen.name}' has stages; leave push_to out and push the finished folder")
    if chosen.lora and Path(model).exists():
        raise InputError(
            f"push_to: nobody else could load an adapter on the folder '{model}'; train from its Hub id, or leave "
            "push_to out and push at the end, merged (hf-ser push --merged) or with --base-model USER/NAME"
        )
    check_access(push_to)
