"""report.md: what a run's figures are and what they mean, for a reader who was not there."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics.confusion import row_percent
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.text import markdown_table, percent, percent_range

__all__ = ["evaluate_scores", "render_report"]

_PROTOCOLS: Mapping[str, str] = {
    "speaker_independent": (
        "no speaker of the test clips was heard in training or in choosing the checkpoint, so the figures "
        "tell of new voices. Sentences, rooms and microphones of a corpus are the same on both sides"
    ),
    "fold": "one fold of a cross-validation whose folds share no speaker; report the mean over all folds",
    "leave_out": (
        "the test clips are a corpus that took no part in training: new voices, sentences and recording conditions"
    ),
    "paper": "a random draw of clips, as in the paper, kept for comparison with its Table 3",
}


def render_report(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Render report.md from the contents of run.json and metrics.json.

    Only what the two hold is said; unknown keys of run.json are left out.

    Args:
        run: The facts of the run, as run.json holds them.
        metrics: `labels`, `test` and, where there is one, `validation`, as `evaluate_scores` gives them.

    Returns:
        Markdown.

    Raises:
        InputError: `metrics` has no `labels` or no `test`.

    Example:
        >>> labels, corpora, speakers = ["calm", "sad"], ["savee"] * 3, ["DC", "JE", "KL"]
        >>> scores = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]
        >>> test = evaluate_scores(scores, [0, 1, 1], labels, corpora, speakers, seed=0)
        >>> report = render_report({"protocol": "paper"}, {"labels": labels, "test": test})
        >>> report.splitlines()[2][:63]
        '**UAR 100.0 %** (95 % interval 100.0 to 100.0; too narrow: 3 sp'
    """
    for key in ("labels", "test"):
        if key not in metrics:
            raise InputError(f"metrics has no {key!r}; give the contents of a metrics.json")
    labels, test = list(metrics["labels"]), metrics["test"]
    blocks = [
        _title(run),
        _headline(test),
        *_protocol(run),
        "## By corpus",
        _corpora(test),
        *_interval_notes(test),
        *_other_figures(test),
        "## By emotion",
        _emotions(test["pooled"]["per_class"]),
        "Recall is given with Wilson's 95 % interval, which takes clips as independent: too narrow where "
        "speakers are few.",
        "## Confusion",
        "Rows are the references, columns the decisions; clips, then percent of the row.",
        *_confusion(test["pooled"]["confusion"], labels),
        *_validation(metrics.get("validation")),
        *_data(run),
        *_settings(run),
    ]
    return "\n\n".join(blocks) + "\n"


def _title(run: Mapping[str, Any]) -> str:
    model = _entry(run, "model", "name")
    recipe = run.get("recipe")
    recipe = recipe.get("name") if isinstance(recipe, Mapping) else recipe
    parts = [text for text in (model and f"`{model}`", recipe and f"recipe `{recipe}`") if text]
    return "# Speech emotion recognition" + (f": {', '.join(parts)}" if parts else "")


def _headline(test: Mapping[str, Any]) -> str:
    pooled = test["pooled"]
    bounds, note = pooled["intervals"]["uar"], pooled["intervals_note"]
    interval = f"95 % interval {percent_range(bounds)}" if bounds else ""
    remarks = "; ".join(text for text in (interval, note) if text)
    line = f"**UAR {percent(pooled['uar'])} %**" + (f" ({remarks})" if remarks else "")
    line += f" on {pooled['clips']:,} test clips of {_count(pooled['speakers'], 'speaker')}"
    if len(test["corpora"]) > 1:
        mean = test["mean_over_corpora"]
        line += f"; mean over the {mean['corpora']} corpora {percent(mean['uar'])} %"
    classes = sum(entry["support"] > 0 for entry in pooled["per_class"].values())
    return (
        f"{line}.\n\nUAR is the mean of the recalls of the {classes} emotions that occur in the test clips; "
        f"guessing reaches {100 / classes:.1f} %. Intervals come from drawing speakers with replacement "
        "within each corpus. All figures are in percent."
    )


def _protocol(run: Mapping[str, Any]) -> list[str]:
    protocol = run.get("protocol")
    if not protocol:
        return []
    kind = next((kind for kind in _PROTOCOLS if str(protocol).startswith(kind)), None)
    heard, tested = (_speakers(run, *parts) for parts in (("train", "validation"), ("test",)))
    shared = heard & tested
    # What a protocol promises is not repeated where the run's own parts break it.
    meaning = _PROTOCOLS[kind] if kind and (kind == "paper" or not shared) else None
    blocks = [f"Protocol `{protocol}`" + (f": {meaning}." if meaning else ".")]
    if kind == "paper" or shared:
        count = f" ({len(shared)} of the {len(tested)} in the test clips)" if shared else ""
        blocks.append(
            f"> **Warning: speakers leak.** The same speakers{count} are in the test clips and in those the "
            "model learned from or was chosen by, so it may know the voice instead of the emotion. These "
            "figures say nothing about new speakers and must not be compared with speaker-independent ones."
        )
    return blocks


def _speakers(run: Mapping[str, Any], *parts: str) -> set[str]:
    return {speaker for part in parts for speaker in _entry(run, "dataset", "parts", part, "speakers") or ()}


