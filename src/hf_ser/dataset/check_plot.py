"""The page of plots of a data check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas

# Okabe and Ito's colours, which differ for the colour-blind, too.
_COLOURS = {
    "train": "#0072B2",
    "validation": "#E69F00",
    "test": "#009E73",
    "left out": "#999999",
    "not split": "#56B4E9",
}


def plot_clips(clips: pandas.DataFrame, labels: Sequence[str], file: Path) -> None:
    """Draw the clips of each label by source and part, and histograms of durations and levels."""
    from matplotlib.figure import Figure

    sources = list(dict.fromkeys(sorted(clips["corpus"])))
    figure = Figure(figsize=(10, 3.2 + 0.32 * len(labels) * len(sources) + 1.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[0.32 * len(labels) * len(sources) + 1.0, 3.2])
    bars = figure.add_subplot(grid[0, :])
    names = [(source, label) for source in sources for label in labels]
    counts = clips.groupby(["corpus", "emotion", "part"]).size()
    left = np.zeros(len(names))
    for part in [it for it in _COLOURS if it in set(clips["part"])]:
        widths = np.array([counts.get((*name, part), 0) for name in names], dtype=float)
        bars.barh(range(len(names)), widths, left=left, color=_COLOURS[part], label=part)
        left += widths
    bars.set_yticks(
        range(len(names)), [label if len(sources) == 1 else f"{source}: {label}" for source, label in names]
    )
    bars.invert_yaxis()
    bars.set_xlabel("clips")
    bars.legend(loc="lower right", frameon=False)
    panels = (("duration", "duration (s)"), ("level_db", "level (dBFS, RMS)"))
    for place, (column, title) in enumerate(panels):
        panel = figure.add_subplot(grid[1, place])
        values = clips[column].to_numpy(dtype=float)
        edges = np.histogram_bin_edges(values[np.isfinite(values)], bins=40)
        for source in sources:
            own = clips[clips["corpus"] == source][column]
            panel.hist(own, bins=edges.tolist(), histtype="step", linewidth=1.5, label=source)
        panel.set_xlabel(title)
        panel.set_ylabel("clips")
        if len(sources) > 1:
            panel.legend(frameon=False)
    figure.savefig(file, dpi=120)
