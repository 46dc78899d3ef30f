"""A run's records as its model card: facts first, nothing guessed, unknown facts left out."""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from hf_ser.corpora import CORPORA, Corpus, licence_table
from hf_ser.errors import InputError
from hf_ser.hub import statements
from hf_ser.hub.facts import SEGMENT_SECONDS, Facts, code, entry, read_facts, shareable_record
from hf_ser.hub.front_matter import front_matter, licence_of
from hf_ser.hub.sections import environment, label_table, results, split, training
from hf_ser.hub.snippets import snippets
from hf_ser.text import percent, percent_range

__all__ = ["check_repo_id", "render_model_card", "template", "tidy"]

_REPO_ID = re.compile(r"([\w.-]+/)?[\w.-]+", re.ASCII)

_PAPER = """\
@misc{efficient_hubert_ser,
  title  = {Efficient Fine-Tuning Approaches on {HuBERT} for Speech Emotion Recognition on Multiple Labels},
  author = {{Anonymous}},
  note   = {Anonymous ACL submission}
}"""
_LIBRARY = """\
@software{hf_ser,
  title   = {{hf\\_ser}: fine-tuning of speech encoders for emotion recognition},
  version = {%s}
}"""


def render_model_card(run: Mapping[str, Any], metrics: Mapping[str, Any], *, repo_id: str | None = None) -> str:
    """Render the model card of a run from its records alone.

    What the records do not say is left out. Needs no network, and no torch.

    Args:
        run: Contents of run.json. Beyond what `finetune` writes, these are heeded: `model.saved` as `merged` for
            an adapter merged into its base; `model.local` and `dataset.local`, whether the name is a folder's
            (where they are absent, a name that exists as a path is); `dataset.synthetic` for synthesised clips;
            `emissions` with `grams` of CO2 equivalents and their `source`; `example` for an invented record.
        metrics: Contents of metrics.json.
        repo_id: Where the model will lie on the Hub; None for a card that stays beside the model, whose
            snippets load from the current folder.

    Returns:
        Front matter and Markdown.

    Raises:
        InputError: `metrics` has no `labels` or no `test`, or `repo_id` is no name on the Hub.

    Example:
        >>> from hf_ser.evaluation.scores import evaluate_scores
        >>> labels, corpora, speakers = ["calm", "sad"], ["savee"] * 3, ["DC", "JE", "KL"]
        >>> test = evaluate_scores([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], [0, 1, 1], labels, corpora, speakers, seed=0)
        >>> card = render_model_card({"protocol": "paper"}, {"labels": labels, "test": test}, repo_id="me/ser")
        >>> card.splitlines()[1:4]
        ['language: en', 'license: other', 'license_name: savee-terms']
        >>> "Warning: speakers leak" in card
        True
    """
    for key in ("labels", "test"):
        if key not in metrics:
            raise InputError(f"metrics has no {key!r}; give the contents of a metrics.json")
    check_repo_id(repo_id)
    run = shareable_record(run)
    facts = read_facts(run, metrics)
    text = template("model_card.md").render(
        front_matter=front_matter(run, metrics, facts, repo_id),
        title=statements.title(facts),
        warnings=statements.warnings(facts),
        subject=statements.subject(facts),
        labels=facts.labels,
        origin=statements.origin(run, facts),
        headline=_headline(metrics["test"], facts),
        snippets=snippets(run, facts, repo_id),
        in_this_folder=repo_id is None,
        purpose=statements.purpose(facts),
        segment_seconds=f"{run.get('segment_seconds') or SEGMENT_SECONDS:g}",
        meaning=statements.meaning(facts),
        limits=statements.limits(run, facts),
        label_table=label_table(run, facts),
        split=split(run, facts),
        results=results(metrics["test"]),
        training=training(run, facts),
        files=_files(run, facts),
        environment=environment(run),
        licences=_licences(facts),
        citations_corpora=bool(facts.known_corpora),
        citations="\n\n".join(_citations(run, facts)),
    )
    return tidy(text)


