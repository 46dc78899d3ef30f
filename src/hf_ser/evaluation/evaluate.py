"""Evaluate any model on any data set: its figures, the prediction for every clip, and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_ser import __version__
from hf_ser.dataset.proof import Overlap
from hf_ser.dataset.source import WHOLE, Source, open_dataset
from hf_ser.dataset.splits import PARTS, is_protocol
from hf_ser.environment import versions
from hf_ser.errors import InputError
from hf_ser.evaluation.judged import Judged, judge, opened
from hf_ser.evaluation.plots import plot_confusion, plot_robustness, plot_scores, plot_sources
from hf_ser.evaluation.report import by_corpus, render_html, render_report
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.evaluation.suite import chosen_sections, run_suite
from hf_ser.files import entry, new_folder, write_json, write_text
from hf_ser.models.probe import probe_logits
from hf_ser.text import csv_cell, percent, percent_range

if TYPE_CHECKING:
    import pandas as pd

_LOWER_IS_BETTER = {"eer", "paper_eer", "ece", "log_loss", "brier", "aurc", "uar_lost", "uap_lost"}


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        results: The content of `metrics.json`: `labels`, and for the part `pooled`, `corpora` and `mean_over_corpora`.
        predictions: A `pandas.DataFrame` with a row for each clip: `clip_id`, `corpus`, `speaker`, `emotion`,
            `predicted`, and the probability of each label.
        facts: Model, data set, protocol, part, labels, what was heard in training, versions and seed.
        suite: `sections` by name, `checks` with their thresholds, and `seconds`; None where none was asked for.

    Example:
        >>> import pandas as pd
        >>> labels, scores = ["calm", "sad"], [[0.9, 0.1], [0.4, 0.6]]
        >>> test = evaluate_scores(scores, [0, 0], labels, ["savee"] * 2, ["savee_DC", "savee_JE"], seed=0)
        >>> evaluation = Evaluation({"labels": labels, "test": test}, pd.DataFrame(scores), {"part": "test"})
        >>> evaluation.metrics["uar"], evaluation.confusion.loc["calm", "sad"].item()
        (0.5, 1)
    """

    results: Mapping[str, Any]
    predictions: pd.DataFrame
    facts: Mapping[str, Any]
    suite: Mapping[str, Any] | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures of all clips pooled: `uar`, `accuracy`, `f1`, `eer`, `intervals` and others."""
        return dict(self.results[self.facts["part"]]["pooled"])

    @property
    def confusion(self) -> pd.DataFrame:
        """Numbers of clips; rows are references, columns predictions."""
        import pandas as pd

        labels = self.results["labels"]
        return pd.DataFrame(self.metrics["confusion"], index=labels, columns=labels)

    def save(self, folder: str | Path) -> Path:
        """Write `metrics.json`, `predictions.csv`, the report and its plots, and `evaluation.json`; return the folder.

        `report.md` and `report.html` are the same, on one page with the plots in it; `evaluation.json` has facts and
        suite. Files of these names are replaced. A folder that contains a run is refused.
        """
        folder = Path(folder)
        if (folder / "run.json").exists():
            raise InputError(f"folder '{folder}' contains a run; choose another one for the evaluation")
        new_folder(folder)
        table = self.predictions.rename(columns=csv_cell).map(csv_cell)
        write_text(folder / "predictions.csv", table.to_csv(index=False, float_format="%.6f"))
        title = f"{self.facts['model']['name']}, {self.facts['protocol']}, {self.facts['part']} part"
        report = render_report(self.facts, self.results, self.suite)
        write_text(folder / "report.md", report)
        write_text(folder / "report.html", render_html(report, self._plots(folder, title)))
        write_json(folder / "metrics.json", self.results)
        write_json(folder / "evaluation.json", {**self.facts, "suite": self.suite})
        return folder

    def _plots(self, folder: Path, title: str) -> list[Path]:
        labels, measured = self.results["labels"], self.results[self.facts["part"]]
        references = [labels.index(emotion) for emotion in self.predictions["emotion"]]
        curves = entry(self.suite, "sections", "robustness", "curves")
        return [
            plot_confusion(self.metrics["confusion"], labels, folder / "confusion.png", title),
            plot_scores(self.predictions.iloc[:, -len(labels) :], references, folder / "scores.png", title),
            plot_sources(by_corpus(measured), folder / "sources.png", title),
            *([plot_robustness(curves, folder / "robustness.png", title)] if curves else []),
        ]

    def failures(self, limits: Mapping[str, float]) -> list[str]:
        """Return a line for each figure that is worse than its limit: below it or, of errors and losses, above it.

        A figure is of all clips (`uar`, `f1.macro`, `ece`), of a corpus (`tess.uar`), or of a disturbance
        (`unchanged.white_20db`); one that is not among the results is an `InputError`.
        """
        measured, found = self.results[self.facts["part"]], []
        disturbances = entry(self.suite, "sections", "robustness", "disturbances")
        for name, limit in limits.items():
            keys = name.split(".")
            places = ((measured["pooled"], keys), (measured["corpora"], keys), (disturbances, keys[::-1]))
            values = [it for place, path in places if isinstance(it := entry(place, *path), int | float)]
            if not values:
                ways = "uar, f1.macro, eer.macro, ece, tess.uar or, with suite robustness, unchanged.white_20db"
                raise InputError(f"figure '{name}' is not among the results; give such as {ways}")
            below = not _LOWER_IS_BETTER & {*keys}
            if values[0] < limit if below else values[0] > limit:
                found.append(f"{name} is {values[0]:.4f}, {'below' if below else 'above'} {limit:g}")
        return found

    def __repr__(self) -> str:
        """Return two lines: what was evaluated, and the figures."""
        facts, metrics = self.facts, self.metrics
        interval = f" (95 % interval {percent_range(it)})" if (it := metrics["intervals"]["uar"]) else ""
        judged = f"{facts['dataset']['name']}, {facts['protocol']}, {facts['part']} part: {metrics['clips']:,} clips"
        shares = f"UAR {percent(metrics['uar'])} %{interval}, accuracy {percent(metrics['accuracy'])} %"
        return f"Evaluation of {facts['model']['name']} on {judged}\n{shares}, labels {', '.join(facts['labels'])}"


def evaluate(
    model: Any,
    dataset: Any,
    *,
    suite: str | Sequence[str] | None = None,
    protocol: str | None = None,
    part: str = "test",
    seed: int = 42,
    **data: Any,
) -> Evaluation:
    """Evaluate a model on a part of a data set.

    Only the labels that both the model and the data set have are scored: the model's probabilities are restricted to
    them and normalised, and clips with other labels are left out and counted in `facts`.

    Args:
        model: The output folder of `finetune`, a Hub id, a `Classifier` (`load` gives one, with a revision, a device
            or the base of an adapter), or a `transformers` model, whose preprocessor its `name_or_path` has.
        dataset: What `open_dataset` takes, or the `Source` that it returned.
        suite: `full`, or names of its sections (`hf_ser.evaluation.suite.SECTIONS`); None computes the figures alone.
        protocol: How the data set is split; None takes the protocol that the model's `run.json` records, or
            `speaker_independent`; for the part `all`, the data set is then not split. A `Source` keeps its own.
        part: `train`, `validation`, `test` or `all`.
        seed: Seed of the bootstrap that gives the intervals.
        **data: Passed to `open_dataset` (`labels`, `columns`, `speaker_pattern`, …).

    Raises:
        InputError: The model or the data set cannot be opened, they have no label in common, or the model returns a
            score that is not a number.

    Example:
        >>> evaluate("no/such/folder", "corpora")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: model 'no/such/folder': ...
    """
    if part not in (*PARTS, "all"):
        raise InputError(f"part '{part}' is unknown; choose {', '.join(PARTS)} or all")
    sections = chosen_sections(suite)
    classifier = opened(model)
    if protocol is None:
        recorded = classifier.record.get("protocol")
        protocol = recorded if isinstance(recorded, str) and is_protocol(recorded) else "speaker_independent"
        protocol = WHOLE if part == "all" else protocol
    return assess(judge(classifier, open_dataset(dataset, protocol, **data), part, seed), sections)


def assess(judged: Judged, sections: Sequence[str] = ()) -> Evaluation:
    """Return the figures of what a model answered, and the named sections of the suite."""
    import pandas as pd

    classifier, source, labels, scores = judged.classifier, judged.source, judged.labels, judged.scores
    predictions = pd.DataFrame({name: list(judged.rows[name]) for name in ("clip_id", "corpus", "speaker")})
    corpora, speakers = predictions["corpus"], predictions["speaker"]
    measured = evaluate_scores(scores, judged.references, labels, corpora, speakers, seed=judged.seed)
    for column, indices in (("emotion", judged.references), ("predicted", judged.decisions)):
        predictions[column] = np.array(labels)[indices]
    predictions[list(labels)] = scores
    # Of a folder, its path is left out.
    name = classifier.name
    name = Path(name).resolve().name if Path(name).is_absolute() or Path(name).is_dir() else name
    facts: dict[str, Any] = {
        "hf_ser": __version__,
        "model": {"name": name, "labels": list(classifier.labels)},
        "temperature": classifier.calibration.get("temperature"),
        "dataset": {"name": source.name, "fingerprint": source.fingerprint, "synthetic": source.synthetic},
        "speakers_known": source.proof.speakers_known,
        "protocol": source.protocol,
        "disjoint": source.proof.speaker_disjoint and not any(map(_recordings, source.proof.overlaps.values())),
        "part": judged.part,
        "labels": list(labels),
        "clips_with_other_labels": judged.left_out,
        "heard_in_training": _heard(classifier.record, source, judged.part, set(speakers)),
        "seed": judged.seed,
        "versions": versions(),
    }
    suite = None
    if sections:
        suite = run_suite(judged, sections)
        # So that nobody puts these figures on the card of another model.
        facts["model"]["probe"] = probe_logits(classifier.model, classifier.feature_extractor)
    return Evaluation({"labels": list(labels), judged.part: measured}, predictions, facts, suite)


def _heard(record: Mapping[str, Any], source: Source, part: str, speakers: set[str]) -> dict[str, Any]:
    """Return the evaluated speakers, and the number of evaluated recordings, that the model knows; None if unknown.

    The validation part counts as well, since it selected the checkpoint.
    """
    others = [other for other in ("train", "validation") if other != part or part == "train"]
    listed = [entry(record, "dataset", "parts", other, "speakers") for other in others]
    known = {str(speaker) for names in listed if isinstance(names, list) for speaker in names}
    recordings: int | None = None
    if (entry(record, "dataset", "fingerprint"), record.get("protocol")) == (source.fingerprint, source.protocol):
        shared = [it for names, it in source.proof.overlaps.items() if part in names and {*names} & {*others}]
        counts = list(map(_recordings, shared))
        recordings = None if None in counts else sum(filter(None, counts))
    return {"speakers": sorted(speakers & known) if known else None, "recordings": recordings}


def _recordings(overlap: Overlap) -> int | None:
    return None if overlap.identical_samples is None else len(overlap.recordings)
