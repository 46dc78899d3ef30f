"""Evaluate any model on any data set: its figures, the prediction for every clip, and a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_ser import __version__
from hf_ser.dataset.proof import Overlap
from hf_ser.dataset.source import WHOLE, Source, open_dataset
from hf_ser.dataset.splits import PARTS, is_protocol
from hf_ser.errors import InputError
from hf_ser.evaluation.environment import versions
from hf_ser.evaluation.plots import plot_confusion
from hf_ser.evaluation.report import render_report
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.files import new_folder, write_json, write_text
from hf_ser.inference.classifier import Classifier, load, part_scores
from hf_ser.labels import canonical_emotion
from hf_ser.models.encoders import open_feature_extractor
from hf_ser.text import csv_cell, percent, percent_range

if TYPE_CHECKING:
    import pandas as pd


_FINDINGS = 20
"""How many of the rows that are left out a record names; `hf-ser check --json` names all."""


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        results: The content of `metrics.json`: `labels`, and for the part `pooled`, `corpora` and `mean_over_corpora`.
        predictions: A `pandas.DataFrame` with a row for each clip: `clip_id`, `corpus`, `speaker`, `emotion`,
            `predicted`, and the probability of each label.
        facts: Model, data set, protocol, part, labels, what was heard in training, versions and seed.

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
        """Write `metrics.json`, `predictions.csv`, `report.md`, `confusion.png` and `evaluation.json` (the facts).

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
        plot_confusion(self.metrics["confusion"], self.results["labels"], folder / "confusion.png", title)
        write_text(folder / "report.md", render_report(self.facts, self.results))
        write_json(folder / "metrics.json", self.results)
        write_json(folder / "evaluation.json", self.facts)
        return folder

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
    classifier = _opened(model, revision=revision, base=base, device=device)
    if protocol is None:
        recorded = classifier.record.get("protocol")
        protocol = recorded if isinstance(recorded, str) and is_protocol(recorded) else "speaker_independent"
        protocol = WHOLE if part == "all" else protocol
    source = open_dataset(dataset, protocol, **data)
    rows = _rows(source, part)
    labels, kept = _common_labels(classifier, source, rows)
    left_out = len(rows) - len(kept)
    rows = rows.select(kept) if left_out else rows
    scores = _restricted(part_scores(classifier, rows), classifier.labels, labels)
    columns = {name: list(rows[name]) for name in ("clip_id", "corpus", "speaker")}
    broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(broken):
        raise InputError(
            f"clip '{columns['clip_id'][broken[0]]}': the model returns scores that are not finite numbers "
            f"({len(broken):,} of {len(scores):,} clips); check the audio and the weights of the model"
        )
    emotions = [source.labels[index] for index in rows["emotion"]]
    references = [labels.index(emotion) for emotion in emotions]
    measured = evaluate_scores(scores, references, labels, columns["corpus"], columns["speaker"], seed=seed)
    import pandas as pd

    predicted = [labels[index] for index in scores.argmax(axis=1)]
    shares = {label: scores[:, index] for index, label in enumerate(labels)}
    predictions = pd.DataFrame({**columns, "emotion": emotions, "predicted": predicted, **shares})
    facts = {
        "hf_ser": __version__,
        "model": {"name": _shown(classifier.name), "labels": list(classifier.labels)},
        "dataset": {"name": source.name, "fingerprint": source.fingerprint, "synthetic": source.synthetic},
        "speakers_known": source.proof.speakers_known,
        "protocol": source.protocol,
        "disjoint": source.proof.speaker_disjoint and not any(map(_recordings, source.proof.overlaps.values())),
        "part": part,
        "labels": list(labels),
        "clips_with_other_labels": left_out,
        "heard_in_training": _heard(classifier.record, source, part, set(columns["speaker"])),
        "seed": seed,
        "versions": versions(),
    }
    return Evaluation({"labels": list(labels), part: measured}, predictions, facts)


def _opened(model: Any, **options: Any) -> Classifier:
    if isinstance(model, tuple) and len(model) == 2:
        options["base"], model = model
    if isinstance(model, str | Path):
        return load(model, **options)
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{given[0]} is for a model that is given by name; leave it out for a model in memory")
    if isinstance(model, Classifier):
        return model
    name = getattr(getattr(model, "config", None), "name_or_path", None) or ""
    if not name:
        raise InputError(
            f"a {type(model).__name__} without name_or_path has no preprocessor; give a folder, a Hub id, or "
            "Classifier(model, feature_extractor)"
        )
    return Classifier(model, open_feature_extractor(name, weights=False))


