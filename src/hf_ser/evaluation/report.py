"""report.md: the figures of an evaluation and what they mean, for a reader who did not run it."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_ser.evaluation.metrics.confusion import row_percent
from hf_ser.text import markdown_table, percent, percent_range

_DISJOINT = (
    "no speaker is in two parts of the data set. Sentences, rooms and microphones of a corpus are the same in all parts"
)
_PROTOCOLS: Mapping[str, str] = {
    "speaker_independent": _DISJOINT,
    "fold": "one fold of a cross-validation whose folds share no speaker; report the mean over all folds",
    "leave_out": "the test part is a corpus that is in no other part: other speakers, sentences and recordings",
    "paper": "a random draw of clips, as in the paper; use it only for comparison with its Table 3",
    "given": "the parts that the data set came with",
}


def render_report(facts: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Return report.md from the facts and the results of an evaluation; a part `validation` adds its table."""
    part = facts["part"]
    measured, labels = results[part], list(results["labels"])
    blocks = [
        _title(facts),
        _headline(measured, part),
        *_caveats(facts),
        *_protocol(facts),
        *_known(facts),
        "## By corpus",
        _corpora(measured),
        *_interval_notes(measured),
        "Further figures, pooled:",
        _other_figures(measured["pooled"]),
        "## By emotion",
        _emotions(measured["pooled"]["per_class"]),
        "Recall has Wilson's 95 % interval, which assumes independent clips: too narrow where speakers are few.",
        "## Confusion",
        "Rows are references, columns predictions: number of clips, then percent of the row.",
        *_confusion(measured["pooled"]["confusion"], labels),
    ]
    if part != "validation" and "validation" in results:
        note = "This part selected the checkpoint, so its figures are optimistic."
        blocks += ["## Validation", note, _corpora(results["validation"])]
    return "\n\n".join([*blocks, *_settings(facts)]) + "\n"


def _title(facts: Mapping[str, Any]) -> str:
    names = [facts[key]["name"] for key in ("model", "dataset") if key in facts]
    return "# Speech emotion recognition" + (f": {' on '.join(f'`{name}`' for name in names)}" if names else "")


def _headline(measured: Mapping[str, Any], part: str) -> str:
    pooled = measured["pooled"]
    bounds, note = pooled["intervals"]["uar"], pooled["intervals_note"]
    interval = f"95 % interval {percent_range(bounds)}" if bounds else ""
    remarks = "; ".join(text for text in (interval, note) if text)
    kind = "" if part == "all" else f"{part} "
    line = f"**UAR {percent(pooled['uar'])} %**" + (f" ({remarks})" if remarks else "")
    line += f" on {pooled['clips']:,} {kind}clips of {_count(pooled['speakers'], 'speaker')}"
    if len(measured["corpora"]) > 1:
        mean = measured["mean_over_corpora"]
        line += f"; mean over the {mean['corpora']} corpora {percent(mean['uar'])} %"
    classes = sum(entry["support"] > 0 for entry in pooled["per_class"].values())
    return (
        f"{line}.\n\nUAR is the mean of the recalls of the {classes} emotions that occur in these clips; guessing "
        f"reaches {100 / classes:.1f} %. Intervals are from a bootstrap over the speakers of each corpus. All figures "
        "are in percent."
    )


def _caveats(facts: Mapping[str, Any]) -> list[str]:
    blocks = []
    model = facts.get("model", {}).get("labels")
    if model and (facts["clips_with_other_labels"] or len(model) != len(facts["labels"])):
        clips = _count(facts["clips_with_other_labels"], "clip")
        blocks.append(
            f"Scored on the {len(facts['labels'])} labels that the model and the data set share: "
            f"{', '.join(facts['labels'])}. The model knows {', '.join(model)}; {clips} with other labels left out."
        )
    if facts.get("dataset", {}).get("synthetic"):
        blocks.append("> The speech is synthetic: these figures only show that the pipeline runs.")
    return blocks


def _protocol(facts: Mapping[str, Any]) -> list[str]:
    protocol = facts.get("protocol")
    if not protocol:
        return []
    kind = next((kind for kind in _PROTOCOLS if protocol.startswith(kind)), None)
    # A protocol's promise is not repeated where the data set breaks it.
    kept = kind in ("paper", "given") or facts["disjoint"]
    return [f"Protocol `{protocol}`" + (f": {_PROTOCOLS[kind]}." if kind and kept else ".")]


