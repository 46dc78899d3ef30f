"""Train and judge several recipes over all splits of a protocol, and sum the runs up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_ser.dataset.source import Source, open_dataset
from hf_ser.dataset.splits import FOLDS
from hf_ser.errors import InputError
from hf_ser.evaluation.compare import Result, read_result
from hf_ser.evaluation.judged import restricted
from hf_ser.evaluation.metrics.counts import confusion_counts
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.files import new_folder, write_json, write_text
from hf_ser.models.recipes import Recipe
from hf_ser.models.recipes import recipe as find_recipe
from hf_ser.text import render
from hf_ser.training.arguments import training_arguments
from hf_ser.training.finetune import finetune
from hf_ser.training.folder import SETTINGS

logger = logging.getLogger(__name__)

SPLITS = ("folds", "leave_one_out", "paper", "speaker_independent")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What `benchmark` found.

    Attributes:
        folder: Holds a run for each recipe, split and seed, `benchmark.json` and `benchmark.md`.
        rows: A row for each recipe and seed: the figures of all test clips of its splits pooled, as `evaluate_scores`
            gives them, the UAR of each split, and the mean and standard deviation over splits.
        matrix: For `leave_one_out`, by recipe and seed, the UAR on each corpus without it in training (its test clips)
            and with it (validation clips), on the labels that training had.
    """

    folder: Path
    rows: Sequence[Mapping[str, Any]]
    matrix: Sequence[Mapping[str, Any]]

    def render(self) -> str:
        """Return the tables as Markdown."""
        return render("benchmark.md", rows=self.rows, matrix=self.matrix)


def benchmark(
    model: str | Path,
    dataset: Any,
    *,
    output_dir: str | Path,
    protocol: str = "folds",
    recipes: Sequence[str | Recipe] = ("full", "lora_qkv", "lora_classifier"),
    seeds: Sequence[int] = (42,),
    arguments: Mapping[str, Any] | None = None,
    **data: Any,
) -> Benchmark:
    """Fine-tune every recipe on every split of a protocol with every seed, and sum up what the test parts gave.

    A call that was interrupted goes on where it stopped when it is repeated: finished runs are read, an unfinished one
    is resumed.

    Args:
        model: As for `finetune`.
        dataset: As for `finetune`, not split yet.
        output_dir: Holds a folder `RECIPE/SPLIT-SEED` for each run.
        protocol: `folds` (five, of different speakers), `leave_one_out` (each corpus in turn), `paper` (the paper's
            setting, whose split shares speakers) or `speaker_independent`.
        recipes: Names, or recipes.
        seeds: Of the training; the splits do not depend on them.
        arguments: Fields of `transformers.TrainingArguments` in place of the recipe's; not with `paper`.
        **data: Passed to `open_dataset`.

    Raises:
        InputError: As `finetune`, or a run in the folder is of other data or another recipe.

    Example:
        >>> benchmark("no/such/model", "corpora", output_dir="out", protocol="folds_5")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: protocol 'folds_5' is unknown; choose folds, leave_one_out, ... or speaker_independent
    """
    if protocol not in SPLITS:
        raise InputError(f"protocol '{protocol}' is unknown; choose {', '.join(SPLITS[:-1])} or {SPLITS[-1]}")
    if protocol == "paper" and arguments:
        raise InputError(f"protocol paper sets the training arguments; leave out {next(iter(arguments))}")
    if isinstance(dataset, Source):
        raise InputError(
            f"data set '{dataset.name}' is split already; benchmark splits it itself: give what was opened"
        )
    folder, chosen = new_folder(output_dir), [find_recipe(it) for it in recipes]
    sources = {name: open_dataset(dataset, name, **data) for name in _splits(protocol, dataset, data)}
    rows, matrix = [], []
    for recipe in chosen:
        for seed in seeds:
            runs = {}
            for name, source in sources.items():
                target = folder / recipe.name / f"{name}-{seed}"
                runs[name] = _run(model, source, recipe, target, seed, protocol == "paper", arguments or {})
            rows.append({"recipe": recipe.name, "seed": seed, **_summed(runs, seed)})
            if protocol == "leave_one_out":
                matrix.append({"recipe": recipe.name, "seed": seed, "corpora": _matrix(runs)})
    found = Benchmark(folder, rows, matrix)
    write_json(folder / "benchmark.json", {"protocol": protocol, "rows": rows, "matrix": matrix})
    write_text(folder / "benchmark.md", found.render())
    return found


