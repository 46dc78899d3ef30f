"""What a run's records say, in the form that its card needs; and the card's front matter."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.repocard_data import EvalResult, ModelCardData

from hf_ser.corpora import CORPORA, Corpus

__all__ = ["Facts", "entry", "front_matter", "licence_of", "read_facts"]

# What the Hub takes for a model or data set; everything else there is refused with the whole commit.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_TASK = "audio-classification"

_FIGURES: tuple[tuple[tuple[str, ...], str, str, dict[str, str]], ...] = (
    (("accuracy",), "accuracy", "Accuracy", {}),
    (("uar",), "recall", "UAR (unweighted average recall)", {"average": "macro"}),
    (("f1", "macro"), "f1", "Macro F1", {"average": "macro"}),
    (("f1", "weighted"), "f1", "Weighted F1", {"average": "weighted"}),
    (("f1", "micro"), "f1", "Micro F1", {"average": "micro"}),
    (("eer", "macro"), "eer", "EER, one against the rest, macro", {"average": "macro"}),
    (("eer", "micro"), "eer", "EER, one against the rest, micro", {"average": "micro"}),
    (("paper_eer",), "paper_eer", "Mean (FPR + FNR) / 2 of decisions (the paper's EER)", {}),
)
_FIGURES_OF_A_CLASS = (("recall", "Recall"), ("precision", "Precision"), ("f1", "F1"), ("eer", "EER"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run is, as far as its record says; None (or empty) for what it does not say.

    Attributes:
        base: Name of the base model to show: a Hub id, or the last part of a local path.
        base_id: The same where it is a Hub id.
        revision: Of the base model on the Hub.
        saved: `checkpoint`, `adapter`, or `merged` for an adapter merged into its base.
        recipe: Name of the recipe.
        protocol: Name of the split's protocol.
        labels: In the order of their identifiers.
        dataset: Name of the data set to show.
        dataset_id: The same where it is a Hub id.
        corpora: Corpora that any part holds clips of.
        synthetic: Whether the clips are synthesised instead of recorded.
        example: Whether the record is invented, to show what a card looks like.
        shared_speakers: Speakers of the test part who are in another part, too.
        disjoint: Whether the parts share no speaker; None where nothing in the record shows it.
    """

    base: str | None
    base_id: str | None
    revision: str | None
    saved: str | None
    recipe: str | None
    protocol: str | None
    labels: tuple[str, ...]
    dataset: str | None
    dataset_id: str | None
    corpora: tuple[str, ...]
    synthetic: bool
    example: bool
    shared_speakers: tuple[str, ...]
    disjoint: bool | None

    @property
    def known_corpora(self) -> tuple[Corpus, ...]:
        """The corpora whose terms and contents are known here; none of them for synthetic clips."""
        return () if self.synthetic else tuple(CORPORA[name] for name in self.corpora if name in CORPORA)

    @property
    def acted_english(self) -> bool:
        """Whether every clip is from the four corpora."""
        return bool(self.corpora) and len(self.known_corpora) == len(self.corpora)


