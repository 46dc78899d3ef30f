"""One commit of a model as files on this machine: resolved once, so that no reader mixes two commits."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_ser.errors import InputError
from hf_ser.remote import connection_error, hub_reason, passes, persistent

__all__ = ["Snapshot", "open_snapshot"]

logger = logging.getLogger(__name__)

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_SMALL = (CONFIG, "preprocessor_config.json", "processor_config.json", ADAPTER_CONFIG)
_LARGE = (ADAPTER_WEIGHTS, WEIGHTS, INDEX, "model-*-of-*.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)

# The Hub's own account that converts pickled weights, and the title it gives its pull requests.
_CONVERTER = "SFconvertbot"
_CONVERSION = "Adding `safetensors` variant of this model"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model's files, all of one commit.

    Attributes:
        name: What the user called it: a folder or a Hub id.
        folder: Holds the files.
        commit: The commit that they are of; None for a folder of the user's own.
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
            InputError: It is not there, or no JSON object.
        """
        try:
            values = json.loads((self.folder / file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"model '{self.name}' holds no {file}; {_WAY_OUT}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"model '{self.name}': its {file} cannot be read as JSON ({error}); mend it") from error
        if not isinstance(values, dict):
            raise InputError(f"model '{self.name}': its {file} is no JSON object; mend it, or name another revision")
        return values


_WAY_OUT = "give a folder with config.json and model.safetensors, or a Hub id"


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

    A branch or tag is resolved once. Where the Hub cannot be asked, the commit that it led to last time is taken
    from the cache. Pickles and code are never fetched; where a repository holds its weights as pickles alone, the
    Hub's own conversion of the very same pickles to safetensors is taken, if there is one.

    Args:
        source: A folder, a Hub id, or a snapshot, which comes back as it is.
        revision: Branch, tag or commit on the Hub; None is its main branch.
        token: Token of the Hub; None takes the one of `hf auth login` or HF_TOKEN, False none.
        cache_dir: Folder to keep the files in; None is the Hugging Face cache.
        weights: Whether the weights are needed, too.
        inspect: Called with the configuration at hand and before any weights are fetched; it raises where the model
            cannot be used.

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
        snapshot, files = Snapshot(name, Path(name)), None
        if inspect is not None and (snapshot.folder / CONFIG).is_file():
            inspect(snapshot)
    elif not _HUB_ID.fullmatch(name):
        raise InputError(f"model '{name}': there is no such folder; {_WAY_OUT}")
    else:
        with _hub_errors_of(name, revision):
            snapshot, files = _Repository(name, token, cache_dir).snapshot(revision, weights, inspect)
    lacking = _lacking(snapshot.folder, weights)
    if lacking:
        raise InputError(f"model '{name}' {_why(lacking, _names(snapshot.folder) if files is None else files)}")
    return snapshot


@contextmanager
def _hub_errors_of(name: str, revision: str | None) -> Iterator[None]:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, connection_error()) as error:
        reason = hub_reason(error, revision=revision)
        if isinstance(error, RepositoryNotFoundError):
            reason = f"no such folder is here, and on the Hub {reason}"
        raise InputError(f"model '{name}': {reason}") from error


class _Repository:
    """A repository on the Hub, with its part of the cache."""

    def __init__(self, name: str, token: str | bool | None, cache_dir: str | Path | None) -> None:
        from huggingface_hub import HfApi

        self._name, self._token, self._cache_dir = name, token, cache_dir
        self._api = HfApi(token=token)

    def snapshot(
        self, revision: str | None, weights: bool, inspect: Callable[[Snapshot], object] | None
    ) -> tuple[Snapshot, list[str] | None]:
        """Return the files at a revision and, where some are lacking, the names of all that the Hub has."""
        commit = self._resolve(revision)
        if inspect is not None:
            folder = self._fetch(commit, weights=False)
            if _lacking(folder, weights=False) is None:
                inspect(Snapshot(self._name, folder, commit))
        folder = self._fetch(commit, weights)
        files = None
        if _lacking(folder, weights) is not None:
            files = self._files(commit)
            converted = self._converted(commit, files) if weights else None
            if converted is not None:
                logger.info("%s holds pickled weights; taking their conversion by the Hub, %s", self._name, converted)
                folder = self._fetch(converted, weights)
                self._remember(folder, f"converted/{commit}", converted)
        known = self._cached(revision or "main")
        # Only now, and never for a configuration alone: until all of a new commit is here, the cache leads to the old.
        if weights or known is None or _lacking(known, weights=True) is not None:
            self._remember(folder, revision or "main", commit)
        return Snapshot(self._name, folder, folder.name), files

    def _resolve(self, revision: str | None) -> str:
        from huggingface_hub.errors import OfflineModeIsEnabled

        if revision is not None and _COMMIT.fullmatch(revision):
            return revision
        try:
            return self._commit(revision)
        except (OSError, ValueError, connection_error()) as error:
            cached = self._cached(revision or "main")
            if cached is None or not (passes(error) or isinstance(error, OfflineModeIsEnabled)):
                raise
            if not isinstance(error, OfflineModeIsEnabled):
                logger.warning(
                    "model '%s': %s; taking commit %s from the cache", self._name, hub_reason(error), cached.name
                )
            return cached.name

    def _commit(self, revision: str | None) -> str:
        from huggingface_hub import constants

        timeout = constants.HF_HUB_ETAG_TIMEOUT
        return str(persistent(lambda: self._api.model_info(self._name, revision=revision, timeout=timeout)).sha)

    def _cached(self, revision: str) -> Path | None:
        """Return the folder in the cache of a revision that was fetched before, all of it or a part."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self._name, CONFIG, cache_dir=self._cache_dir, revision=revision)
        return Path(found).parent if isinstance(found, str) else None

    def _fetch(self, commit: str, weights: bool) -> Path:
        from huggingface_hub import snapshot_download

        cached = self._cached(commit)
        if cached is not None and _lacking(cached, weights) is None:
            return cached
        converted = self._cached(f"converted/{commit}")
        if converted is not None and _lacking(converted, weights) is None:
            return converted
        return Path(
            persistent(
                lambda: snapshot_download(
                    self._name,
                    revision=commit,
                    token=self._token,
                    cache_dir=self._cache_dir,
                    allow_patterns=[*_SMALL, *(_LARGE if weights else ())],
                )
            )
        )

    def _files(self, commit: str) -> list[str]:
        from huggingface_hub import constants
        from huggingface_hub.errors import OfflineModeIsEnabled

        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled("the cache holds a part of the files")
        return persistent(lambda: self._api.list_repo_files(self._name, revision=commit))

    def _converted(self, commit: str, files: list[str]) -> str | None:
        """Return the commit of the Hub's conversion of these very pickles to safetensors, if there is one."""
        pickles = [file for file in files if file.startswith("pytorch_model") and file.endswith(".bin")]
        if not pickles:
            return None
        before = self._contents(commit)
        for reference in persistent(self._conversions):
            converted = self._commit(reference)
            after = self._contents(converted)
            if all(after.get(file) == before[file] for file in pickles) and (WEIGHTS in after or INDEX in after):
                return converted
        return None

    def _conversions(self) -> list[str]:
        discussions = self._api.get_repo_discussions(
            self._name, author=_CONVERTER, discussion_type="pull_request", discussion_status="open"
        )
        return [
            f"refs/pr/{discussion.num}"
            for discussion in discussions
            if discussion.author == _CONVERTER and discussion.title == _CONVERSION
        ]

    def _contents(self, revision: str) -> dict[str, str]:
        entries = persistent(lambda: list(self._api.list_repo_tree(self._name, revision=revision)))
        return {entry.path: entry.blob_id for entry in entries if hasattr(entry, "blob_id")}

    @staticmethod
    def _remember(folder: Path, revision: str, commit: str) -> None:
        """Write down where a revision led, as the Hub's cache does, for the time when nobody can be asked."""
        if revision == commit:
            return
        reference = folder.parent.parent / "refs" / revision
        try:
            if reference.is_file() and reference.read_text() == commit:
                return
            reference.parent.mkdir(parents=True, exist_ok=True)
            staged = reference.with_name(f"{reference.name}.{commit[:8]}.tmp")
            staged.write_text(commit)
            staged.replace(reference)
        except OSError as error:
            # A cache that may only be read serves all the same.
            logger.debug("%s is not written: %s", reference, error)


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def _lacking(folder: Path, weights: bool) -> str | None:
    """Return the first file that a model lacks, or None where it is whole."""
    if not (folder / CONFIG).is_file():
        return CONFIG
    if not weights:
        return None
    if (folder / ADAPTER_CONFIG).is_file():
        if not (folder / ADAPTER_WEIGHTS).is_file():
            return ADAPTER_WEIGHTS
    elif not (folder / WEIGHTS).is_file():
        if not (folder / INDEX).is_file():
            return WEIGHTS
        try:
            shards = set(json.loads((folder / INDEX).read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError):
            return INDEX
        for shard in sorted(shards):
            if not (folder / Path(str(shard)).name).is_file():
                return str(shard)
    if not any((folder / file).is_file() for file in ("preprocessor_config.json", "processor_config.json")):
        return "preprocessor_config.json"
    return None


def _why(lacking: str, files: list[str]) -> str:
    """Return what a model with these files lacks, and the way out."""
    pickles = sorted(file for file in files if file.endswith(_PICKLES) and "model" in file)
    if lacking == ADAPTER_WEIGHTS and "adapter_model.bin" in pickles:
        return (
            "holds its adapter as a pickle (adapter_model.bin), which is never opened here; "
            "save it again as safetensors, or name a revision that holds adapter_model.safetensors"
        )
    if lacking == WEIGHTS and pickles:
        return (
            f"holds its weights as pickles alone ({pickles[0]}), which are never opened here; name a revision that "
            "holds model.safetensors, such as a pull request that converts them (revision='refs/pr/1')"
        )
    if lacking == INDEX:
        return f"has a broken {INDEX}; name another revision, or have it saved again"
    if lacking == CONFIG and ADAPTER_CONFIG in files:
        return "is an adapter without a config.json that names its labels; save it by hf_ser, or add that file"
    return f"holds no {lacking}; {_WAY_OUT}"
