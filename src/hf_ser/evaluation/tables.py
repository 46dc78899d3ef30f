"""The results of several runs side by side, in the form of the paper's Table 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_ser.text import percent, percent_range

_HEADER = ("recipe", "part", "clips", "UAR %", "accuracy %", "macro F1", "EER", "95 % of UAR")


def render_table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the test results of runs (their `metrics.json` by name) by corpus and pooled, as Markdown."""
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
