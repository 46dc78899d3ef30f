"""The front matter of a model card: what the Hub's search and leaderboards read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from huggingface_hub.repocard_data import EvalResult, ModelCardData

from hf_ser.corpora import strictest
from hf_ser.files import entry
from hf_ser.hub.facts import Facts

MODEL_KEYS: Final = ("library_name", "pipeline_tag", "base_model", "base_model_relation", "metrics", "model-index")
"""Keys that describe the files and figures of one push: a later push removes them if it does not set them."""

_TASK = "audio-classification"
_ORDER = (
    *("language", "license", "license_name", "license_link", "library_name", "pipeline_tag"),
    *("base_model", "base_model_relation", "tags", "datasets", "metrics"),
)
_FIGURES: tuple[tuple[tuple[str, ...], str, str, dict[str, str] | None], ...] = (
    (("uar",), "recall", "UAR (unweighted average recall)", {"average": "macro"}),
    (("accuracy",), "accuracy", "Accuracy", None),
    (("f1", "macro"), "f1", "Macro F1", {"average": "macro"}),
    (("f1", "weighted"), "f1", "Weighted F1", {"average": "weighted"}),
    (("eer", "macro"), "eer", "EER, one against the rest, macro", {"average": "macro"}),
)


def front_matter(metrics: Mapping[str, Any], facts: Facts, repo_id: str | None) -> str:
    """Return the card's front matter as YAML that the Hub accepts; the model index is named after the repository."""
    adapter = facts.saved == "adapter"
    tags = [
        "speech-emotion-recognition",
        _TASK,
        "emotion",
        "hf_ser",
        facts.recipe,
        facts.peft_type if adapter else None,
    ]
    if adapter and facts.base_id:
        tags.append(f"base_model:adapter:{facts.base_id}")
    names = (facts.base and facts.base.rpartition("/")[2], facts.recipe)
    name = repo_id.rpartition("/")[2] if repo_id else _slug("-".join(filter(None, names))) or "model"
    results = list(_eval_results(metrics["test"], facts)) if "test" in metrics else None
    data = ModelCardData(
        language=facts.languages[0] if len(facts.languages) == 1 else list(facts.languages) or None,
        **_licence(facts),
        library_name=None if facts.saved is None else "peft" if adapter else "transformers",
        pipeline_tag=_TASK,
        tags=[tag for tag in tags if tag],
        base_model=facts.base_id,
        base_model_relation=("adapter" if adapter else "finetune") if facts.base_id and facts.saved else None,
        datasets=[facts.dataset_id] if facts.dataset_id else None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) if results else None,
        model_name=name if results else None,
        eval_results=results,
    )
    return data.to_yaml(original_order=list(_ORDER))


def _licence(facts: Facts) -> dict[str, Any]:
    corpus = strictest(facts.known_corpora) if len(facts.known_corpora) == len(facts.corpora) else None
    if facts.licence and (corpus is None or corpus.licence.id != facts.licence):
        # The Hub knows licences by short ids in lower case; anything else is a name.
        if re.fullmatch(r"[a-z0-9.+-]+", facts.licence):
            return {"license": facts.licence}
        return {"license": "other", "license_name": _slug(facts.licence.lower())}
    if corpus is None:
        return {}
    licence = corpus.licence
    if licence.id != "other":
        return {"license": licence.id}
    return {
        "license": "other",
        "license_name": f"{corpus.name.replace('_', '-')}-terms",
        "license_link": licence.url or corpus.homepage,
    }


def _eval_results(test: Mapping[str, Any], facts: Facts) -> Iterator[EvalResult]:
    mark = "synthetic" if facts.synthetic else "example" if facts.example else ""
    # The test part's own corpora: under leave_out_tess, a result on TESS is not a result on the others.
    corpora = [*test["corpora"]]
    kind = facts.dataset_id or "-".join(_slug(name) for name in corpora) or "data"
    name = f"{mark} {', '.join(corpora) or facts.dataset or 'test part'}".strip()
    for path, metric, title, arguments in _FIGURES:
        value = entry(test["pooled"], *path)
        if value is not None:
            yield EvalResult(
                task_type=_TASK,
                task_name="Speech emotion recognition",
                dataset_type="-".join(filter(None, (mark, kind))),
                dataset_name=name,
                dataset_config=facts.protocol or "test",
                dataset_split="test",
                metric_type=metric,
                metric_value=round(value, 4),
                metric_name=title,
                metric_args=arguments,
            )


def _slug(name: str) -> str:
    # The Hub rejects any other character in a data set's type.
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
