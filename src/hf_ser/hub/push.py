"""A model on the Hub: verified in a fresh process, then pushed as one commit with its card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_ser.errors import InputError
from hf_ser.hub.access import base_on_hub, check_access
from hf_ser.hub.blocks import combine
from hf_ser.hub.card import render_model_card
from hf_ser.hub.commits import CARD, Pushed, push_files
from hf_ser.hub.front_matter import MODEL_KEYS
from hf_ser.hub.proof import prove
from hf_ser.hub.results import results_file, suite_section
from hf_ser.hub.staging import EVAL_RESULTS, is_ours, stage_checkpoint, stage_folder, stage_model


def push_to_hub(
    source: str | os.PathLike[str] | Any,
    repo_id: str,
    *,
    merged: bool = False,
    private: bool = True,
    revision: str | None = None,
    create_pr: bool = False,
    base_model: str | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    eval_results: bool = False,
    token: str | None = None,
) -> Pushed:
    """Push a fine-tuned model or adapter with its labels, preprocessor, records and card.

    First, the files are loaded in a fresh process and must give the logits of the trained model for two synthetic
    clips (relative difference at most 1e-5). Only files of this library are pushed, links are not followed, and local
    paths are removed. On the card, what people wrote outside the generated block is kept. Nothing local is changed.

    Args:
        source: A folder that `finetune` wrote, or what `load` returned: an object with a `model` and its
            `feature_extractor`, whose card has no figures since there are no records.
        repo_id: `USER/NAME`; the repository is created if it does not exist.
        merged: Merge an adapter into its base, for a checkpoint that loads without the base and without `peft`.
        private: Whether a new repository is private.
        revision: Branch to commit to, created if it does not exist; None is the main branch.
        create_pr: Open a pull request instead.
        base_model: Hub id of the base model, for an adapter trained on a local folder. Its newest commit must be the
            same model.
        evaluation: A folder that `Evaluation.save` wrote of this model with a suite, to put on the card.
        eval_results: Also write the test figures into `.eval_results`, which the Hub shows on the data set's page.
        token: Hub token; None uses the one that is logged in.

    Returns:
        The commit, or that none was needed.

    Raises:
        InputError: The folder is not a finished run, the base of its adapter is a local folder, or the files give
            other logits than the trained model (`HubError` if the Hub refuses or cannot be reached).

    Example:
        >>> push_to_hub("no/such/folder", "me/hubert-ser")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: 'no/such/folder' is not a folder; give the one that finetune wrote
    """
    folder = _folder(source)
    if folder is not None and not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder; give the one that finetune wrote")
    check_access(repo_id, create_pr=create_pr, token=token)
    if folder is None and (evaluation is not None or eval_results):
        raise InputError("evaluation and eval_results are for a folder that finetune wrote, which has records")
    base = None if base_model is None else base_on_hub(base_model, token)
    with tempfile.TemporaryDirectory(prefix="hf_ser-push-") as temporary:
        if folder is not None:
            staged = stage_folder(folder, Path(temporary), merged=merged, base=base)
        else:
            staged = stage_model(source, Path(temporary), merged=merged, base=base)
        prove(staged.folder, staged.logits, staged.run["labels"], token=token)
        kind = {"adapter": "an adapter", "merged": "a merged adapter"}.get(staged.run["model"]["saved"], "a checkpoint")
        suite = None if evaluation is None else suite_section(evaluation, staged.run)
        card = render_model_card(staged.run, staged.metrics, repo_id=repo_id, suite=suite)
        files: dict[str, Path | bytes] = {**staged.files(), CARD: combine(card, staged.card, owned=MODEL_KEYS).encode()}
        if eval_results:
            files[EVAL_RESULTS] = results_file(staged.run, staged.metrics)
        return push_files(
            repo_id,
            files,
            message=f"Push {kind} with hf_ser",
            private=private,
            revision=revision,
            create_pr=create_pr,
            token=token,
            owned=MODEL_KEYS,
            stale=is_ours,
        )


def push_checkpoint(
    folder: str | os.PathLike[str],
    repo_id: str,
    run: Mapping[str, Any],
    logits: list[list[float]],
    progress: Mapping[str, Any],
    *,
    token: str | None = None,
) -> Pushed:
    """Push a model that training saved, verified like a finished one, with a card that says training goes on.

    Args:
        folder: The model as `save_model` wrote it, unchanged during the call. Nothing to resume from is pushed.
        repo_id: `USER/NAME`; a private repository is created if it does not exist.
        run: What is known of the run, with the keys of run.json.
        logits: Logits of the model in training for the probe.
        progress: `step`, `epoch` and, if it was measured, `validation_uar` of the model.
        token: Hub token; None uses the one that is logged in.
    """
    with tempfile.TemporaryDirectory(prefix="hf_ser-push-") as temporary:
        staged = stage_checkpoint(Path(folder), Path(temporary), run, logits)
        prove(staged.folder, staged.logits, staged.run["labels"], token=token)
        card = render_model_card(staged.run, None, repo_id=repo_id, progress=progress)
        return push_files(
            repo_id,
            {**staged.files(), CARD: card.encode()},
            message=f"Training in progress, step {progress['step']}",
            token=token,
            owned=MODEL_KEYS,
            stale=is_ours,
        )


def _folder(source: Any) -> Path | None:
    folder = source if isinstance(source, str | os.PathLike) else getattr(source, "output_dir", None)
    if folder is not None:
        return Path(folder)
    if not hasattr(source, "model") or not hasattr(source, "feature_extractor"):
        raise InputError(
            f"a {type(source).__name__} cannot be pushed; give the folder that finetune wrote, or what load returned"
        )
    return None
