"""The card's front matter: what the Hub's search and its leaderboards read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from huggingface_hub.repocard_data import EvalResult, ModelCardData

from hf_ser.corpora import Corpus
from hf_ser.hub.facts import Facts, entry

__all__ = ["OWNED", "front_matter", "licence_of"]

OWNED: Final = ("library_name", "base_model_relation")
"""What must be true of the files for anybody to load them, whatever an earlier card of a human or a tool says."""

_TASK = "audio-classification"

_Figure = tuple[str, float, str, dict[str, str]]
"""Metric, value, name and arguments, as a model index has them."""

_ORDER = (
    "language",
    "license",
    "license_name",
    "license_link",
    "library_name",
    "pipeline_tag",
    "base_model",
    "base_model_relation",
    "tags",
    "datasets",
    "metrics",
)
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


def licence_of(corpora: Sequence[Corpus]) -> Corpus | None:
    """Return the corpus whose licence restricts most; None without corpora.

    No published licence comes before one that forbids passing on derivatives, and that before one that
    forbids commercial use.

    Example:
        >>> from hf_ser.corpora import CORPORA
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
        metrics: Contents of metrics.json; without its `test`, nothing is said of metrics and results.
        facts: The same, read.
        repo_id: Where the model will lie; it names the model in the model index.

    Example:
        >>> from hf_ser.hub.facts import read_facts
        >>> run = {"model": {"name": "facebook/hubert-base-ls960", "saved": "adapter"}, "recipe": {"name": "lora_qkv"}}
        >>> metrics = {"test": {"pooled": {"uar": 0.5, "per_class": {}}, "corpora": {}}}
        >>> print(front_matter(run, metrics, read_facts(run, metrics), None).partition("tags:")[0])
        library_name: peft
        pipeline_tag: audio-classification
        base_model: facebook/hubert-base-ls960
        base_model_relation: adapter
    """
    adapter = facts.saved == "adapter"
    tags = ["speech-emotion-recognition", _TASK, "emotion", "hf_ser", facts.recipe, "lora" if adapter else None]
    if adapter and facts.base_id:
        tags.append(f"base_model:adapter:{facts.base_id}")
    names = (facts.base and facts.base.rpartition("/")[2], facts.recipe)
    name = repo_id.rpartition("/")[2] if repo_id else _slug("-".join(filter(None, names))) or "model"
    results = _eval_results(metrics["test"], facts) if "test" in metrics else None
    data = ModelCardData(
        language="en" if facts.acted_english else None,
        **_licence(facts),
        library_name=None if facts.saved is None else "peft" if adapter else "transformers",
        pipeline_tag=_TASK,
        tags=[tag for tag in tags if tag],
        base_model=facts.base_id,
        base_model_relation=("adapter" if adapter else "finetune") if facts.base_id and facts.saved else None,
        datasets=[facts.dataset_id] if facts.dataset_id else None,
        metrics=list(dict.fromkeys(kind for _, kind, _, _ in _FIGURES if kind != "paper_eer")) if results else None,
        co2_eq_emissions=_emissions(run),
        model_name=name if results else None,
        eval_results=results,
    )
    return data.to_yaml(original_order=list(_ORDER))


def _licence(facts: Facts) -> dict[str, Any]:
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
    found = {
        "emissions": round(float(grams), 3),
        "source": entry(run, "emissions", "source"),
        "training_type": "fine-tuning",
        "geographical_location": entry(run, "emissions", "country"),
        "hardware_used": entry(run, "hardware", "accelerator") or entry(run, "hardware", "platform"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _eval_results(test: Mapping[str, Any], facts: Facts) -> list[EvalResult]:
    mark = "synthetic" if facts.synthetic else "example" if facts.example else ""
    # The test part's own corpora: under leave_out_tess, a result on TESS is no result on the others.
    corpora = [*test["corpora"]]
    whole = facts.dataset_id or "-".join(_slug(name) for name in corpora) or "data"
    protocol = facts.protocol or "test"
    listed = f"{mark} {', '.join(corpora)}".strip() or "test part"
    parts = [(whole, protocol, listed, test["pooled"])]
    # With a single corpus, pooled is that corpus: the Hub would take a second entry for a second result.
    if len(corpora) > 1:
        mean = test["mean_over_corpora"]
        parts = [
            (whole, protocol, f"{listed}; pooled", test["pooled"]),
            *((_slug(name), protocol, f"{mark} {name}".strip(), test["corpora"][name]) for name in corpora),
            (whole, f"{protocol}, mean over corpora", f"{listed}; mean over corpora", mean),
        ]
    results = []
    for kind, config, name, measure in parts:
        figures = list(_figures(measure))
        if measure is test["pooled"]:
            figures += _figures_of_classes(measure)
        results += [
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
            for metric, value, title, arguments in figures
        ]
    return results


def _slug(name: str) -> str:
    # The Hub refuses a data set's type with any other character.
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)


def _figures(measure: Mapping[str, Any]) -> Iterator[_Figure]:
    for path, metric, title, arguments in _FIGURES:
        value = entry(measure, *path)
        if value is not None:
            yield metric, value, title, arguments


def _figures_of_classes(measure: Mapping[str, Any]) -> Iterator[_Figure]:
    for label, figures in measure["per_class"].items():
        for metric, title in _FIGURES_OF_A_CLASS:
            if figures[metric] is not None:
                yield metric, figures[metric], f"{title}, {label}", {"label": label}
