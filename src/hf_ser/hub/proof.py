"""The check before a push: the files, loaded in a fresh process, must give the logits of the trained model."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hf_ser.errors import InputError, without_tokens

logger = logging.getLogger(__name__)

BOUND: Final = 1e-5
"""Largest relative difference of logits: merging an adapter rounds its weights."""

_MARK = "hf_ser proof: "
# Without the working directory on the search path: a folder there could replace a library.
_PROGRAM = "import sys; sys.path[:1] = []; sys.path.append(sys.argv[1]); from hf_ser.hub.proof import main; main()"
_DISTRIBUTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def prove(
    folder: Path, expected: Sequence[Sequence[float]], labels: Sequence[str], *, token: str | None = None
) -> None:
    """Load a folder in a fresh process, and refuse it unless its labels and the probe's logits are those expected."""
    from hf_ser.models.probe import probe_difference

    found = _ask(folder, token)
    if "error" in found:
        raise InputError(f"nothing was pushed: the saved model fails to load in a fresh process: {found['error']}")
    if found["labels"] != list(labels):
        raise InputError(
            f"nothing was pushed: the saved model's labels are {', '.join(found['labels'])} instead of "
            f"{', '.join(labels)}; restore its config.json"
        )
    difference = probe_difference(expected, found["logits"])
    if not difference <= BOUND:
        raise InputError(
            f"nothing was pushed: the reloaded model's logits differ by {difference:.1e} from the trained model's "
            f"(allowed: {BOUND:.0e}); its files or its base model have changed: restore them, or fine-tune again"
        )
    logger.info("Verified: the reloaded model matches (largest difference %.1e)", difference)


def _ask(folder: Path, token: str | None) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in _DISTRIBUTED}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(Path(__file__).parents[2])],
        # On stdin, since other users can read arguments.
        input=json.dumps({"folder": str(folder), "token": token}),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return found
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return {"error": without_tokens(last)}


def answer(folder: Path | str, token: str | None) -> dict[str, Any]:
    """Load a folder in this process and return its `labels` and the probe's `logits`, or the `error`."""
    from hf_ser.models.architectures import plain_model
    from hf_ser.models.checkpoint import open_model
    from hf_ser.models.probe import probe_logits

    try:
        model, feature_extractor = open_model(folder, **({} if token is None else {"token": token}))
    except InputError as error:
        return {"error": str(error)}
    names = plain_model(model).config.id2label
    return {"labels": [names[index] for index in sorted(names)], "logits": probe_logits(model, feature_extractor)}


def main() -> None:
    """Print the answer for the folder that stdin names; the fresh process runs this."""
    asked = json.loads(sys.stdin.read())
    sys.stdout.write(f"\n{_MARK}{json.dumps(answer(**asked))}\n")
