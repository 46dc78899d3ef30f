"""Results beside a pushed model: a suite on its card, and `.eval_results`, which the Hub shows on leaderboards."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from hf_ser.errors import InputError
from hf_ser.evaluation.report import render_suite
from hf_ser.files import entry
from hf_ser.hub.facts import read_facts
from hf_ser.models.probe import probe_difference

_FIGURES: Final = {"uar": ("uar",), "accuracy": ("accuracy",), "f1_macro": ("f1", "macro"), "eer": ("eer", "macro")}


def suite_section(folder: str | os.PathLike[str], run: Mapping[str, Any]) -> str:
    """Return the suite of an evaluation as Markdown for the card of the model that it was of.

    Args:
        folder: What `Evaluation.save` wrote.
        run: Contents of the model's run.json.

    Raises:
        InputError: The folder holds no suite, or that of another model.
    """
    try:
        facts = json.loads((Path(folder) / "evaluation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"'{folder}' has no evaluation.json; give what evaluate --output-dir wrote") from None
    if not facts.get("suite"):
        raise InputError(f"the evaluation in '{folder}' has no suite; evaluate with --suite full")
    if not probe_difference(entry(run, "probe", "logits") or [], entry(facts, "model", "probe") or [[]]) <= 1e-5:
        raise InputError(f"the evaluation in '{folder}' is of another model; evaluate the one that is pushed")
    intro = f"On the {facts['part']} part of `{facts['dataset']['name']}`, protocol `{facts['protocol']}`."
    return f"{intro}\n\n{render_suite(facts['suite'])}".replace("\n## ", "\n### ")


def results_file(run: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> bytes:
    """Return the content of an `.eval_results` file: the test figures, as results on a data set of the Hub.

    Raises:
        InputError: The data set of the run is not on the Hub.
    """
    metrics = metrics or {}
    dataset = read_facts(run, metrics).dataset_id
    if dataset is None:
        raise InputError(
            "eval_results need a data set on the Hub; this run's is local: publish it, and train from its id"
        )
    pooled, seed = metrics["test"]["pooled"], entry(run, "seeds", "weights")
    values = {name: entry(pooled, *path) for name, path in _FIGURES.items()}
    notes = f"hf_ser, protocol {run.get('protocol')}, test part, seed {seed}"
    entries = [
        EvalResultEntry(dataset_id=dataset, task_id=f"{run.get('protocol')}_{name}", value=round(value, 4), notes=notes)
        for name, value in values.items()
        if value is not None
    ]
    text: str = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
    return text.encode()
