"""The card of a model that has no test figures: training goes on, or its records are not at hand."""

from collections.abc import Mapping
from typing import Any

from hf_ser.hub.facts import Facts, code, read_facts
from hf_ser.hub.front_matter import front_matter
from hf_ser.hub.snippets import snippets
from hf_ser.text import percent

__all__ = ["render_short_card"]


def render_short_card(run: Mapping[str, Any], *, repo_id: str, progress: Mapping[str, Any] | None = None) -> str:
    """Render what is known of a model without its test figures.

    Args:
        run: What is known of the run, with the keys of run.json.
        repo_id: Where the model will lie on the Hub.
        progress: Of a training that goes on: `step`, `epoch` and `validation_uar` of the checkpoint.

    Returns:
        Front matter and Markdown.

    Example:
        >>> run = {"model": {"name": "facebook/hubert-base-ls960", "saved": "adapter"}, "labels": ["calm", "sad"]}
        >>> card = render_short_card(run, repo_id="me/ser", progress={"step": 40, "epoch": 1.0, "validation_uar": 0.5})
        >>> "Training is in progress" in card, "model-index" in card
        (True, False)
    """
    facts = read_facts(run, {})
    parts = (facts.base and facts.base.rpartition("/")[2], facts.recipe)
    title = ": ".join(filter(None, ("Speech emotion recognition", ", ".join(filter(None, parts)))))
    shown = snippets(run, facts, repo_id)
    blocks = [
        f"---\n{front_matter(run, {}, facts, repo_id).strip()}\n---",
        f"# {title}",
        _status(progress),
        _origin(facts),
        "## Use",
        f"```python\n{shown['hf_ser']}\n```",
        f"With plain `{shown['library']}`:\n\n```python\n{shown['plain']}\n```" if shown["plain"] else "",
        "## Labels" if facts.labels else "",
        "\n".join(f"{index}. {label}" for index, label in enumerate(facts.labels)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _status(progress: Mapping[str, Any] | None) -> str:
    if progress is None:
        return (
            "> **Nothing is known of this model's quality.** It was pushed without the records of its training and "
            "evaluation."
        )
    where = f"This is the checkpoint of step {progress['step']:,} (epoch {progress['epoch']:.2f})"
    measured = "."
    if progress.get("validation_uar") is not None:
        measured = (
            f", with a UAR of {percent(progress['validation_uar'])} % on the validation part, by which the checkpoint "
            "is chosen in the end: no figure to report."
        )
    return f"> **Training is in progress.** {where}{measured} The test part has not been read yet."


def _origin(facts: Facts) -> str:
    if not facts.base:
        return ""
    where = f"[{facts.base}](https://huggingface.co/{facts.base})" if facts.base_id else code(facts.base)
    revision = f", revision {code(facts.revision)}" if facts.revision else ""
    kind = {"adapter": "An adapter on", "merged": "An adapter merged into"}.get(facts.saved or "", "Fine-tuned from")
    return f"{kind} {where}{revision}."