def _corpora(test: Mapping[str, Any]) -> str:
    rows = [_corpus_row(name, measure) for name, measure in test["corpora"].items()]
    rows.append(_corpus_row("pooled", test["pooled"]))
    if len(test["corpora"]) > 1:
        rows.append(_corpus_row("mean over corpora", test["mean_over_corpora"]))
    return markdown_table(("corpus", "clips", "speakers", "UAR", "accuracy", "macro F1", "macro EER"), rows)


def _corpus_row(name: str, measure: Mapping[str, Any]) -> tuple[str, ...]:
    def with_interval(value: float | None, key: str) -> str:
        bounds = measure["intervals"][key]
        return percent(value) + (f" ({percent_range(bounds)})" if bounds else "")

    clips, speakers = measure.get("clips"), measure.get("speakers")
    return (
        name,
        "" if clips is None else f"{clips:,}",
        "" if speakers is None else str(speakers),
        with_interval(measure["uar"], "uar"),
        with_interval(measure["accuracy"], "accuracy"),
        with_interval(measure["f1"]["macro"], "f1_macro"),
        percent(measure["eer"]["macro"]),
    )


def _interval_notes(test: Mapping[str, Any]) -> list[str]:
    parts = [*test["corpora"].items(), ("pooled", test["pooled"])]
    if len(test["corpora"]) > 1:
        parts.append(("mean over corpora", test["mean_over_corpora"]))
    notes = [f"- {name}: {part['intervals_note']}." for name, part in parts if part["intervals_note"]]
    return ["Intervals:\n\n" + "\n".join(notes)] if notes else []


def _other_figures(test: Mapping[str, Any]) -> list[str]:
    pooled = test["pooled"]
    rows = [
        ("micro F1 (equals accuracy)", percent(pooled["f1"]["micro"])),
        ("weighted F1", percent(pooled["f1"]["weighted"])),
        ("EER, macro (one against the rest, from scores)", percent(pooled["eer"]["macro"])),
        ("EER, micro (all pairs of clip and class pooled)", percent(pooled["eer"]["micro"])),
        ('the paper\'s "EER": mean (FPR + FNR) / 2 of decisions', percent(pooled["paper_eer"])),
    ]
    return ["Further figures, pooled:", markdown_table(("figure", "value"), rows, numbers=False)]


def _emotions(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for label, entry in per_class.items():
        bounds = entry["recall_interval"]
        recall = percent(entry["recall"]) + (f" ({percent_range(bounds)})" if bounds else "")
        shares = (percent(entry["precision"]), recall, percent(entry["f1"]), percent(entry["eer"]))
        rows.append((label, f"{entry['support']:,}", *shares))
    return markdown_table(("emotion", "clips", "precision", "recall", "F1", "EER"), rows)


def _confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> list[str]:
    shares = row_percent(counts).tolist()
    clips = [(label, *(f"{cell:,}" for cell in row)) for label, row in zip(labels, counts, strict=True)]
    # NaN alone differs from itself: a row without clips has no percentages.
    row_shares = [
        (label, *("" if cell != cell else f"{cell:.1f}" for cell in row))
        for label, row in zip(labels, shares, strict=True)
    ]
    return [markdown_table(("clips", *labels), clips), markdown_table(("percent", *labels), row_shares)]


def _validation(validation: Mapping[str, Any] | None) -> list[str]:
    if not validation:
        return []
    return [
        "## Validation",
        "The part that chose the checkpoint, and is therefore flattered by the choice.",
        _corpora(validation),
    ]


def _data(run: Mapping[str, Any]) -> list[str]:
    parts = _entry(run, "dataset", "parts")
    if not parts:
        return []
    rows = []
    for name, part in parts.items():
        corpora = {corpus: sum(counts.values()) for corpus, counts in (part.get("counts") or {}).items()}
        listed = ", ".join(f"{corpus} {clips:,}" for corpus, clips in corpora.items() if clips)
        rows.append((name, f"{part.get('clips', 0):,}", str(len(part.get("speakers") or ())), listed))
    return ["## Data", markdown_table(("part", "clips", "speakers", "clips by corpus"), rows)]


def _settings(run: Mapping[str, Any]) -> list[str]:
    rows = [("hf_ser", str(run["hf_ser"]))] if "hf_ser" in run else []
    for fact in ("name", "fingerprint"):
        if value := _entry(run, "dataset", fact):
            rows.append((f"dataset {fact}", _plain(value)))
    for section in ("model", "recipe", "best", "seeds", "hardware", "seconds", "versions"):
        rows += _flat(section, run.get(section))
    for place, size in (run.get("peak_memory_bytes") or {}).items():
        if size:
            rows.append((f"peak memory {place}", f"{size / 2**30:.2f} GiB"))
    blocks = ["## Settings", markdown_table(("setting", "value"), rows, numbers=False)] if rows else []
    if run.get("arguments"):
        table = markdown_table(("argument", "value"), _flat("", run["arguments"]), numbers=False)
        blocks.append(f"<details><summary>All arguments</summary>\n\n{table}\n\n</details>")
    return blocks


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, entry in value.items() for row in _flat(f"{prefix} {key}".strip(), entry)]
    if prefix.endswith("parameters") and isinstance(value, int):
        return [(prefix, f"{value:,}")]
    return [] if value is None or value == [] else [(prefix, _plain(value))]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(entry) for entry in value)
    return str(value)


def _entry(mapping: Mapping[str, Any], *path: str) -> Any:
    value: Any = mapping
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
