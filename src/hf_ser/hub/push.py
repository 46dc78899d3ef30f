"""A model on the Hub: proved in a fresh process, then put there as one commit."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_ser.errors import InputError
from hf_ser.hub.access import base_on_hub, check_access
from hf_ser.hub.artefact import Artefact, is_replaced, stage_folder, stage_model
from hf_ser.hub.card import render_model_card
from hf_ser.hub.card_merge import GENERATED_CARD, merge_card
from hf_ser.hub.commits import CARD, Content, Pushed, push_files
from hf_ser.hub.front_matter import OWNED
from hf_ser.hub.proof import prove
from hf_ser.hub.short_card import render_short_card

__all__ = ["push_to_hub"]


def push_to_hub(
    source: str | os.PathLike[str] | Any,
    repo_id: str,
    *,
    merged: bool = False,
    private: bool = True,
    revision: str | None = None,
    create_pr: bool = False,
    base_model: str | None = None,
    token: str | None = None,
) -> Pushed:
    """Put a fine-tuned model or adapter on the Hub, with its labels, preprocessor, records and card.

    Before anything leaves the machine, what is to be pushed is loaded in a fresh process and must give the logits
    of the model that was trained, on two made-up clips: within 1e-6, merged within 1e-5, relative to the larger of 1
    and the largest logit. Nothing but files of this library goes up, and no path of this machine is in them. What a
    human wrote into the card stays, here and there. Nothing here is changed.

    Args:
        source: A folder that `finetune` wrote, or what `load` returned: an object with a `model` and its
            `feature_extractor`. Such an object comes without records, so that its card gives no figures.
        repo_id: `USER/NAME`; the repository is made where it does not exist.
        merged: Merge an adapter into its base: a plain checkpoint, which loads without the base and without `peft`.
        private: Whether a new repository is private.
        revision: Branch to commit to, made where it does not exist; None takes the main one.
        create_pr: Propose the commit as a pull request instead.
        base_model: Hub id of the base model, where the model was trained from a folder: an adapter on a folder of
            this machine would load for nobody else. The newest commit there must be the same model.
        token: Of the Hub; None takes the one that is logged in.

    Returns:
        The commit, or that none was needed.

    Raises:
        InputError: The folder is none of ours, its adapter's base is on this machine alone, what would be pushed is
            another model than the one that was trained, or the Hub refuses.

    Example:
        >>> push_to_hub("no/such/folder", "me/hubert-ser")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: 'no/such/folder' is no folder; give the one that finetune wrote
    """
    folder = _folder(source)
    if folder is not None and not folder.is_dir():
        raise InputError(f"'{folder}' is no folder; give the one that finetune wrote")
    check_access(repo_id, create_pr=create_pr, token=token)
    base = None if base_model is None else base_on_hub(base_model, token)
    with tempfile.TemporaryDirectory(prefix="hf_ser-push-") as temporary:
        staged = Path(temporary)
        if folder is not None:
            artefact = stage_folder(folder, staged, merged=merged, base=base)
        else:
            artefact = stage_model(source, staged, merged=merged, base=base)
        prove(staged, artefact.logits, artefact.run["labels"], bound=artefact.bound, token=token)
        return push_files(
            repo_id,
            {**artefact.files(), **_cards(artefact, repo_id)},
            message=_message(artefact.run),
            private=private,
            revision=revision,
            create_pr=create_pr,
            token=token,
            owned_front_matter=OWNED,
            stale=is_replaced,
        )


def _folder(source: Any) -> Path | None:
    """Return the folder that a source is, or None for a loaded model."""
    if isinstance(source, str | os.PathLike):
        return Path(source)
    output = getattr(source, "output_dir", None)
    if output is not None:
        return Path(output)
    if not hasattr(source, "model") or not hasattr(source, "feature_extractor"):
        raise InputError(
            f"a {type(source).__name__} cannot be pushed; give the folder that finetune wrote, or what load returned"
        )
    return None


def _cards(artefact: Artefact, repo_id: str) -> dict[str, Content]:
    """Return the card with what a human wrote into the local one, and the card as generated."""
    if artefact.metrics is None:
        card = render_short_card(artefact.run, repo_id=repo_id)
        return {CARD: card.encode(), GENERATED_CARD: card.encode()}
    generated = render_model_card(artefact.run, artefact.metrics, repo_id=repo_id)
    edited, base = artefact.card
    return {CARD: merge_card(generated, edited, base).encode(), GENERATED_CARD: generated.encode()}


def _message(run: Mapping[str, Any]) -> str:
    kind = {"adapter": "an adapter", "merged": "a merged adapter"}.get(run["model"]["saved"], "a checkpoint")
    return f"Push {kind} by hf_ser"
