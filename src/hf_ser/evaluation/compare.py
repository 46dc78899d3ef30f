"""Several results side by side: the paper's tables for any set of them, and which differences are more than chance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.errors import InputError
from hf_ser.evaluation import intervals
from hf_ser.evaluation.metrics.accuracy import accuracy_score
from hf_ser.evaluation.metrics.confusion import row_percent
from hf_ser.evaluation.metrics.counts import confusion_counts, plain
from hf_ser.evaluation.metrics.f1 import f1_averages
from hf_ser.evaluation.metrics.paper_eer import paper_equal_error_rate
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.evaluation.scores import MINIMUM_SPEAKERS
from hf_ser.files import entry
from hf_ser.text import render


@dataclass(frozen=True, slots=True)
class Result:
    """One result: confusion counts with names, and the content of predictions.csv, metrics.json and run.json if any."""

    name: str
    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    predictions: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pooled(self) -> Mapping[str, Any]:
        """The figures of all clips of the test part, or of the only part; empty for a matrix alone."""
        part = next((name for name in ("test", *self.metrics) if name in self.metrics and name != "labels"), "")
        return entry(self.metrics, part, "pooled") or {}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Attributes:
        rows: For each result its figures (fractions), and parameters, seconds and memory where a run recorded them.
        pairs: For each two results on the same clips, the difference of their UAR with its interval, p-values, the
            smallest difference that would show, and the `verdict`: the name of the better one, or "tie".
        seeds: For runs that differ in their seed alone, mean and standard deviation of their figures.
        confusions: `(labels, row percent)` of each result, by name.
    """

    rows: Sequence[Mapping[str, Any]]
    pairs: Sequence[Mapping[str, Any]]
    seeds: Sequence[Mapping[str, Any]]
    confusions: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the content for JSON."""
        return {"rows": list(self.rows), "pairs": list(self.pairs), "seeds": list(self.seeds)}

    def render(self) -> str:
        """Return the tables as Markdown."""
        return render("comparison.md", **self.as_dict(), confusions=self.confusions, level=1 - intervals.CONFIDENCE)


def compare(*results: str | Path, seed: int = 42) -> Comparison:
    """Compare results: folders of `finetune`, of `Evaluation.save`, or files of confusion matrices.

    Two results on the same clips are compared by a bootstrap that draws the speakers of each corpus for both alike, and
    by McNemar's test; the p-values of all pairs are corrected together by Holm's method. Where the corrected bootstrap
    does not separate them at 5 %, the verdict is "tie".

    Args:
        *results: Folders; JSON files with `labels` and, under `confusion`, counts (rows are references) by name; or
            `paper`, the three matrices that the paper prints.
        seed: Seed of the bootstrap.

    Raises:
        InputError: A folder or file has no results, or there is nothing to compare.

    Example:
        >>> [(row["name"], round(row["f1_micro"], 4)) for row in compare("paper").rows]
        [('paper: full', 0.861), ('paper: lora_qkv', 0.6715), ('paper: lora_classifier', 0.4461)]
    """
    from statsmodels.stats.multitest import multipletests

    places = [Path(given).resolve() for given in results]
    short = [place.name for place in places]
    named = [it.name if short.count(it.name) == 1 else f"{it.parent.name}/{it.name}" for it in places]
    found = [result for given, name in zip(results, named, strict=True) for result in _opened(given, name)]
    if not found:
        raise InputError("nothing to compare; give folders of runs or evaluations, a file of matrices, or paper")
    if twice := next((it.name for it in found if [one.name for one in found].count(it.name) > 1), None):
        raise InputError(f"two results are called '{twice}'; rename the folder of one")
    pairs = [pair for pair in (_pair(*two, seed) for two in combinations(found, 2)) if pair]
    for kind in ("p_bootstrap", "p_mcnemar"):
        known = [pair for pair in pairs if pair[kind] is not None]
        corrected = multipletests([pair[kind] for pair in known], method="holm")[1].tolist() if known else []
        for pair, p_value in zip(known, corrected, strict=True):
            pair[f"{kind}_holm"] = p_value
    for pair in pairs:
        p_value = pair.setdefault("p_bootstrap_holm", None)
        better, tie = pair["one" if pair["difference"] > 0 else "other"], (p_value or 0) >= 1 - intervals.CONFIDENCE
        pair["verdict"] = "too few speakers to tell" if p_value is None else "tie" if tie else better
    confusions = {it.name: (it.labels, row_percent(it.counts).tolist()) for it in found}
    return Comparison([_row(it) for it in found], pairs, _seeds(found), confusions)


def _opened(given: str | Path, name: str) -> list[Result]:
    path = Path(__file__).parent / "data" / "paper.json" if str(given) == "paper" else Path(given)
    if path.is_dir():
        return [replace(read_result(path), name=name)]
    values = _json(path)
    try:
        labels, matrices = tuple(values["labels"]), values["confusion"].items()
        counts = {name: np.array(matrix, dtype=np.int64) for name, matrix in matrices}
        if any(it.shape != (len(labels), len(labels)) or (it < 0).any() for it in counts.values()):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"'{path}' has no `labels`, and counts by name under `confusion` of that size") from None
    return [Result(f"{path.stem}: {name}", labels, it) for name, it in counts.items()]


def read_result(folder: Path) -> Result:
    """Return what `finetune` or `Evaluation.save` wrote into a folder."""
    import pandas as pd

    if not (folder / "predictions.csv").is_file():
        raise InputError(f"folder '{folder}' has no predictions.csv; give one that finetune or evaluate wrote")
    metrics = _json(folder / "metrics.json")
    labels, predictions = tuple(metrics["labels"]), pd.read_csv(folder / "predictions.csv", dtype={"speaker": str})
    index = {label: place for place, label in enumerate(labels)}
    counts = confusion_counts(predictions["predicted"].map(index), predictions["emotion"].map(index), len(labels))
    run = _json(folder / "run.json") if (folder / "run.json").is_file() else {}
    return Result(folder.resolve().name, labels, counts, predictions, metrics, run)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise InputError(f"'{file}' cannot be read ({reason}); give a run, an evaluation, or a JSON file") from None


def _row(result: Result) -> dict[str, Any]:
    counts, run = result.counts, result.run
    figures = {"uar": unweighted_average_recall(counts), "accuracy": accuracy_score(counts)}
    figures |= {f"f1_{name}": value for name, value in f1_averages(counts).items()}
    return {
        "name": result.name,
        "clips": int(counts.sum()),
        **plain(figures | {"paper_eer": paper_equal_error_rate(counts)}),
        "uar_interval": entry(result.pooled, "intervals", "uar"),
        "eer": entry(result.pooled, "eer", "macro"),
        "trainable_parameters": entry(run, "model", "trainable_parameters"),
        "seconds": entry(run, "seconds", "total"),
        "peak_memory_bytes": entry(run, "peak_memory_bytes", "host"),
    }


def _pair(one: Result, other: Result, seed: int) -> dict[str, Any] | None:
    """Return the comparison of two results; None where they are not of the same clips with the same labels."""
    from statsmodels.stats.contingency_tables import mcnemar

    if one.predictions is None or other.predictions is None:
        return None
    columns = ["clip_id", "corpus", "speaker", "emotion", "predicted"]
    table = one.predictions[columns].merge(other.predictions[columns], on=columns[:4], suffixes=("_one", "_other"))
    if len(table) != len(one.predictions) or len(table) != len(other.predictions):
        return None
    labels = sorted({*one.labels, *other.labels})
    index = {label: place for place, label in enumerate(labels)}
    truth, *decided = (table[name].map(index).to_numpy() for name in ("emotion", "predicted_one", "predicted_other"))
    measured = [float(unweighted_average_recall(confusion_counts(it, truth, len(labels)))) for it in decided]
    discordance = confusion_counts(decided[0] == truth, decided[1] == truth, 2)
    found = {"one": one.name, "other": other.name, "difference": measured[0] - measured[1],
             "p_mcnemar": float(mcnemar(discordance, exact=True).pvalue)}  # fmt: skip
    if table["speaker"].nunique() < MINIMUM_SPEAKERS:
        return found | {"interval": None, "p_bootstrap": None, "smallest": None}
    draws = intervals.speaker_draws(
        decided, truth, len(labels), table["corpus"], table["speaker"], intervals.RESAMPLES, seed
    ).values()
    differences = -np.diff(unweighted_average_recall(np.sum(list(draws), axis=0)))[:, 0]
    p_value, smallest = intervals.bootstrap_p_value(differences), intervals.smallest_difference(differences)
    return found | {
        "interval": list(intervals.percentile_interval(differences)),
        "p_bootstrap": p_value,
        "smallest": smallest,
    }


def _seeds(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return mean and standard deviation of the figures of runs that are alike in all but their seeds."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if run := result.run:
            arguments = {**(run.get("arguments") or {}), "seed": None, "data_seed": None}
            data = entry(run, "dataset", "fingerprint")
            alike = [entry(run, "model", "name"), run.get("recipe"), run.get("protocol"), data, arguments]
            groups.setdefault(json.dumps(alike, sort_keys=True), []).append(result)
    rows: list[dict[str, Any]] = []
    for group in groups.values():
        seeds, figures = [entry(it.run, "seeds", "weights") for it in group], list(map(_row, group))
        if len(set(seeds)) > 1:
            rows.append({"names": [it.name for it in group], "seeds": seeds})
            for name in ("uar", "accuracy", "f1_macro", "eer"):
                values = [it[name] for it in figures if it[name] is not None]
                rows[-1][name] = {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1))}
    return rows