def _known(facts: Mapping[str, Any]) -> list[str]:
    """Say what the model heard of these clips in training; new speakers are claimed only where it is proved."""
    if "heard_in_training" not in facts:
        return []
    speakers, recordings = facts["heard_in_training"]["speakers"], facts["heard_in_training"]["recordings"]
    if speakers or recordings:
        found = [_count(len(speakers), "of these speakers", plural="")] if speakers else []
        found += [_count(recordings, "of these recordings", plural="")] if recordings else []
        return [
            "> **Warning: the model was trained on, or selected by, some of this data "
            f"({' and '.join(found)}).** It may recognise the voice instead of the emotion. These figures do not apply "
            "to new speakers and must not be compared with speaker-independent ones."
        ]
    if speakers is None:
        return ["It is not recorded which speakers the model was trained on, so it may know some of these."]
    if recordings is None:
        return ["None of these speakers is recorded as one that the model was trained on or selected by."]
    return ["The model was neither trained on these speakers nor selected by them: the figures are for new speakers."]


def _corpora(measured: Mapping[str, Any]) -> str:
    rows = [_corpus_row(name, measure) for name, measure in _by_corpus(measured).items()]
    return markdown_table(("corpus", "clips", "speakers", "UAR", "accuracy", "macro F1", "macro EER"), rows)


def _by_corpus(measured: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    mean = {"mean over corpora": measured["mean_over_corpora"]} if len(measured["corpora"]) > 1 else {}
    return {**measured["corpora"], "pooled": measured["pooled"], **mean}


def _corpus_row(name: str, measure: Mapping[str, Any]) -> tuple[str, ...]:
    def with_interval(value: float | None, bounds: Sequence[float] | None) -> str:
        return percent(value) + (f" ({percent_range(bounds)})" if bounds else "")

    intervals = measure["intervals"]
    return (
        name,
        f"{measure['clips']:,}" if "clips" in measure else "",
        str(measure.get("speakers", "")),
        with_interval(measure["uar"], intervals["uar"]),
        with_interval(measure["accuracy"], intervals["accuracy"]),
        with_interval(measure["f1"]["macro"], intervals["f1_macro"]),
        percent(measure["eer"]["macro"]),
    )


def _interval_notes(measured: Mapping[str, Any]) -> list[str]:
    notes = {name: measure["intervals_note"] for name, measure in _by_corpus(measured).items()}
    lines = [f"- {name}: {note}." for name, note in notes.items() if note]
    return ["Intervals:\n\n" + "\n".join(lines)] if lines else []


def _other_figures(pooled: Mapping[str, Any]) -> str:
    rows = [
        ("micro F1 (equals accuracy)", percent(pooled["f1"]["micro"])),
        ("weighted F1", percent(pooled["f1"]["weighted"])),
        ("EER, macro (each class against the rest, from scores)", percent(pooled["eer"]["macro"])),
        ("EER, micro (all pairs of clip and class pooled)", percent(pooled["eer"]["micro"])),
        ('the paper\'s "EER": mean (FPR + FNR) / 2 of predictions', percent(pooled["paper_eer"])),
    ]
    return markdown_table(("figure", "value"), rows, numbers=False)


def _emotions(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for label, entry in per_class.items():
        bounds = entry["recall_interval"]
        recall = percent(entry["recall"]) + (f" ({percent_range(bounds)})" if bounds else "")
        shares = (percent(entry["precision"]), recall, percent(entry["f1"]), percent(entry["eer"]))
        rows.append((label, f"{entry['support']:,}", *shares))
    return markdown_table(("emotion", "clips", "precision", "recall", "F1", "EER"), rows)


def _confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> list[str]:
    header = ("reference", *labels)
    clips = [(label, *(f"{count:,}" for count in row)) for label, row in zip(labels, counts, strict=True)]
    shares = [
        (label, *("" if share != share else f"{share:.1f}" for share in row))
        for label, row in zip(labels, row_percent(counts).tolist(), strict=True)
    ]
    return [markdown_table(header, clips), markdown_table(header, shares)]


def _settings(facts: Mapping[str, Any]) -> list[str]:
    rows = [
        ("data set fingerprint", facts.get("dataset", {}).get("fingerprint")),
        ("seed of the bootstrap", facts.get("seed")),
        *facts.get("versions", {}).items(),
    ]
    rows = [(name, str(value)) for name, value in rows if value is not None]
    return ["## Settings", markdown_table(("setting", "value"), rows, numbers=False)] if rows else []


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else plural)