def _splits(protocol: str, dataset: Any, data: Mapping[str, Any]) -> list[str]:
    if protocol == "folds":
        return [f"fold_{number}" for number in range(FOLDS)]
    if protocol != "leave_one_out":
        return [protocol]
    source = open_dataset(dataset, **data)
    corpora = sorted({str(corpus) for rows in source.parts.values() for corpus in rows.unique("corpus")})
    if len(corpora) < 2:
        raise InputError(f"leave_one_out needs two corpora; the data has {corpora[0]} alone: choose folds")
    return [f"leave_out_{corpus}" for corpus in corpora]


def _run(
    model: str | Path,
    source: Source,
    recipe: Recipe,
    target: Path,
    seed: int,
    paper: bool,
    arguments: Mapping[str, Any],
) -> Result:
    """Return the result of a run, which is trained unless it is finished."""
    if (target / "run.json").is_file():
        found = read_result(target)
        if (found.run["dataset"]["fingerprint"], found.run["recipe"]["name"]) != (source.fingerprint, recipe.name):
            raise InputError(f"run '{target}' is of other data or another recipe; choose another output folder")
        return found
    logger.info("%s, %s, seed %d", recipe.name, source.protocol, seed)
    unfinished = (target / "checkpoints" / SETTINGS).is_file()
    settings: dict[str, Any] = {"output_dir": target, "recipe": recipe, "resume": unfinished}
    if paper:
        finetune(model, source, paper=True, **settings)
    else:
        training = training_arguments(recipe, target, **{**arguments, "seed": seed})
        finetune(model, source, args=training, **settings)
    return read_result(target)


def _summed(runs: Mapping[str, Result], seed: int) -> dict[str, Any]:
    """Return the figures of all test clips pooled, and their spread over the splits."""
    import pandas as pd

    results = list(runs.values())
    labels = list(results[0].labels)
    table = pd.concat([it.predictions for it in results], ignore_index=True)
    references = [labels.index(label) for label in table["emotion"]]
    scores = table[labels].to_numpy() / table[labels].sum(axis=1).to_numpy()[:, np.newaxis]
    found = evaluate_scores(scores, references, labels, table["corpus"].tolist(), table["speaker"].tolist(), seed=seed)
    values = {name: it.pooled["uar"] for name, it in runs.items()}
    return {
        "pooled": found["pooled"],
        "splits": values,
        "mean": float(np.mean(list(values.values()))),
        "deviation": float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
        "trainable_parameters": results[0].run["model"]["trainable_parameters"],
        "seconds": sum(it.run["seconds"]["total"] for it in results),
    }


def _matrix(runs: Mapping[str, Result]) -> dict[str, dict[str, float]]:
    """Return by left-out corpus the UAR on every corpus, restricted to labels that training had."""
    found: dict[str, dict[str, float]] = {}
    for name, result in runs.items():
        left_out = name.removeprefix("leave_out_")
        counts = result.run["dataset"]["parts"]["train"]["counts"].values()
        trained = [label for label in result.labels if any(corpus.get(label) for corpus in counts)]
        table: Any = result.predictions
        table = table[table["emotion"].isin(trained)]
        scores = restricted(table[list(result.labels)].to_numpy(), result.labels, trained)
        references = table["emotion"].map({label: place for place, label in enumerate(trained)})
        uar = unweighted_average_recall(confusion_counts(scores.argmax(axis=1), references, len(trained)))
        within = {corpus: values["uar"] for corpus, values in result.metrics["validation"]["corpora"].items()}
        found[left_out] = {**within, left_out: float(uar)}
    return found
