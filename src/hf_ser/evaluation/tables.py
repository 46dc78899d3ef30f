"""The results of several runs side by side, in the form of the paper's Table 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_ser.text import percent, percent_range

__all__ = ["render_table"]

_HEADER = ("recipe", "part", "clips", "UAR %", "accuracy %", "macro F1", "EER", "95 % of UAR")


def render_table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the test results of runs by corpus and pooled, as Markdown that is readable in a terminal.

    Args:
        runs: Name of each run to its `metrics.json`.

    Example:
        >>> pooled = {"clips": 2, "uar": 0.75, "accuracy": 0.5, "f1": {"macro": 0.7}, "eer": {"macro": 0.25},
        ...           "intervals": {"uar": None}}
        >>> print(render_table({"full": {"test": {"pooled": pooled, "corpora": {}}}}))
        | recipe | part   | clips | UAR % | accuracy % | macro F1 | EER   | 95 % of UAR |
        |--------|--------|-------|-------|------------|----------|-------|-------------|
        | full   | pooled | 2     | 75.0  | 50.0       | 0.700    | 0.250 | –           |
    """
    rows = [_HEADER]
    for name, metrics in runs.items():
        for part, values in {**metrics["test"]["corpora"], "pooled": metrics["test"]["pooled"]}.items():
            bounds = values["intervals"]["uar"]
            thousandths = ["–" if value is None else f"{value:.3f}" for value in
                           (values["f1"]["macro"], values["eer"]["macro"])]  # fmt: skip
            interval = percent_range(bounds) if bounds else percent(None)
            shares = (percent(values["uar"]), percent(values["accuracy"]))
            rows.append((name, part, str(values["clips"]), *shares, *thousandths, interval))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = tuple("-" * width for width in widths)
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in (rows[0], rule, *rows[1:])]
    lines[1] = lines[1].replace("| ", "|-").replace(" |", "-|")
    return "\n".join(lines)
