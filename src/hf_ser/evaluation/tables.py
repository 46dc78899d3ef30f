"""Results of several runs side by side: the paper's Table 3, with what it left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["render_table"]

_COLUMNS = ("clips", "UAR %", "accuracy %", "macro F1", "EER", "95 % of UAR")


def render_table(runs: Mapping[str, Mapping[str, Any]], part: str = "test") -> str:
    """Render the results of runs by corpus and pooled, as Markdown that reads well in a terminal.

    Args:
        runs: Name of each run to its `metrics.json`.
        part: `test` or `validation`.

    Example:
        >>> pooled = {"clips": 2, "uar": 0.75, "accuracy": 0.5, "f1": {"macro": 0.7}, "eer": {"macro": 0.25},
        ...           "intervals": {"uar": None}}
        >>> print(render_table({"full": {"test": {"pooled": pooled, "corpora": {}}}}))
        | recipe | part   | clips | UAR % | accuracy % | macro F1 | EER   | 95 % of UAR |
        |--------|--------|-------|-------|------------|----------|-------|-------------|
        | full   | pooled | 2     | 75.0  | 50.0       | 0.700    | 0.250 | –           |
    """
    rows = [("recipe", "part", *_COLUMNS)]
    for name, metrics in runs.items():
        results = metrics[part]
        for corpus, values in {**results["corpora"], "pooled": results["pooled"]}.items():
            rows.append((name, corpus, *_figures(values)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _figures(values: Mapping[str, Any]) -> tuple[str, ...]:
    interval = (values.get("intervals") or {}).get("uar")
    return (
        str(values["clips"]),
        _number(values["uar"], 100, 1),
        _number(values["accuracy"], 100, 1),
        _number(values["f1"]["macro"], 1, 3),
        _number(values["eer"]["macro"], 1, 3),
        "–" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}",
    )


def _number(value: float | None, factor: float, digits: int) -> str:
    return "–" if value is None else f"{factor * value:.{digits}f}"