def check_repo_id(repo_id: str | None) -> None:
    """Refuse a name that no repository on the Hub can have.

    Raises:
        InputError: It is one.
    """
    if repo_id is not None and not _REPO_ID.fullmatch(repo_id):
        raise InputError(f"repo_id '{repo_id}' is no repository on the Hub; give USER/NAME")


def tidy(text: str) -> str:
    """Return a rendered card without the blank lines that absent sections leave."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@lru_cache
def template(name: str) -> Template:
    """Return one of the package's templates."""
    source = resources.files("hf_ser").joinpath("templates", name).read_text(encoding="utf-8")
    # An undefined name in the template fails instead of leaving a hole in the card.
    setting = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return setting.from_string(source)


def _headline(test: Mapping[str, Any], facts: Facts) -> str:
    pooled = test["pooled"]
    bounds = pooled["intervals"]["uar"]
    interval = f" (95 % interval {percent_range(bounds)})" if bounds else ""
    speakers = f"{pooled['speakers']:,} speaker{'s' if pooled['speakers'] != 1 else ''}"
    heard = {True: " that the model never heard", False: "", None: ""}[facts.disjoint and facts.protocol != "paper"]
    mean = test["mean_over_corpora"]
    over = f"; mean over the {mean['corpora']} corpora {percent(mean['uar'])} %" if mean["corpora"] > 1 else ""
    classes = sum(figures["support"] > 0 for figures in pooled["per_class"].values())
    return (
        f"**UAR {percent(pooled['uar'])} %**{interval} on {pooled['clips']:,} test clips of {speakers}{heard}{over}. "
        f"UAR, the unweighted average recall, is the mean of the recalls of the {classes} emotions that occur in the "
        f"test clips; guessing reaches {100 / classes:.1f} %."
    )


def _files(run: Mapping[str, Any], facts: Facts) -> list[str]:
    if facts.saved == "adapter":
        kept = entry(run, "recipe", "lora", "modules_to_save") or ()
        whole = f" and, whole, {', '.join(code(name) for name in kept)}" if kept else ""
        files = [
            f"`adapter_model.safetensors`, `adapter_config.json`: the LoRA weights{whole}; the base is not in here.",
            "`config.json`: the base's configuration with these labels.",
        ]
    elif facts.saved:
        files = ["`model.safetensors`, `config.json`: the whole model with its labels, as plain `transformers` has it."]
    else:
        return []
    if entry(run, "recipe", "normalize_features"):
        files[0] += " The standardisation of the pooled features is folded into the projector."
    return [
        *files,
        "`preprocessor_config.json`: how the base takes its audio.",
        "`run.json`, `metrics.json`, `predictions.csv`, `report.md`, `confusion.png`: the records behind this card.",
    ]


def _licences(facts: Facts) -> list[str]:
    if facts.synthetic:
        return ["The clips are synthesised: no corpus's terms apply. The base model's do."]
    corpora = facts.known_corpora
    if not corpora:
        return []
    return ["No audio is in this repository.", licence_table(corpora), _roll_up(facts, corpora)]


def _roll_up(facts: Facts, corpora: tuple[Corpus, ...]) -> str:
    strictest = licence_of(corpora)
    unknown = [name for name in facts.corpora if name not in CORPORA]
    if unknown or strictest is None:
        listed = ", ".join(code(name) for name in unknown)
        return f"The terms of {listed} are not known to hf_ser, so that this card names no licence for the model."
    what = "these terms" if len(corpora) == 1 else "the most restrictive of these terms"
    why = " (which publishes no licence, hence `other`)" if strictest.licence.id == "other" else ""
    return (
        f"The licence on top of this card follows {what}, those of {strictest.short_title}{why}. Whether a "
        "recording's terms bind a model trained on it is not settled; this is the cautious reading, not legal advice. "
        "The base model's own terms apply besides."
    )


def _citations(run: Mapping[str, Any], facts: Facts) -> list[str]:
    library = _LIBRARY % run["hf_ser"] if run.get("hf_ser") else re.sub(r"  version.*\n", "", _LIBRARY)
    return [_PAPER, *(corpus.citation for corpus in facts.known_corpora), library]
