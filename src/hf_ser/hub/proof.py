"""The proof before a push: what was staged, loaded in a process of its own, answers the probe as the model did."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_ser.errors import InputError
from hf_ser.remote import without_tokens

__all__ = ["answer", "main", "prove"]

logger = logging.getLogger(__name__)

_MARK = "hf_ser proof: "
# The working directory is taken off the search path: a folder in it could stand in for a library.
_PROGRAM = "import sys; sys.path[:1] = []; sys.path.append(sys.argv[1]); from hf_ser.hub.proof import main; main()"
_DISTRIBUTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def prove(
    folder: Path,
    expected: Sequence[Sequence[float]],
    labels: Sequence[str],
    *,
    bound: float,
    token: str | None = None,
) -> float:
    """Load a folder in a fresh process and compare labels and logits with what they must be.

    Args:
        folder: Holds a checkpoint or an adapter.
        expected: Logits of the probe, as `probe_logits` gives them.
        labels: In the order of their identifiers.
        bound: Largest difference allowed, see `probe_difference`.
        token: Of the Hub, for an adapter's base.

    Returns:
        The difference.

    Raises:
        InputError: The folder does not load, or is another model.
    """
    from hf_ser.models.probe import probe_difference

    found = _ask(folder, token)
    if "error" in found:
        raise InputError(f"nothing was pushed: loaded in a fresh process, the model fails: {found['error']}")
    if found["labels"] != list(labels):
        raise InputError(
            f"nothing was pushed: loaded in a fresh process, the model's labels are {', '.join(found['labels'])} "
            f"instead of {', '.join(labels)}"
        )
    difference = probe_difference(expected, found["logits"])
    if not difference <= bound:
        raise InputError(
            f"nothing was pushed: loaded in a fresh process, the model's logits differ by {difference:.1e} from those "
            f"of the model that was trained (allowed: {bound:.0e}); its files, or its base model, are not the same "
            "any more"
        )
    logger.info("loaded in a fresh process, the model gives the logits that it should, within %.1e", difference)
    return difference


def _ask(folder: Path, token: str | None) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in _DISTRIBUTED}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(Path(__file__).parents[2])],
        # The token comes by the pipe: others see arguments.
        input=json.dumps({"folder": str(folder), "token": token}),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            told: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return told
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return {"error": without_tokens(last)}


def answer(folder: Path | str, token: str | None) -> dict[str, Any]:
    """Load a folder here and return its `labels` and the probe's `logits`, or the `error`."""
    from hf_ser.models.checkpoint import open_model
    from hf_ser.models.head import plain_model
    from hf_ser.models.probe import probe_logits

    try:
        model, feature_extractor = open_model(folder, **({} if token is None else {"token": token}))
    except InputError as error:
        return {"error": str(error)}
    names = plain_model(model).config.id2label
    return {"labels": [names[index] for index in sorted(names)], "logits": probe_logits(model, feature_extractor)}


def main() -> None:
    """Answer for the folder that stdin names; the fresh process runs this."""
    asked = json.loads(sys.stdin.read())
    sys.stdout.write(f"\n{_MARK}{json.dumps(answer(**asked))}\n")
