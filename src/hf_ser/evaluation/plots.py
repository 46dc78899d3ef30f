"""Plots of an evaluation, drawn without pyplot: no display is needed and no global state changes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics.confusion import row_percent
from hf_ser.evaluation.metrics.eer import equal_error_rate
from hf_ser.evaluation.probabilities import checked, reliability, risk_coverage

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "0.65"
"""Two colours of Okabe and Ito's palette, which differ for every kind of colour vision and in grey print."""


def plot_confusion(counts: ArrayLike, labels: Sequence[str], path: str | Path, title: str) -> Path:
    """Write a confusion matrix as PNG: each cell shows the percent of its row, and the number of clips below.

    A single hue from light to dark can be read with colour blindness and in grey print. A row without clips is empty.
    `counts` are of shape `(labels, labels)`; rows are references, columns predictions.
    """
    cells = np.asarray(counts)
    if cells.shape != (len(labels), len(labels)):
        raise InputError(f"counts have shape {cells.shape}; give one row and one column per label ({len(labels)})")
    from matplotlib import colormaps

    percent = row_percent(cells)
    side = max(4.0, 0.85 * len(labels) + 1.6)
    figure, axes = _figure(side + 0.9, side)
    colours = colormaps["Blues"].with_extremes(bad="0.9")
    image = axes.imshow(np.ma.masked_invalid(percent), cmap=colours, vmin=0, vmax=100)
    for row, column in np.ndindex(*cells.shape):
        # Zeros are left blank, so that the errors stand out.
        if not cells[row, column]:
            continue
        share = percent[row, column]
        # Black and white text have the same contrast on this palette at 71 %.
        ink = "white" if share > 71 else "black"
        bold = "bold" if row == column else "normal"
        axes.text(column, row, f"{share:.1f}", ha="center", va="bottom", color=ink, size=11, weight=bold)
        axes.text(column, row + 0.08, f"{cells[row, column]:,}", ha="center", va="top", color=ink, size=8)
    places, support = range(len(labels)), cells.sum(axis=1)
    axes.set_xticks(places, labels=labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, labels=[f"{label} ({clips:,})" for label, clips in zip(labels, support, strict=True)])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.arange(0.5, len(labels) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="reference (clips)")
    axes.set_title(title, wrap=True)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=[0, 25, 50, 75, 100])
    bar.set_label("percent of the reference")
    bar.outline.set_visible(False)
    return _saved(figure, path)


def plot_scores(probabilities: ArrayLike, references: ArrayLike, path: str | Path, title: str) -> Path:
    """Write four plots of probabilities `(clips, labels)` as PNG: reliability, ROC and DET with the EER, risk.

    ROC and DET are of all pairs of clip and label pooled (micro), on axes of percent and of normal deviates (Martin et
    al., The DET Curve in Assessment of Detection Task Performance, Eurospeech 1997).
    """
    from scipy.stats import norm
    from sklearn.metrics import roc_curve

    table, truth = checked(probabilities, references)
    targets = (truth[:, None] == np.arange(table.shape[1])).ravel()
    figure, grid = _figure(9, 8, 2, 2)
    calibration, roc, det, risk = grid.ravel()
    bins = reliability(table, truth)
    calibration.plot([0, 100], [0, 100], color=_GREY, linestyle="--", label="calibrated")
    percents = [100 * np.array(bins[name]) for name in ("confidence", "accuracy", "share")]
    calibration.bar(percents[0], percents[2], width=4, color=_GREY, label="share of the clips")
    calibration.plot(percents[0], percents[1], color=_BLUE, marker="o", label="accuracy")
    calibration.set(xlabel="confidence (%)", ylabel="percent", title="Reliability", xlim=(0, 100), ylim=(0, 100))
    false_alarms, hits, _ = roc_curve(targets, table.ravel())
    eer = equal_error_rate(table.ravel(), targets)
    roc.plot(100 * false_alarms, 100 * hits, color=_BLUE, label="all pairs of clip and label")
    roc.plot([0, 100], [0, 100], color=_GREY, linestyle="--", label="guessing")
    roc.plot(100 * eer, 100 * (1 - eer), "o", color=_ORANGE, label=f"EER {100 * eer:.1f} %")
    roc.set(xlabel="false positives (%)", ylabel="true positives (%)", title="ROC")
    ticks = np.array([0.1, 1, 5, 10, 20, 40, 60, 80])
    inside = (false_alarms > 0) & (hits < 1) & (hits > 0) & (false_alarms < 1)
    det.plot(norm.ppf(false_alarms[inside]), norm.ppf(1 - hits[inside]), color=_BLUE)
    if 0 < eer < 1:
        det.plot(norm.ppf(eer), norm.ppf(eer), "o", color=_ORANGE, label=f"EER {100 * eer:.1f} %")
    for axis in (det.xaxis, det.yaxis):
        axis.set_ticks(norm.ppf(ticks / 100), labels=[f"{tick:g}" for tick in ticks])
    limits = norm.ppf([0.001, 0.8])
    det.set(xlabel="false positives (%)", ylabel="misses (%)", title="DET", xlim=limits, ylim=limits)
    coverage, risks, _ = risk_coverage(table, truth)
    risk.plot(100 * coverage, 100 * risks, color=_BLUE, label="the most confident answered")
    risk.axhline(100 * risks[-1], color=_GREY, linestyle="--", label="answered at random")
    risk.set(xlabel="answered clips (%)", ylabel="errors among them (%)", title="Risk and coverage", ylim=(0, None))
    for axes in grid.ravel():
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    figure.suptitle(title, wrap=True)
    return _saved(figure, path)


