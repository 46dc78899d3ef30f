"""A model's files on this machine, all of one commit."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_ser.errors import HubError, InputError, hub_errors, hub_reason, persistent

logger = logging.getLogger(__name__)

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_SMALL = (CONFIG, "preprocessor_config.json", "processor_config.json", ADAPTER_CONFIG)
_LARGE = (ADAPTER_WEIGHTS, WEIGHTS, INDEX, "model-*-of-*.safetensors")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARD = re.compile(r"[\w.-]+\.safetensors", re.ASCII)
_WAY_OUT = "give a folder with config.json and model.safetensors, or a Hub id"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model's files, all of one commit.

    Attributes:
        name: What the user called it: a folder or a Hub id.
        folder: Holds the files.
        commit: The commit of the files; None for a folder of the user's own.
    """

    name: str
    folder: Path
    commit: str | None = None

    @property
    def is_adapter(self) -> bool:
        """Whether the files are an adapter of `peft`."""
        return (self.folder / ADAPTER_CONFIG).is_file()

    def read_json(self, file: str) -> dict[str, Any]:
        """Return the contents of a JSON file.

        Raises:
            InputError: It does not exist, or is not a JSON object.
        """
        try:
            values = json.loads((self.folder / file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"model '{self.name}' holds no {file}; {_WAY_OUT}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"model '{self.name}': its {file} cannot be read as JSON ({error}); fix it") from error
        if not isinstance(values, dict):
            raise InputError(f"model '{self.name}': its {file} is not a JSON object; fix it, or name another revision")
        return values


def open_snapshot(
    source: str | Path | Snapshot,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    weights: bool = True,
    inspect: Callable[[Snapshot], object] | None = None,
) -> Snapshot:
    """Fetch a model's configuration, preprocessor and weights at one commit, unless they are in the cache.

    A branch or tag is resolved once. If the Hub cannot be reached, the commit that it pointed to last time is taken
    from the cache. Pickles and code are never fetched.

    Args:
        source: A folder, a Hub id, or a snapshot, which is returned as it is.
        revision: Branch, tag or commit on the Hub; None is its main branch.
        token: Token of the Hub; None takes the one of `hf auth login` or HF_TOKEN, False none.
        cache_dir: Folder to keep the files in; None is the Hugging Face cache.
        weights: Whether the weights are needed, too.
        inspect: Called with the configuration before any weights are fetched; it raises if the model cannot be used.

    Raises:
        InputError: There is no such model, it cannot be reached, or it lacks a file.

    Example:
        >>> open_snapshot("no/such/folder")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: model 'no/such/folder': there is no such folder; give a folder ...
    """
    if isinstance(source, Snapshot):
        return source
    name = str(source)
    if Path(name).is_dir():
        if revision is not None:
            raise InputError(f"model '{name}' is a folder, which has no revision '{revision}'; leave the revision out")
        snapshot = Snapshot(name, Path(name))
        if inspect is not None and (snapshot.folder / CONFIG).is_file():
            inspect(snapshot)
        files = [file.name for file in snapshot.folder.iterdir()]
    else:
        _require_hub_id(name)
        download: dict[str, Any] = {"repo_id": name, "token": token, "cache_dir": cache_dir}
        snapshot = _fetch(name, download, revision, _SMALL)
        if inspect is not None and (snapshot.folder / CONFIG).is_file():
            inspect(snapshot)
        if weights:
            # By the commit, so that a push in between cannot mix two.
            snapshot = _fetch(name, download, snapshot.commit, (*_SMALL, *_LARGE))
        files = []
    lacking = _lacking(snapshot, weights)
    if lacking:
        raise InputError(f"model '{name}' {_why(lacking, files or _names_on_hub(snapshot, token))}")
    return snapshot


def _require_hub_id(name: str) -> None:
    """Raise unless a name that is not a folder may be meant as a Hub id."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, not listed

    parent = Path(name).parent
    try:
        validate_repo_id(name)
        # A typing error in the last part of a path.
        is_path = str(parent) != "." and parent.is_dir()
    except HFValidationError:
        is_path = True
    if is_path:
        raise InputError(f"model '{name}': there is no such folder; {_WAY_OUT}")


def _fetch(name: str, download: dict[str, Any], revision: str | None, patterns: tuple[str, ...]) -> Snapshot:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    options = {**download, "revision": revision, "allow_patterns": list(patterns)}
    # A mistyped folder looks like a Hub id.
    with hub_errors(f"model '{name}': there is no such folder here, and on the Hub", revision):
        try:
            if revision is None or not _COMMIT.fullmatch(revision):
                # Without this call, `snapshot_download` would use an older commit from the cache without a warning.
                timeout, api = constants.HF_HUB_ETAG_TIMEOUT, HfApi(token=download["token"])
                persistent(lambda: api.model_info(name, revision=revision, timeout=timeout))
        except RepositoryNotFoundError:
            raise
        except Exception as error:
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else 500
            try:
                if status < 500 and status != 429:
                    raise error
                folder = snapshot_download(**options, local_files_only=True)
            except OSError:
                raise error from None
            if not isinstance(error, OfflineModeIsEnabled):
                commit = Path(folder).name
                logger.warning("model '%s': %s; using commit %s from the cache", name, hub_reason(error), commit)
        else:
            folder = persistent(lambda: snapshot_download(**options))
    return Snapshot(name, Path(folder), Path(folder).name)


def _names_on_hub(snapshot: Snapshot, token: str | bool | None) -> list[str]:
    """Return the names of all files at the commit, for the error message; none if the Hub cannot be asked."""
    from huggingface_hub import HfApi

    try:
        with hub_errors(snapshot.name):
            return persistent(lambda: HfApi(token=token).list_repo_files(snapshot.name, revision=snapshot.commit))
    except HubError:
        return []


def _lacking(snapshot: Snapshot, weights: bool) -> str | None:
    """Return the first file that a model lacks, or None where it is complete."""
    there = {file.name for file in snapshot.folder.iterdir() if file.is_file()}
    wanted = [CONFIG]
    if weights and CONFIG in there:
        either = sorted(there & {"preprocessor_config.json", "processor_config.json"})
        wanted += [*_weights(snapshot, there), *(either or ["preprocessor_config.json"])]
    return next((file for file in wanted if file not in there), None)


def _weights(snapshot: Snapshot, there: set[str]) -> list[str]:
    """Return the files that hold a model's weights, whether they are there or not."""
    if snapshot.is_adapter:
        return [ADAPTER_WEIGHTS]
    if WEIGHTS in there or INDEX not in there:
        return [WEIGHTS]
    shards = snapshot.read_json(INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise InputError(f"model '{snapshot.name}' has a broken {INDEX}; name another revision, or have it saved again")
    for shard in shards.values():
        if not _SHARD.fullmatch(shard):
            raise InputError(
                f"model '{snapshot.name}': its {INDEX} names '{shard}', which is not a safetensors file beside it; "
                "name another revision"
            )
    return sorted(set(shards.values()))


def _why(lacking: str, files: list[str]) -> str:
    """Return what a model with these files lacks, and the way out."""
    pickles = sorted(file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt")) and "model" in file)
    if lacking in (WEIGHTS, ADAPTER_WEIGHTS) and pickles:
        return (
            f"holds its weights only as a pickle ({pickles[0]}), which is never opened here; name a revision that "
            f"holds {lacking}, such as a pull request that converts it (revision 'refs/pr/1')"
        )
    if lacking == CONFIG and ADAPTER_CONFIG in files:
        return "is an adapter without a config.json that names its labels; save it with hf_ser, or add that file"
    return f"holds no {lacking}; {_WAY_OUT}"
