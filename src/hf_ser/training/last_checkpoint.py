"""An unfinished run in a repository of the Hub: `last-checkpoint/` holds all that goes on with it elsewhere.

It holds the files of the newest checkpoint, the run's `settings.json`, and in `best/` the weights of the best
checkpoint so far, where that is another. All are safetensors and JSON.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hf_ser.errors import InputError
from hf_ser.hub.artefact import LAST_CHECKPOINT
from hf_ser.hub.facts import without_local_paths
from hf_ser.models.checkpoint import HEAD_STATE
from hf_ser.remote import connection_error, hub_reason, persistent
from hf_ser.training.folder import SETTINGS, TRAINER_STATE, newest_checkpoint
from hf_ser.training.state import TRAINING_STATE

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["fetch_last_checkpoint", "last_checkpoint_files"]

_BEST: Final = "best"
_BEST_PATH: Final = "best_model_checkpoint"
# No name in a repository leads out of the folder that it is fetched to.
_OURS: Final = re.compile(rf"{LAST_CHECKPOINT}((?:{_BEST}/)?\w[\w.-]*\.(?:json|safetensors))")
_WEIGHTS: Final = re.compile(rf"model[\w.-]*\.safetensors|adapter_model\.safetensors|{re.escape(HEAD_STATE)}")
# The configuration and the preprocessor come from the encoder again.
_STATE: Final = re.compile(r"optimizer\.safetensors|training_state\.json|random_state_\d+\.(json|safetensors)")


def last_checkpoint_files(checkpoints: Path) -> dict[str, Path | bytes]:
    """Return what to push of an unfinished run, by path in the repository.

    Push them together, as one commit, and with `stale` for every other path below `last-checkpoint/`: a `best/` of
    an earlier push may be best no longer.

    Args:
        checkpoints: The run's folder of checkpoints.

    Returns:
        Files and contents; nothing before the first checkpoint was saved whole.

    Example:
        >>> last_checkpoint_files(Path("no run is here"))
        {}
    """
    newest = newest_checkpoint(checkpoints)
    if newest is None:
        return {}
    state = json.loads((newest / TRAINER_STATE).read_text(encoding="utf-8"))
    files: dict[str, Path | bytes] = {
        file.name: file for file in newest.iterdir() if _WEIGHTS.fullmatch(file.name) or _STATE.fullmatch(file.name)
    }
    if state[_BEST_PATH] is not None:
        best = Path(state[_BEST_PATH]).name
        if best != newest.name:
            weights = (file for file in (checkpoints / best).iterdir() if _WEIGHTS.fullmatch(file.name))
            files |= {f"{_BEST}/{file.name}": file for file in weights}
        state[_BEST_PATH] = best
    settings = json.loads((checkpoints / SETTINGS).read_text(encoding="utf-8"))
    for name, values in ((TRAINER_STATE, state), (SETTINGS, settings)):
        files[name] = json.dumps(without_local_paths(values), indent=2, ensure_ascii=False).encode()
    return {_place(name): content for name, content in sorted(files.items())}


def fetch_last_checkpoint(
    repo_id: str, checkpoints: Path, *, revision: str | None = None, token: str | None = None
) -> None:
    """Bring an unfinished run from the Hub into a folder of checkpoints, whole or not at all.

    Only safetensors and JSON are fetched, all at one commit.

    Args:
        repo_id: The repository that the run was pushed to.
        checkpoints: Absent; its parent exists.
        revision: Branch, tag or commit; None is the main branch.
        token: Of the Hub; None takes the one that is logged in.

    Raises:
        InputError: There is no such repository, no unfinished run in it, the run is not whole, or the Hub cannot
            be reached.

    Example:
        >>> fetch_last_checkpoint("no name", Path(tempfile.gettempdir()) / "checkpoints")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: the run in 'no name' cannot be resumed: this is no repository on the Hub; ...
    """
    from huggingface_hub import HfApi

    staged = Path(tempfile.mkdtemp(prefix=".checkpoints-", dir=checkpoints.parent))
    try:
        with _one_line(repo_id, revision):
            _download(HfApi(token=token), repo_id, revision, staged / "fetched")
        _arrange(staged / "fetched" / LAST_CHECKPOINT, staged / "run", checkpoints, repo_id)
        (staged / "run").replace(checkpoints)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _place(name: str) -> str:
    return LAST_CHECKPOINT + name


@contextmanager
def _one_line(repo_id: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (connection_error(), OSError, ValueError) as error:
        reason = hub_reason(error, revision=revision)
        raise InputError(f"the run in '{repo_id}' cannot be resumed: {reason}") from error


def _download(api: HfApi, repo_id: str, revision: str | None, folder: Path) -> None:
    info = persistent(lambda: api.model_info(repo_id, revision=revision))
    files = [file.rfilename for file in info.siblings or () if _OURS.fullmatch(file.rfilename)]
    for name in (SETTINGS, TRAINER_STATE, TRAINING_STATE):
        if _place(name) not in files:
            raise InputError(
                f"'{repo_id}' holds no unfinished run (it has no {_place(name)}); name the repository and revision "
                "that one was pushed to, or start without resume (--resume)"
            )
    for file in files:
        persistent(partial(api.hf_hub_download, repo_id, file, revision=info.sha, local_dir=folder))


def _arrange(fetched: Path, run: Path, checkpoints: Path, repo_id: str) -> None:
    """Lay the files out as the folder of checkpoints in which the run was begun."""
    try:
        state = json.loads((fetched / TRAINER_STATE).read_text(encoding="utf-8"))
        newest = f"checkpoint-{int(state['global_step'])}"
        best = None if state[_BEST_PATH] is None else f"checkpoint-{int(state['best_global_step'])}"
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the run in '{repo_id}' cannot be resumed: {_place(TRAINER_STATE)} is damaged") from error
    run.mkdir()
    (fetched / SETTINGS).replace(run / SETTINGS)
    if (fetched / _BEST).is_dir():
        (fetched / _BEST).replace(run / str(best))
    fetched.replace(run / newest)
    if best is not None:
        if not (run / best / HEAD_STATE).is_file():
            raise InputError(f"the run in '{repo_id}' cannot be resumed: {_place(_BEST)} lacks the weights of {best}")
        (run / newest / TRAINER_STATE).write_text(json.dumps({**state, _BEST_PATH: str(checkpoints / best)}, indent=2))
