"""Evaluate any model on any data set: its figures, the prediction for every clip, and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        found: dict[str, Any] = self.results[self.facts["part"]]["pooled"]
        return found

    @property
    def confusion(self) -> pd.DataFrame:
        """Numbers of clips; rows are references, columns predictions."""
        import pandas as pd

        labels = self.results["labels"]
        return pd.DataFrame(self.metrics["confusion"], index=labels, columns=labels)

    def save(self, folder: str | Path) -> Path:
        """Write the figures, the predictions, the report and its plots.

        `metrics.json`, `predictions.csv`, `report.md` and `report.html` (the same on one page, with the plots in it),
        `confusion.png`, `scores.png`, `sources.png`, `robustness.png` if curves were asked for, and `evaluation.json`
        (facts and suite).

        Args:
            folder: Created if it does not exist; files of these names are replaced.

        Returns:
            The folder.

        Raises:
            InputError: The folder cannot be written, or contains a run, whose results would be replaced.
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

        Args:
            limits: By figure: of all clips (`uar`, `f1.macro`, `ece`), of a corpus (`tess.uar`), or of a disturbance
                (`unchanged.white_20db`).

        Raises:
            InputError: A figure is not among the results.
        """
        found = []
        for name, limit in limits.items():
            value = self._figure(name)
            below = not _LOWER_IS_BETTER & {*name.split(".")}
            if value < limit if below else value > limit:
                found.append(f"{name} is {value:.4f}, {'below' if below else 'above'} {limit:g}")
        return found

    def _figure(self, name: str) -> float:
        measured, keys = self.results[self.facts["part"]], name.split(".")
        disturbances = entry(self.suite, "sections", "robustness", "disturbances") or {}
        places = ((measured["pooled"], keys), (measured["corpora"], keys), (disturbances, keys[::-1]))
        for place, path in places:
            if isinstance(value := entry(place, *path), int | float):
                return float(value)
        ways = "give such as uar, f1.macro, eer.macro, ece, tess.uar or, with suite robustness, unchanged.white_20db"
        raise InputError(f"figure '{name}' is not among the results; {ways}")

    def __repr__(self) -> str:
        """Return two lines: what was evaluated, and the figures."""
        facts, metrics = self.facts, self.metrics
        bounds = metrics["intervals"]["uar"]
        interval = f" (95 % interval {percent_range(bounds)})" if bounds else ""
        return (
            f"Evaluation of {facts['model']['name']} on {facts['dataset']['name']}, {facts['protocol']}, "
            f"{facts['part']} part: {metrics['clips']:,} clips\n"
            f"UAR {percent(metrics['uar'])} %{interval}, accuracy {percent(metrics['accuracy'])} %, "
            f"labels {', '.join(facts['labels'])}"
        )


def evaluate(
    model: Any,
    dataset: Any,
    *,
    suite: str | Sequence[str] | None = None,
    calibrated: bool = True,
    protocol: str | None = None,
    part: str = "test",
    revision: str | None = None,
    base: str | Path | None = None,
    device: Any = None,
    seed: int = 42,
    **data: Any,
) -> Evaluation:
    """Evaluate a model on a part of a data set.

    Only the labels that both the model and the data set have are scored: the model's probabilities are restricted to
    them and normalised, and clips with other labels are left out and counted in `facts`.

    Args:
        model: The output folder of `finetune`, a Hub id, a `Classifier`, a `transformers` model (its preprocessor is
            read from its `name_or_path`), or the names of a base model and an adapter: `(base, adapter)`.
        dataset: What `open_dataset` takes, or the `Source` that it returned.
        suite: `full`, or names of its sections (`hf_ser.evaluation.suite.SECTIONS`); None computes the figures alone.
        calibrated: Whether a model given by name is calibrated as its `run.json` records.
        protocol: How the data set is split; None takes the protocol that the model's `run.json` records, or
            `speaker_independent`; for the part `all`, the data set is then not split. A `Source` keeps its own.
        part: `train`, `validation`, `test` or `all`.
        revision: Branch, tag or commit of a model on the Hub.
        base: Folder or Hub id of the base model of an adapter; None takes the one that the adapter names.
        device: Such as "cpu" or "cuda:1"; None is a GPU if there is one.
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
    classifier = opened(model, calibrated=calibrated, revision=revision, base=base, device=device)
    if protocol is None:
        recorded = classifier.record.get("protocol")
        protocol = recorded if isinstance(recorded, str) and is_protocol(recorded) else "speaker_independent"
        protocol = WHOLE if part == "all" else protocol
    return assess(judge(classifier, open_dataset(dataset, protocol, **data), part, seed), sections)


def assess(judged: Judged, sections: Sequence[str] = ()) -> Evaluation:
    """Return the figures of what a model answered, and the named sections of the suite."""
    import pandas as pd

    classifier, source, labels, scores = judged.classifier, judged.source, judged.labels, judged.scores
    columns = {name: list(judged.rows[name]) for name in ("clip_id", "corpus", "speaker")}
    measured = evaluate_scores(
        scores, judged.references, labels, columns["corpus"], columns["speaker"], seed=judged.seed
    )
    named = {"emotion": judged.references, "predicted": scores.argmax(axis=1)}
    decided = {name: [labels[index] for index in indices] for name, indices in named.items()}
    shares = {label: scores[:, index] for index, label in enumerate(labels)}
    predictions = pd.DataFrame({**columns, **decided, **shares})
    facts: dict[str, Any] = {
        "hf_ser": __version__,
        "model": {"name": _shown(classifier.name), "labels": list(classifier.labels)},
        "temperature": classifier.calibration.get("temperature"),
        "dataset": {"name": source.name, "fingerprint": source.fingerprint, "synthetic": source.synthetic},
        "speakers_known": source.proof.speakers_known,
        "protocol": source.protocol,
        "disjoint": source.proof.speaker_disjoint and not any(map(_recordings, source.proof.overlaps.values())),
        "part": judged.part,
        "labels": list(labels),
        "clips_with_other_labels": judged.left_out,
        "heard_in_training": _heard(classifier.record, source, judged.part, set(columns["speaker"])),
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
    recordings = None
    if (entry(record, "dataset", "fingerprint"), record.get("protocol")) == (source.fingerprint, source.protocol):
        overlaps = [found for names, found in source.proof.overlaps.items() if part in names and {*names} & {*others}]
        counts = [_recordings(overlap) for overlap in overlaps]
        recordings = None if None in counts else sum(count or 0 for count in counts)
    return {"speakers": sorted(speakers & known) if known else None, "recordings": recordings}


def _recordings(overlap: Overlap) -> int | None:
    return None if overlap.identical_samples is None else len(overlap.recordings)


def _shown(name: str) -> str:
    """Return the last part of a folder's path, or a Hub id as it is."""
    return Path(name).resolve().name if Path(name).is_absolute() or Path(name).is_dir() else name
