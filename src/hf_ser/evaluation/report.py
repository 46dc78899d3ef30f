"""report.md and report.html: the figures of an evaluation and what they mean, for a reader who did not run it."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_ser.evaluation.checks import passed_shares
from hf_ser.evaluation.metrics.confusion import row_percent
from hf_ser.text import aligned, percent, percent_range, render


def render_report(facts: Mapping[str, Any], results: Mapping[str, Any], suite: Mapping[str, Any] | None = None) -> str:
    """Return report.md from the facts, results and suite of an evaluation; a part `validation` adds its table."""
    measured = results[facts["part"]]
    return render(
        "report.md",
        facts={"dataset": {}, "model": {}, "labels": results["labels"], "heard_in_training": None, **facts},
        labels=list(results["labels"]),
        measured=measured,
        validation=results.get("validation") if facts["part"] != "validation" else None,
        suite=suite and render_suite(suite),
        by_corpus=by_corpus,
        shares=row_percent(measured["pooled"]["confusion"]).tolist(),
    )


def render_suite(suite: Mapping[str, Any]) -> str:
    """Return the sections of the suite as Markdown."""
    return render("suite.md", suite=suite, shares=passed_shares(suite["checks"]))


def render_table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the test results of runs (their `metrics.json` by name) by corpus and pooled, as the paper's Table 3."""
    rows = [("recipe", "part", "clips", "UAR %", "accuracy %", "macro F1", "EER", "95 % of UAR")]
    for name, metrics in runs.items():
        for part, it in {**metrics["test"]["corpora"], "pooled": metrics["test"]["pooled"]}.items():
            f1, eer = ("–" if it[of]["macro"] is None else f"{it[of]['macro']:.3f}" for of in ("f1", "eer"))
            interval = percent_range(bounds) if (bounds := it["intervals"]["uar"]) else "–"
            shares = percent(it["uar"]), percent(it["accuracy"])
            rows.append((name, part, f"{it['clips']:,}", *shares, f1, eer, interval))
    return aligned(rows, right=range(2, 8))


def render_html(markdown: str, plots: Sequence[Path]) -> str:
    """Return a report as one page of HTML that needs no other file; raw HTML in it stays text."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    images = {plot.stem: base64.b64encode(plot.read_bytes()).decode() for plot in plots}
    title = markdown.partition("\n")[0].lstrip("# ")
    return render("report.html", title=title, body=body, plots=images)


def by_corpus(measured: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the figures of each corpus, of all clips, and, of several corpora, their mean."""
    mean = {"mean over corpora": measured["mean_over_corpora"]} if len(measured["corpora"]) > 1 else {}
    return {**measured["corpora"], "pooled": measured["pooled"], **mean}
