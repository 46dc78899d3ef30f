"""The card of a model that has no test figures: training goes on, or its records are not at hand."""

from collections.abc import Mapping
from typing import Any

from hf_ser.hub import statements
from hf_ser.hub.card import check_repo_id, template, tidy
from hf_ser.hub.facts import read_facts, shareable_record
from hf_ser.hub.front_matter import front_matter
from hf_ser.hub.sections import label_table
from hf_ser.hub.snippets import snippets
from hf_ser.text import percent

__all__ = ["render_short_card"]


def render_short_card(
    run: Mapping[str, Any], *, repo_id: str | None = None, progress: Mapping[str, Any] | None = None
) -> str:
    """Render what is known of a model without its test figures.

    Args:
        run: What is known of the run, with the keys of run.json.
        repo_id: Where the model lies on the Hub; None for a card that stays beside it.
        progress: Of a training that goes on: `step`, `epoch` and, where it was measured, `validation_uar` of the
            checkpoint.

    Returns:
        Front matter, without any result, and Markdown.

    Raises:
        InputError: `repo_id` is no name on the Hub.

    Example:
        >>> run = {"model": {"name": "facebook/hubert-base-ls960", "saved": "adapter"}, "labels": ["calm", "sad"]}
        >>> card = render_short_card(run, repo_id="me/ser", progress={"step": 40, "epoch": 1.0, "validation_uar": 0.5})
        >>> "Training is in progress" in card, "model-index" in card
        (True, False)
    """
    check_repo_id(repo_id)
    run = shareable_record(run)
    facts = read_facts(run, {})
    # Where no split is known and no figure is given, there is nothing that shared speakers could have raised.
    split = statements.warnings(facts) if facts.protocol else []
    text = template("short_card.md").render(
        front_matter=front_matter(run, {}, facts, repo_id),
        title=statements.title(facts),
        warnings=[_state(progress), *split],
        subject=statements.subject(facts),
        labels=facts.labels,
        origin=statements.origin(run, facts),
        label_table=label_table(run, facts),
        snippets=snippets(run, facts, repo_id),
    )
    return tidy(text)


def _state(progress: Mapping[str, Any] | None) -> dict[str, str]:
    if progress is None:
        return {
            "head": "Nothing is known of this model's quality.",
            "text": "It was pushed without the records of its training and evaluation.",
        }
    measured = ""
    if progress.get("validation_uar") is not None:
        measured = (
            f", with a UAR of {percent(progress['validation_uar'])} % on the validation part (UAR: unweighted average "
            "recall), by which the checkpoint is chosen in the end: no figure to report"
        )
    return {
        "head": "Training is in progress.",
        "text": f"This is the checkpoint of step {progress['step']:,} (epoch {progress['epoch']:.2f}){measured}. The "
        "test part has not been read yet. The finished model comes with its results.",
    }