def plot_sources(measures: Mapping[str, Mapping[str, Any]], path: str | Path, title: str) -> Path:
    """Write the UAR of each source, and of all, as PNG, with its interval where there is one."""
    figure, axes = _figure(7, 1.4 + 0.45 * len(measures))
    for place, values in enumerate(measures.values()):
        bounds = (values.get("intervals") or {}).get("uar")
        if bounds:
            axes.plot([100 * bound for bound in bounds], [place, place], color=_BLUE, linewidth=2, marker="|")
        axes.plot(100 * values["uar"], place, "o", color=_BLUE)
        axes.annotate(f"{100 * values['uar']:.1f}", (100 * values["uar"], place), (0, 6), textcoords="offset points",
                      ha="center", fontsize=8)  # fmt: skip
    axes.set_yticks(range(len(measures)), labels=list(measures))
    axes.set(xlabel="UAR (%), line: 95 % interval", xlim=(0, 100), ylim=(len(measures) - 0.4, -0.6))
    axes.grid(axis="x", color="0.9")
    axes.set_title(title, wrap=True)
    return _saved(figure, path)


def plot_robustness(curves: Mapping[str, Mapping[str, Any]], path: str | Path, title: str) -> Path:
    """Write UAR, and the share of unchanged decisions, over the strength of each disturbance, as PNG."""
    rows = -(-len(curves) // 2)
    figure, grid = _figure(8, 0.6 + 2.8 * rows, rows, 2)
    grid = np.reshape(grid, (rows, 2))
    for axes in grid.ravel()[len(curves) :]:
        axes.set_visible(False)
    for axes, (name, curve) in zip(grid.ravel(), curves.items(), strict=False):
        strengths = [point["strength"] for point in curve["points"]]
        for key, label, colour, form in (
            ("uar", "UAR", _BLUE, "o-"),
            ("unchanged", "decisions unchanged", _ORANGE, "s--"),
        ):
            axes.plot(strengths, [100 * point[key] for point in curve["points"]], form, color=colour, label=label)
        axes.set(title=name.removesuffix("_20db").replace("_", " "), xlabel=curve["unit"], ylim=(0, 105))
        axes.grid(color="0.9")
    for axes in grid[:, 0]:
        axes.set_ylabel("percent")
    grid[0, 0].legend(fontsize=8)
    figure.suptitle(title, wrap=True)
    return _saved(figure, path)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def _saved(figure: Any, path: str | Path) -> Path:
    try:
        figure.savefig(path, dpi=150, format="png")
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise InputError(f"'{path}' cannot be written: {error.strerror}; free the disk or choose a folder") from error
    return Path(path)
