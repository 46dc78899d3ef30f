"""The model card of a run, rendered from its records; what they do not say is left out."""

import json
import re
from collections.abc import Mapping
from typing import Any

from hf_ser.corpora import CORPORA, licence_table, strictest
from hf_ser.errors import InputError
from hf_ser.evaluation.report import by_corpus
from hf_ser.files import entry
from hf_ser.hub.facts import code, read_facts, segment_seconds, shareable_record
from hf_ser.hub.front_matter import front_matter
from hf_ser.hub.tables import environment, limits, settings
from hf_ser.text import render

_REPO_ID = re.compile(r"([\w.-]+/)?[\w.-]+", re.ASCII)


def render_model_card(
    run: Mapping[str, Any],
    metrics: Mapping[str, Any] | None,
    *,
    repo_id: str | None = None,
    progress: Mapping[str, Any] | None = None,
    suite: str | None = None,
) -> str:
    """Render the model card of a run from its records alone; needs no network and no torch.

    Args:
        run: Contents of run.json. Besides what `finetune` writes, `example` marks an invented record, and
            `model.saved` may be `merged` for an adapter merged into its base.
        metrics: Contents of metrics.json; None for a model without test figures.
        repo_id: Repository of the model; None for a card beside the model, whose snippets load the current folder.
        progress: For a training in progress: `step`, `epoch` and, if it was measured, `validation_uar`.
        suite: Sections of an evaluation as Markdown.

    Raises:
        InputError: `metrics` has no `labels` or no `test`, or `repo_id` is not valid.
    """
    for key in ("labels", "test") if metrics is not None else ():
        if key not in (metrics or {}):
            raise InputError(f"metrics has no {key!r}; give the contents of a metrics.json")
    if repo_id is not None and not _REPO_ID.fullmatch(repo_id):
        raise InputError(f"repo_id '{repo_id}' is not a valid repository id; give USER/NAME")
    run, metrics = shareable_record(run), metrics or {}
    facts, test = read_facts(run, metrics), metrics.get("test")
    pooled: Mapping[str, Any] = test["pooled"] if test else {}
    return render(
        "model_card.md",
        front_matter=front_matter(metrics, facts, repo_id),
        run={"recipe": None, "hf_ser": None, "dataset": None, **run},
        facts=facts,
        names=[name for name in (facts.base and facts.base.rpartition("/")[2], facts.recipe) if name],
        progress=progress and {"validation_uar": None, **progress},
        model={"parameters": None, "trainable_parameters": None, "adapters_alive": None, **(run.get("model") or {})},
        best=run.get("best"),
        test=test,
        suite=suite,
        pooled=pooled,
        classes=sum(figures["support"] > 0 for figures in pooled.get("per_class", {}).values()),
        repo=repo_id or ".",
        segment_seconds=f"{segment_seconds(run):g}",
        limits=limits(run, facts),
        parts=entry(run, "dataset", "parts") or {},
        overlaps=entry(run, "dataset", "proof", "overlaps") or {},
        by_corpus=by_corpus,
        renamed=(run.get("dataset") or {}).get("labels_renamed"),
        code=code,
        quoted=json.dumps,
        settings=settings(run, facts) if test else None,
        environment=environment(run) if test else None,
        licences=licence_table(facts.known_corpora),
        unknown=[code(name) for name in facts.corpora if name not in CORPORA],
        strictest=strictest(facts.known_corpora),
    )
