"""report.md and report.html: the figures of an evaluation and what they mean, for a reader who did not run it."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_ser.evaluation.checks import passed_shares
from hf_ser.evaluation.metrics.confusion import row_percent
from hf_ser.text import render

_DISJOINT = (
    "no speaker is in two parts of the data set. Sentences, rooms and microphones of a corpus are the same in all parts"
)
_PROTOCOLS: Mapping[str, str] = {
    "speaker_independent": _DISJOINT,
    "stratified": _DISJOINT,
    "fold": "one fold of a cross-validation whose folds share no speaker; report the mean over all folds",
    "leave_out": "the test part is a corpus that is in no other part: other speakers, sentences and recordings",
    "leave_speaker_out": "the test part is one speaker, who is in no other part; report the mean over all speakers",
    "paper": "a random draw of clips, as in the paper; use it only for comparison with its Table 3",
    "given": "the parts that the data set came with",
    "all": "all clips of the data set, which is not split",
}


def render_report(facts: Mapping[str, Any], results: Mapping[str, Any], suite: Mapping[str, Any] | None = None) -> str:
    """Return report.md from the facts, results and suite of an evaluation; a part `validation` adds its table."""
    part, labels, protocol = facts["part"], list(results["labels"]), facts.get("protocol")
    pooled, data, model = results[part]["pooled"], facts.get("dataset", {}), facts.get("model", {})
    counts = pooled["confusion"]
    kind = next((kind for kind in _PROTOCOLS if protocol and protocol.startswith(kind)), "")
    # A protocol's promise is not repeated where the data set breaks it.
    meaning = _PROTOCOLS[kind] if kind and (kind in ("paper", "given", "all") or facts["disjoint"]) else None
    settings = [("data set fingerprint", data.get("fingerprint")), ("seed of the bootstrap", facts.get("seed"))]
    shares = [["" if it != it else f"{it:.1f}" for it in row] for row in row_percent(counts).tolist()]
    return render(
        "report.md",
        suite=suite and render_suite(suite),
        names=[named["name"] for named in (model, data) if named],
        part=part,
        labels=labels,
        scored=facts.get("labels", labels),
        measured=results[part],
        validation=results.get("validation") if part != "validation" else None,
        classes=sum(entry["support"] > 0 for entry in pooled["per_class"].values()),
        model_labels=model.get("labels", ()),
        other_labels=facts["clips_with_other_labels"] if model.get("labels") else None,
        synthetic=data.get("synthetic"),
        protocol=protocol,
        meaning=meaning,
        speakers_known=facts.get("speakers_known", True),
        heard=facts.get("heard_in_training"),
        by_corpus=by_corpus,
        clips=[(label, *(f"{count:,}" for count in row)) for label, row in zip(labels, counts, strict=True)],
        shares=[(label, *row) for label, row in zip(labels, shares, strict=True)],
        settings=[(name, it) for name, it in (*settings, *facts.get("versions", {}).items()) if it is not None],
    )


def render_suite(suite: Mapping[str, Any]) -> str:
    """Return the sections of the suite as Markdown."""
    missing = {name: it["not_computed"] for name, it in suite["sections"].items() if "not_computed" in it}
    sections = {name: it for name, it in suite["sections"].items() if name not in missing}
    return render("suite.md", suite=suite, sections=sections, missing=missing, shares=passed_shares(suite["checks"]))


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
