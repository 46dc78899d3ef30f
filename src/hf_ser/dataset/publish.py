"""Putting a built data set on the Hub: one commit or none, private unless the terms of the audio were read."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from hf_ser.corpora import CORPORA
from hf_ser.errors import InputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Publication", "publish_dataset"]

_CARD: Final = "README.md"
_OURS: Final = (_CARD, "build_report.json", "build_report.md", "split_proof.json")
"""Files beside `data/*.parquet` that a build writes."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What a push did.

    Attributes:
        url: Where the data set lies.
        commit: Identifier of the commit that was made; None where the repository held the same already.
        uploaded: Files that the commit added or changed.
        deleted: Files of an earlier build that the commit removed.
    """

    url: str
    commit: str | None
    uploaded: tuple[str, ...]
    deleted: tuple[str, ...]


def publish_dataset(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = True,
    acknowledge_licences: Iterable[str] = (),
    token: str | None = None,
    revision: str | None = None,
) -> Publication:
    """Put a data set that `build_dataset` wrote on the Hub.

    All changes are one commit, made after every file is uploaded: a push that breaks off leaves the old version.

    Args:
        folder: The built folder.
        repo_id: `USER/NAME`; the repository is made where it does not exist.
        private: Whether a new repository is private.
        acknowledge_licences: For a public repository, the names of all its corpora whose terms do not allow
            passing the audio on (`savee`, `tess`): you declare that you have the right to publish them.
        token: Of the Hub; None takes the one that is logged in.
        revision: Branch to commit to; None takes the main one.

    Returns:
        The commit, or that none was needed.

    Raises:
        InputError: The folder is no built data set, the repository is or would be public without the
            acknowledgement, or the Hub refuses.

    Example:
        >>> import tempfile
        >>> publish_dataset(tempfile.mkdtemp(), "me/eight_emotions")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: ... is no built data set (it has no README.md); give a folder that hf-ser build wrote
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    # The base class of the client's connection errors: httpx's or httpx2's, by the release of huggingface_hub.
    connection_error: type[Exception] = HfHubHTTPError.__bases__[0]
    top = Path(folder)
    files = _files(top)
    corpora = _corpora(top)
    acknowledged = _acknowledged(acknowledge_licences)
    if not private:
        _refuse_public(repo_id, corpora, acknowledged)
    api = HfApi(token=token)
    try:
        url = _repository(api, repo_id, private, corpora, acknowledged)
        return _commit(api, repo_id, str(url), files, revision)
    except HFValidationError as error:
        raise InputError(f"repo_id '{repo_id}' is no repository on the Hub; give USER/NAME") from error
    except LocalTokenNotFoundError as error:
        raise InputError(f"pushing to '{repo_id}' needs a token; run `hf auth login`, or set HF_TOKEN") from error
    except (connection_error, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"pushing to '{repo_id}' failed, and the version there is as before: {reason[:300]}; check the token and "
            "the connection, and push again"
        ) from error


def _files(top: Path) -> dict[str, Path]:
    """Return the files to publish by their paths in the repository."""
    for name in _OURS:
        if not (top / name).is_file():
            raise InputError(f"{top} is no built data set (it has no {name}); give a folder that hf-ser build wrote")
    shards = {f"data/{path.name}": path for path in sorted((top / "data").glob("*.parquet"))}
    if not shards:
        raise InputError(f"{top} is no built data set (it has no data/*.parquet); build it again")
    return {**shards, **{name: top / name for name in _OURS}}


def _corpora(top: Path) -> tuple[str, ...]:
    front_matter = (top / _CARD).read_text(encoding="utf-8").split("---\n")[1]
    named = {entry["config_name"] for entry in yaml.safe_load(front_matter)["configs"]}
    return tuple(name for name in CORPORA if name in named)


def _acknowledged(names: Iterable[str]) -> set[str]:
    given = {names} if isinstance(names, str) else set(names)
    unknown = sorted(given - set(CORPORA))
    if unknown:
        raise InputError(
            f"acknowledge_licences names unknown corpora ({', '.join(unknown)}); it takes those of the data"
        )
    return given


def _refuse_public(repo_id: str, corpora: Iterable[str], acknowledged: set[str]) -> None:
    closed = [name for name in corpora if not CORPORA[name].licence.redistribution and name not in acknowledged]
    if closed:
        terms = "; ".join(f"{name}: {CORPORA[name].licence.name}" for name in closed)
        raise InputError(
            f"'{repo_id}' would publish audio whose terms do not allow it ({terms}); keep it private, leave the "
            f"corpora out, or name them in acknowledge_licences (--acknowledge-licences {','.join(closed)}) if you "
            "have the right"
        )


def _repository(api: "HfApi", repo_id: str, private: bool, corpora: Iterable[str], acknowledged: set[str]) -> str:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        existing = api.dataset_info(repo_id)
    except RepositoryNotFoundError:
        return str(api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True))
    # Made public by somebody since: the default of this call does not make it private again.
    if not existing.private:
        _refuse_public(repo_id, corpora, acknowledged)
    return f"{api.endpoint}/datasets/{repo_id}"


def _commit(api: "HfApi", repo_id: str, url: str, files: dict[str, Path], revision: str | None) -> Publication:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.hf_api import RepoFile

    there = {
        entry.path: entry
        for entry in api.list_repo_tree(repo_id, repo_type="dataset", recursive=True, revision=revision)
        if isinstance(entry, RepoFile)
    }
    changed = [path for path, file in files.items() if path not in there or not _same(there[path], file)]
    stale = [path for path in there if path.startswith("data/") and path.endswith(".parquet") and path not in files]
    if not changed and not stale:
        return Publication(url, None, (), ())
    # Not upload_folder: over Xet it makes several commits, and a reader could meet half a data set.
    operations: list[Any] = [CommitOperationAdd(path, str(files[path])) for path in changed]
    operations += [CommitOperationDelete(path) for path in stale]
    commit = api.create_commit(
        repo_id,
        operations,
        commit_message="Write the eight-emotions data set",
        repo_type="dataset",
        revision=revision,
    )
    return Publication(url, commit.oid, tuple(changed), tuple(stale))


def _same(entry: Any, file: Path) -> bool:
    """Return whether a file of the repository holds the bytes of a local one."""
    if entry.size != file.stat().st_size:
        return False
    if entry.lfs is not None:
        with file.open("rb") as stream:
            return bool(entry.lfs.sha256 == _digest(stream, hashlib.sha256()))
    with file.open("rb") as stream:
        # Git names a file by the SHA-1 of a header and its bytes.
        blob = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
        return bool(entry.blob_id == _digest(stream, blob))


def _digest(stream: Any, digest: Any) -> str:
    while block := stream.read(1 << 20):
        digest.update(block)
    return str(digest.hexdigest())