def entry(mapping: Mapping[str, Any], *path: str) -> Any:
    """Return what lies at a path of nested mappings, or None where the path ends early.

    Example:
        >>> entry({"model": {"name": "me/hubert"}}, "model", "name")
        'me/hubert'
    """
    value: Any = mapping
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def read_facts(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> Facts:
    """Read what a run is from its run.json and metrics.json.

    Example:
        >>> facts = read_facts({"model": {"name": "/home/me/hubert-tiny"}}, {"labels": ["calm", "sad"]})
        >>> facts.base, facts.base_id, facts.labels
        ('hubert-tiny', None, ('calm', 'sad'))
    """
    base_id, base = _named(entry(run, "model"))
    dataset_id, dataset = _named(entry(run, "dataset"))
    saved = entry(run, "model", "saved")
    if saved is None and isinstance(run.get("recipe"), Mapping):
        saved = "adapter" if run["recipe"].get("lora") else "checkpoint"
    shared, disjoint = _speakers(run)
    return Facts(
        base=base,
        base_id=base_id,
        revision=entry(run, "model", "revision") if base_id else None,
        saved=saved,
        recipe=entry(run, "recipe", "name"),
        protocol=run.get("protocol"),
        labels=tuple(run.get("labels") or metrics.get("labels") or ()),
        dataset=dataset,
        dataset_id=dataset_id,
        corpora=_corpora(run, metrics),
        synthetic=bool(entry(run, "dataset", "synthetic")),
        example=bool(run.get("example")),
        shared_speakers=shared,
        disjoint=disjoint,
    )


def _named(described: Any) -> tuple[str | None, str | None]:
    """Return the Hub id, if it is one, and the name to show: of a path, which is nobody's business, its end."""
    name = entry({"of": described}, "of", "name")
    if not name:
        return None, None
    local = described.get("local")
    if local is None:
        # `encoders/hubert-tiny` has the form of a Hub id; like `transformers`, take it for a folder that exists.
        local = Path(name).exists()
    if not local and _HUB_ID.fullmatch(name):
        return name, name
    return None, next((part for part in reversed(re.split(r"[\\/]", name)) if part.strip(".")), None)


def _corpora(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> tuple[str, ...]:
    parts = (entry(run, "dataset", "parts") or {}).values()
    found = {
        corpus
        for part in parts
        for corpus, counts in (part.get("counts") or {}).items()
        if any(counts.values())
    } or set(entry(metrics, "test", "corpora") or ())
    return tuple(sorted(found, key=lambda name: (name not in CORPORA, [*CORPORA].index(name) if name in CORPORA else 0, name)))


def _speakers(run: Mapping[str, Any]) -> tuple[tuple[str, ...], bool | None]:
    parts: Mapping[str, Any] = entry(run, "dataset", "parts") or {}
    speakers = {name: set(part.get("speakers") or ()) for name, part in parts.items()}
    others = set().union(*(found for name, found in speakers.items() if name != "test")) if speakers else set()
    shared = tuple(sorted(others & speakers.get("test", set())))
    if shared:
        return shared, False
    proved = entry(run, "dataset", "proof", "speaker_disjoint")
    if proved is not None:
        return shared, bool(proved)
    return shared, True if len(speakers) > 1 and all(speakers.values()) else None


def licence_of(corpora: Sequence[Corpus]) -> Corpus | None:
    """Return the corpus whose licence restricts most; None without corpora.

    No published licence comes before one that forbids passing on derivatives, and that before one that
    forbids commercial use.

    Example:
        >>> licence_of([CORPORA["crema_d"], CORPORA["tess"], CORPORA["ravdess"]]).licence.id
        'cc-by-nc-nd-4.0'
    """

    def severity(corpus: Corpus) -> tuple[bool, bool, bool]:
        licence = corpus.licence
        return licence.url is None, not licence.redistribution, licence.non_commercial

    return max(corpora, key=severity, default=None)


def front_matter(run: Mapping[str, Any], metrics: Mapping[str, Any], facts: Facts, repo_id: str | None) -> str:
    """Return the card's front matter, YAML without its rules, in the terms that the Hub accepts.

    Args:
        run: Contents of run.json.
        metrics: Contents of metrics.json.
        facts: The same, read.
        repo_id: Where the model will lie; it names the model in the model index.
    """
    adapter = facts.saved == "adapter"
    tags = ["speech-emotion-recognition", _TASK, "emotion", "hf_ser", facts.recipe, "lora" if adapter else None]
    if adapter and facts.base_id:
        tags.append(f"base_model:adapter:{facts.base_id}")
    name = repo_id.rpartition("/")[2] if repo_id else "-".join(filter(None, (facts.base, facts.recipe))) or "model"
    results = _eval_results(metrics["test"], facts)
    data = ModelCardData(
        language="en" if facts.acted_english else None,
        **_licence(facts),
        library_name=None if facts.saved is None else "peft" if adapter else "transformers",
        pipeline_tag=_TASK,
        tags=[tag for tag in tags if tag],
        base_model=facts.base_id,
        base_model_relation=("adapter" if adapter else "finetune") if facts.base_id and facts.saved else None,
        datasets=[facts.dataset_id] if facts.dataset_id else None,
        metrics=list(dict.fromkeys(kind for _, kind, _, _ in _FIGURES if kind != "paper_eer")),
        co2_eq_emissions=_emissions(run),
        model_name=name,
        eval_results=results,
    )
    return data.to_yaml()


def _licence(facts: Facts) -> dict[str, str]:
    if not facts.acted_english:
        return {}
    strictest = licence_of(facts.known_corpora)
    if strictest is None:
        return {}
    licence = strictest.licence
    if licence.id != "other":
        return {"license": licence.id}
    return {
        "license": "other",
        "license_name": f"{strictest.name.replace('_', '-')}-terms",
        "license_link": licence.url or strictest.homepage,
    }


def _emissions(run: Mapping[str, Any]) -> dict[str, Any] | None:
    grams = entry(run, "emissions", "grams")
    if grams is None:
        return None
    found = {"emissions": round(float(grams), 3), "source": entry(run, "emissions", "source"), "training_type": "fine-tuning"}
    return {key: value for key, value in found.items() if value is not None}


def _eval_results(test: Mapping[str, Any], facts: Facts) -> list[EvalResult]:
    mark = "synthetic" if facts.synthetic else "example" if facts.example else ""
    whole = facts.dataset_id or "-".join(_slug(name) for name in facts.corpora) or "data"
    protocol = facts.protocol or "test"
    listed = " ".join(filter(None, (mark, ", ".join(facts.corpora))))
    parts = [(whole, protocol, f"{listed}; pooled".removeprefix("; "), test["pooled"])]
    # With a single corpus, pooled is that corpus: the Hub would take a second entry for a second result.
    if len(test["corpora"]) > 1:
        parts += [(_slug(name), protocol, f"{mark} {name}".strip(), of) for name, of in test["corpora"].items()]
        mean = test["mean_over_corpora"]
        parts.append((whole, f"{protocol}, mean over corpora", f"{listed}; mean over corpora", mean))
    return [
        EvalResult(
            task_type=_TASK,
            task_name="Speech emotion recognition",
            dataset_type="-".join(filter(None, (mark, kind))),
            dataset_name=name,
            dataset_config=config,
            dataset_split="test",
            metric_type=metric,
            metric_value=round(value, 4),
            metric_name=title,
            metric_args=arguments or None,
        )
        for kind, config, name, measure in parts
        for metric, value, title, arguments in _figures(measure)
    ]


def _slug(name: str) -> str:
    # The Hub refuses a data set's type with any other character.
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)


def _figures(measure: Mapping[str, Any]) -> Iterable[tuple[str, float, str, dict[str, str]]]:
    """Yield metric, value, name and arguments of all that the card reports of a part, in its order."""
    for path, metric, title, arguments in _FIGURES:
        value = entry(measure, *path)
        if value is not None:
            yield metric, value, title, arguments
    # The card's table of emotions is of all corpora pooled, which alone has a line for every label.
    for label, figures in (measure.get("per_class") or {}).items() if "pooled" in measure else ():
        for metric, title in _FIGURES_OF_A_CLASS:
            if figures.get(metric) is not None:
                yield metric, figures[metric], f"{title}, {label}", {"label": label}
