"""Plots of an evaluation, drawn without pyplot: no display is needed and no global state changes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics.confusion import row_percent


def plot_confusion(counts: ArrayLike, labels: Sequence[str], path: str | Path, title: str) -> Path:
    """Write a confusion matrix as PNG: each cell shows the percent of its row, and the number of clips below.

    A single hue from light to dark shows the percentage, so the plot can be read with colour blindness and in
    grey print. A row without clips is grey and empty.

    Args:
        counts: Confusion counts, shape `(labels, labels)`: rows are references, columns predictions.
        labels: Name of each class.
        path: File to write.
        title: Title of the plot.
    """
    cells = np.asarray(counts)
    if cells.shape != (len(labels), len(labels)):
        raise InputError(f"counts have shape {cells.shape}; give one row and one column per label ({len(labels)})")
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    percent = row_percent(cells)
    side = max(4.0, 0.85 * len(labels) + 1.6)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
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
    support = cells.sum(axis=1)
    axes.set_xticks(range(len(labels)), labels=labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(labels)), labels=[f"{label} ({clips:,})" for label, clips in zip(labels, support, strict=True)]
    )
    axes.set_xticks(np.arange(0.5, len(labels) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(labels) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("reference (clips)")
    axes.set_title(title, wrap=True)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, ticks=[0, 25, 50, 75, 100])
    bar.set_label("percent of the reference")
    bar.outline.set_visible(False)
    try:
        figure.savefig(path, dpi=150, format="png")
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise InputError(f"'{path}' cannot be written: {error.strerror}; free the disk or choose a folder") from error
    return Path(path)