def _rows(source: Source, part: str) -> Any:
    if part in source.parts:
        return source.parts[part]
    if part != "all":
        raise InputError(
            f"data set '{source.name}' is not split and has no {part} part; choose another protocol, or all"
        )
    from datasets import concatenate_datasets

    return concatenate_datasets(list(source.parts.values()))


def _common_labels(classifier: Classifier, source: Source, rows: Any) -> tuple[tuple[str, ...], list[int]]:
    """Return the labels that model and data share, in the data's order, and the rows that have them."""
    known = {canonical_emotion(label) for label in classifier.labels}
    labels = tuple(label for label in source.labels if label in known)
    kept = [row for row, emotion in enumerate(rows["emotion"]) if source.labels[emotion] in known]
    if len(labels) < 2 or not kept:
        raise InputError(
            f"the model knows {', '.join(classifier.labels)}, the data set {', '.join(source.labels)}: scoring needs "
            "two common labels and clips that have them; choose another model or data set"
        )
    return labels, kept


def _restricted(scores: NDArray[np.float64], model_labels: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64]:
    """Return probabilities `(clips, labels)`; labels of the model that are synonyms are added up."""
    names = [canonical_emotion(label) for label in model_labels]
    columns = [scores[:, [name == label for name in names]].sum(axis=1) for label in labels]
    restricted = np.stack(columns, axis=1)
    return restricted if set(names) == set(labels) else restricted / restricted.sum(axis=1, keepdims=True)


def _heard(record: Mapping[str, Any], source: Source, part: str, speakers: set[str]) -> dict[str, Any]:
    """Return the evaluated speakers, and the number of evaluated recordings, that the model knows; None if unknown.

    The validation part counts as well, since it selected the checkpoint.
    """
    others = [other for other in ("train", "validation") if other != part or part == "train"]
    listed = [_entry(record, "dataset", "parts", other, "speakers") for other in others]
    known = {str(speaker) for names in listed if isinstance(names, list) for speaker in names}
    recordings = None
    if (_entry(record, "dataset", "fingerprint"), record.get("protocol")) == (source.fingerprint, source.protocol):
        overlaps = [found for names, found in source.proof.overlaps.items() if part in names and {*names} & {*others}]
        counts = [_recordings(overlap) for overlap in overlaps]
        recordings = None if None in counts else sum(count or 0 for count in counts)
    return {"speakers": sorted(speakers & known) if known else None, "recordings": recordings}


def _recordings(overlap: Overlap) -> int | None:
    return None if overlap.identical_samples is None else len(overlap.recordings)


def _entry(mapping: Any, *path: str) -> Any:
    for key in path:
        mapping = mapping.get(key) if isinstance(mapping, Mapping) else None
    return mapping


def _shown(name: str) -> str:
    """Return the last part of a folder's path, or a Hub id as it is."""
    return Path(name).resolve().name if Path(name).is_absolute() or Path(name).is_dir() else name


def describe_data(source: Source) -> dict[str, Any]:
    """Return what the record of a run says of its data; `evaluate` reads the speakers of the parts from it."""
    parts = {}
    for part, rows in source.parts.items():
        counts: dict[str, dict[str, int]] = {}
        for corpus, emotion in zip(rows["corpus"], rows["emotion"], strict=True):
            counts.setdefault(corpus, dict.fromkeys(source.labels, 0))[source.labels[emotion]] += 1
        parts[part] = {"clips": len(rows), "speakers": sorted(set(rows["speaker"])), "counts": counts}
    return {
        "name": source.name,
        "local": source.path is None or Path(source.path).is_dir(),
        "synthetic": source.synthetic,
        "fingerprint": source.fingerprint,
        "clips": sum(len(rows) for rows in source.parts.values()),
        "left_out_of_training": dict(source.left_out),
        "parts": parts,
        "proof": {key: value for key, value in source.proof.as_dict().items() if key != "parts"},
        "languages": list(source.languages),
        "licence": source.licence,
        "acted": source.acted,
        "labels_renamed": dict(source.renamed),
        "left_out": dict(Counter(it.reason for it in source.findings)),
        "left_out_first": [it._asdict() for it in source.findings[:_FINDINGS]],
    }
