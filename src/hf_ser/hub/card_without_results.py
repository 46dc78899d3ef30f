"""The card of a model without test figures: its training goes on, or its records are not at hand."""

from collections.abc import Mapping
from typing import Any

from hf_ser.hub import statements
from hf_ser.hub.card import check_repo_id, template, tidy
from hf_ser.hub.facts import Facts, read_facts, without_local_paths
from hf_ser.hub.front_matter import front_matter
from hf_ser.hub.snippets import snippets
from hf_ser.text import markdown_table, percent

__all__ = ["render_card_without_records", "render_progress_card"]

_IN_PROGRESS = (
    "The weights here are those of the newest checkpoint and change with the next one. Nothing was evaluated on the "
    "test part yet; the finished model comes with its results."
)
_WITHOUT_RECORDS = "It was pushed without the records of its training and evaluation."
_FIGURES: Mapping[str, str] = {"uar": "UAR", "accuracy": "accuracy", "f1_macro": "macro F1"}


def render_progress_card(run: Mapping[str, Any], *, repo_id: str | None = None) -> str:
    """Render the card that stands beside a model until its training is finished and its test part was read.

    Args:
        run: What is known so far of the contents of run.json. Beyond these, `steps` is the number of steps that the
            weights have been trained for, and `planned_steps` the number that was asked for; `history` holds the
            evaluations on the validation part so far. What is absent is left out.
        repo_id: Where the model lies on the Hub.

    Returns:
        Front matter, without any result, and Markdown.

    Raises:
        InputError: `repo_id` is no name on the Hub.

    Example:
        >>> history = [{"step": 40, "epoch": 1.0, "uar": 0.5}]
        >>> card = render_progress_card({"steps": 40, "planned_steps": 200, "history": history}, repo_id="me/ser")
        >>> "Training is in progress: step 40 of 200." in card, "model-index" in card
        (True, False)
        >>> print(card.partition("UAR is")[0].rpartition("chosen by:")[2].strip())
        | step | epoch | UAR |
        |---|---:|---:|
        | 40 | 1.00 | 50.0 |
    """
    return _render(run, repo_id, _progress(run), _IN_PROGRESS)


def render_card_without_records(run: Mapping[str, Any], *, repo_id: str | None = None) -> str:
    """Render the card of a model that is not accompanied by the records of its training and evaluation.

    Args:
        run: What is known of it, with the keys of run.json: `model` and `labels`, mostly.
        repo_id: Where the model lies on the Hub.

    Returns:
        Front matter, without any result, and Markdown.

    Raises:
        InputError: `repo_id` is no name on the Hub.

    Example:
        >>> run = {"model": {"name": "facebook/hubert-base-ls960", "saved": "adapter"}, "labels": ["calm", "sad"]}
        >>> card = render_card_without_records(run, repo_id="me/ser")
        >>> "Nothing is known of this model's quality." in card, "model-index" in card
        (True, False)
    """
    return _render(run, repo_id, "Nothing is known of this model's quality.", _WITHOUT_RECORDS)


def _render(run: Mapping[str, Any], repo_id: str | None, state: str, why: str) -> str:
    check_repo_id(repo_id)
    run = without_local_paths(run)
    facts = read_facts(run, {})
    text = template("card_without_results.md").render(
        front_matter=front_matter(run, {}, facts, repo_id),
        title=statements.title(facts),
        warnings=[{"head": state, "text": why}, *_warnings(facts)],
        subject=statements.subject(facts),
        labels=facts.labels,
        origin=statements.origin(run, facts),
        history=_history(run),
        snippets=snippets(run, facts, repo_id),
    )
    return tidy(text)


def _warnings(facts: Facts) -> list[dict[str, str]]:
    # Where no split is known and no figure is given, that speakers may leak warns of nothing.
    return statements.warnings(facts) if facts.protocol else []


def _progress(run: Mapping[str, Any]) -> str:
    if run.get("steps") is None:
        return "Training is in progress."
    of = f" of {run['planned_steps']:,}" if run.get("planned_steps") else ""
    return f"Training is in progress: step {run['steps']:,}{of}."


def _history(run: Mapping[str, Any]) -> str | None:
    history = [entry for entry in run.get("history") or () if entry.get("uar") is not None]
    if not history:
        return None
    shown = [name for name in _FIGURES if any(entry.get(name) is not None for entry in history)]
    rows = [
        (f"{entry['step']:,}", f"{entry['epoch']:.2f}", *(percent(entry.get(name)) for name in shown))
        for entry in history
    ]
    return markdown_table(("step", "epoch", *(_FIGURES[name] for name in shown)), rows)
