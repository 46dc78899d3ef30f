"""Calibrate a model on validation data: temperature, thresholds for a wanted risk or coverage, unfamiliar audio."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hf_ser.evaluation.judged import Judged, restricted
from hf_ser.evaluation.probabilities import checked, expected_calibration_error, log_loss, risk_coverage
from hf_ser.inference.confidence import cosines, is_far, with_temperature

FAMILIAR = 0.99
"""Share of the validation clips that are not flagged as far from the training data."""


def fit_temperature(probabilities: ArrayLike, references: ArrayLike) -> float:
    """Return the temperature from 0.05 to 20 with the least log loss, as Guo et al. (ICML 2017) fit it.

    Example:
        >>> sure, truth = [[0.99, 0.01]] * 4, [0, 0, 0, 1]
        >>> round(with_temperature(sure, fit_temperature(sure, truth))[0, 0].item(), 2)
        0.75
    """
    from scipy.optimize import minimize_scalar

    table, truth = checked(probabilities, references)

    def loss(logarithm: float) -> float:
        return log_loss(with_temperature(table, np.exp(logarithm)), truth)

    found = minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def threshold_of_risk(probabilities: ArrayLike, references: ArrayLike, risk: float) -> float:
    """Return the lowest confidence from which on the share of errors stays within a risk; above 1 if none does.

    The answer rule of El-Yaniv and Wiener (JMLR 11, 2010). On new clips the risk is that of validation only as far as
    the two are alike.

    Example:
        >>> threshold_of_risk([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]], [0, 0, 1], 0.2)
        0.8
    """
    _, risks, thresholds = risk_coverage(probabilities, references)
    within = np.flatnonzero(risks <= risk)
    return float(thresholds[within[-1]]) if within.size else 1.1


def conformal_threshold(probabilities: ArrayLike, references: ArrayLike, coverage: float) -> float:
    """Return the probability at which labels are kept so that the true one is among them for a share of new clips.

    The ceil((n + 1) coverage)-th largest of the n true labels' probabilities, 0 where n is too small for it: split
    conformal prediction (Sadinle, Lei and Wasserman, JASA 114, 2019). It holds for clips that are exchangeable with
    those given, which clips of new speakers are not strictly.

    Example:
        >>> conformal_threshold([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]], [0, 1, 0], 0.5)
        0.6
    """
    table, truth = checked(probabilities, references)
    rank = int(np.ceil((len(truth) + 1) * coverage - 1e-9))
    true_scores = np.sort(table[np.arange(len(truth)), truth])[::-1]
    return float(true_scores[rank - 1]) if rank <= len(truth) else 0.0


def calibrate(judged: Judged) -> dict[str, Any]:
    """Return what `run.json` records of a model that was asked about validation data.

    `risk` and `coverage` are thresholds on tempered probabilities by wanted value, `centre` is the mean of the
    features, and `familiar` the cosine with it below which audio counts as far from the data.
    """
    before, truth = judged.scores, judged.references
    features = judged.outputs[:, len(judged.classifier.labels) :]
    centre = np.round(features.mean(axis=0), 4).tolist()
    temperature = fit_temperature(before, truth)
    after = with_temperature(before, temperature)
    return {
        "temperature": temperature,
        "risk": {f"{step / 100:.2f}": threshold_of_risk(after, truth, step / 100) for step in range(1, 51)},
        "coverage": {f"{step / 100:.2f}": conformal_threshold(after, truth, step / 100) for step in range(50, 100)},
        "centre": centre,
        "familiar": float(np.quantile(cosines(features, centre), 1 - FAMILIAR)),
        "clips": len(truth),
        "before": _figures(before, truth),
        "after": _figures(after, truth),
    }


def section(judged: Judged) -> dict[str, Any]:
    """Return how far what validation promised holds on the judged clips, and how unlike noise is to them."""
    found = judged.classifier.calibration
    if not found:
        return {"not_computed": "the model has no calibration, or it is switched off"}
    scores, truth, known = judged.scores, judged.references, len(judged.classifier.labels)
    confidence, hit = scores.max(axis=1), scores.argmax(axis=1) == truth
    raw = restricted(judged.outputs[:, :known], judged.classifier.labels, judged.labels)
    promised, sets = [], []
    for risk in ("0.05", "0.10", "0.20", "0.30"):
        answered = confidence >= found["risk"][risk]
        share = float(1 - hit[answered].mean()) if answered.any() else None
        promised.append({"wanted": float(risk), "answered": float(answered.mean()), "risk": share})
    for coverage in ("0.80", "0.90", "0.95"):
        kept = scores >= found["coverage"][coverage]
        held = float(kept[np.arange(len(truth)), truth].mean())
        sets.append({"wanted": float(coverage), "covered": held, "labels": float(kept.sum(axis=1).mean())})
    noise = judged.classifier.outputs(judged.white_noise(64, 2.0))
    far = {name: float(is_far(outputs[:, known:], found).mean())
           for name, outputs in (("clips", judged.outputs), ("white_noise", noise))}  # fmt: skip
    figures = {"temperature": found["temperature"], "before": _figures(raw, truth), "after": _figures(scores, truth)}
    return figures | {"abstention": promised, "sets": sets, "far": far}


def _figures(probabilities: ArrayLike, references: ArrayLike) -> dict[str, float]:
    figures = {"log_loss": log_loss, "ece": expected_calibration_error}
    return {name: figure(probabilities, references) for name, figure in figures.items()}
