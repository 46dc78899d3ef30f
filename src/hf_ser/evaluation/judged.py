"""A model's answers to a part of a data set: what every figure and every section of the suite is computed from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.features import decoded
from hf_ser.dataset.source import Source
from hf_ser.errors import InputError
from hf_ser.evaluation.metrics.counts import confusion_counts
from hf_ser.inference.classifier import Classifier, load, part_outputs
from hf_ser.inference.confidence import with_temperature
from hf_ser.labels import canonical_emotion
from hf_ser.models.encoders import open_feature_extractor


@dataclass(frozen=True, slots=True)
class Judged:
    """The clips of a part (`train`, `validation`, `test` or `all`) whose labels a model knows, and what it answers.

    `labels` are those that model and data share, in the data's order, `references` `(clips,)` their indices, and
    `outputs` `(clips, labels of the model + hidden)` are those of `Classifier.outputs`. `seed` is that of every random
    choice; `left_out` counts the clips with other labels.
    """

    classifier: Classifier
    source: Source
    part: str
    rows: Any
    labels: tuple[str, ...]
    references: NDArray[np.int64]
    outputs: NDArray[np.float64]
    seed: int
    left_out: int

    @property
    def scores(self) -> NDArray[np.float64]:
        """Probabilities `(clips, labels)`, calibrated where the classifier is."""
        return self.scores_of(self.outputs)

    @property
    def decisions(self) -> NDArray[np.int64]:
        """`(clips,)` index of the label with the highest score."""
        return np.asarray(self.scores.argmax(axis=1))

    def scores_of(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores `(clips, labels)` that some outputs of the classifier stand for."""
        own = outputs[:, : len(self.classifier.labels)]
        tempered = with_temperature(own, self.classifier.calibration.get("temperature", 1))
        return restricted(tempered, self.classifier.labels, self.labels)

    def counts(self, decisions: NDArray[Any], rows: Any = slice(None)) -> NDArray[np.int64]:
        """Return the confusion counts of decisions on all clips `(clips,)`, of some rows."""
        return confusion_counts(decisions[rows], self.references[rows], len(self.labels))

    def guesses(self, name: str) -> NDArray[np.int64]:
        """Return the decisions `(clips,)` of a model that draws each label alike; another name draws anew."""
        draw = np.random.default_rng([self.seed, crc32(name.encode())])
        return draw.integers(0, len(self.labels), len(self.references))

    def column(self, name: str) -> NDArray[np.str_]:
        """Return a column of the clips as text; empty where there is no value, or no such column."""
        values = self.rows[name] if name in self.rows.column_names else [None] * len(self.rows)
        return np.array(["" if value is None else str(value) for value in values])

    def samples(self, rows: Sequence[int] | NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Yield the decoded samples of some clips at the model's rate."""
        yield from map(decoded(self.rows, self.classifier.sampling_rate), map(int, rows))

    def white_noise(self, clips: int, seconds: float) -> list[NDArray[np.float32]]:
        """Return clips of white noise at the root mean square that speech often has, -26 dB."""
        shape = (clips, round(seconds * self.classifier.sampling_rate))
        return list((0.05 * np.random.default_rng(self.seed).standard_normal(shape)).astype(np.float32))

    def training_rows(self, most: int) -> Any:
        """Return at most so many clips of the training part whose labels the model knows, drawn by the seed."""
        if "train" not in self.source.parts or self.part in ("train", "all"):
            return None
        rows = self.source.parts["train"]
        known = np.flatnonzero([self.source.labels[emotion] in self.labels for emotion in rows["emotion"]])
        drawn = np.random.default_rng(self.seed).permutation(known)[:most]
        return rows.select(np.sort(drawn)) if len(drawn) else None

    def labels_of(self, rows: Any) -> NDArray[np.int64]:
        """Return the indices in `labels` of some rows of the data set."""
        return np.array([self.labels.index(self.source.labels[emotion]) for emotion in rows["emotion"]])


def judge(classifier: Classifier, source: Source, part: str, seed: int) -> Judged:
    """Ask a classifier about a part of a data set; errors as those of `evaluate`."""
    rows = _rows(source, part)
    labels, kept = _common_labels(classifier, source, rows)
    left_out, rows = len(rows) - len(kept), rows.select(kept) if len(kept) < len(rows) else rows
    outputs = part_outputs(classifier, rows)
    broken = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if len(broken):
        raise InputError(
            f"clip '{rows['clip_id'][int(broken[0])]}': the model returns scores that are not finite numbers "
            f"({len(broken):,} of {len(outputs):,} clips); check the audio and the weights of the model"
        )
    references = np.array([labels.index(source.labels[emotion]) for emotion in rows["emotion"]])
    return Judged(classifier, source, part, rows, labels, references, outputs, seed, left_out)


def opened(model: Any) -> Classifier:
    """Return the classifier that `evaluate` is given in one of its forms."""
    if isinstance(model, str | Path):
        return load(model)
    if isinstance(model, Classifier):
        return model
    if not (name := getattr(getattr(model, "config", None), "name_or_path", None)):
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
    labels = tuple(label for label in source.labels if label in set(map(canonical_emotion, classifier.labels)))
    kept = [row for row, emotion in enumerate(rows["emotion"]) if source.labels[emotion] in labels]
    if len(labels) < 2 or not kept:
        raise InputError(
            f"the model knows {', '.join(classifier.labels)}, the data set {', '.join(source.labels)}: scoring needs "
            "two common labels and clips that have them; choose another model or data set"
        )
    return labels, kept


def restricted(scores: NDArray[np.float64], model_labels: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64]:
    """Return probabilities `(clips, labels)`; labels of the model that are synonyms are added up."""
    names = [canonical_emotion(label) for label in model_labels]
    columns = [scores[:, [name == label for name in names]].sum(axis=1) for label in labels]
    found = np.stack(columns, axis=1)
    return found if set(names) == set(labels) else found / found.sum(axis=1, keepdims=True)
