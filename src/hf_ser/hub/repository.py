"""One repository of the Hub as a push sees it: made, read at a commit, and added to by one commit that lands or not."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hf_ser import remote
from hf_ser.errors import InputError
from hf_ser.remote import connection_error, hub_reason, passes, persistent, waits

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import CommitInfo, RepoFile

__all__ = ["Content", "HubRepository", "Pushed", "open_hub", "refusals", "same_content"]

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_BLOCK = 1 << 20

Content: TypeAlias = Path | bytes


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did.

    Attributes:
        url: Of the repository, or of the pull request.
        commit: Identifier of the commit that was made; None where the repository held the same already.
        pull_request: Such as `refs/pr/3`.
        uploaded: Files that the commit added or changed.
        deleted: Files of an earlier push that the commit removed.
    """

    url: str
    commit: str | None
    pull_request: str | None = None
    uploaded: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


@contextmanager
def refusals(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Turn what the client of the Hub raises into one line on a push that did not happen.

    Raises:
        InputError: In the place of the client's error.

    Example:
        >>> with refusals("me/ser"):
        ...     raise ConnectionResetError("reset by peer")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: nothing was pushed to 'me/ser': the connection to the Hub broke (reset by peer); ...
    """
    try:
        yield
    except InputError:
        raise
    except (connection_error(), OSError, ValueError, RuntimeError) as error:
        reason = hub_reason(error, revision=revision)
        raise InputError(f"nothing was pushed to '{repo_id}': {reason}") from error


def open_hub(repo_id: str, token: str | None = None) -> "HfApi":
    """Return a client that may try to push.

    Args:
        repo_id: `USER/NAME`.
        token: Of the Hub; None takes the one that is logged in.

    Raises:
        InputError: `repo_id` is no name of a repository, no token is at hand, or offline mode is on.

    Example:
        >>> open_hub("no name")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: repo_id 'no name' is no repository on the Hub; give USER/NAME
    """
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
        valid = bool(_REPO_ID.fullmatch(repo_id))
    except HFValidationError:
        valid = False
    if not valid:
        raise InputError(f"repo_id '{repo_id}' is no repository on the Hub; give USER/NAME")
    if constants.HF_HUB_OFFLINE:
        raise InputError(f"nothing was pushed to '{repo_id}': offline mode is on; unset HF_HUB_OFFLINE")
    if not (token or get_token()):
        raise InputError(f"nothing was pushed to '{repo_id}': {hub_reason(LocalTokenNotFoundError())}")
    return HfApi(token=token)


def same_content(entry: "RepoFile", content: Content) -> bool:
    """Return whether a file of a repository holds the bytes of a local one, without reading it there."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if entry.size != size:
        return False
    if entry.lfs is not None:
        return bool(entry.lfs.sha256 == _digest(content, hashlib.sha256()))
    # Git names a file by the SHA-1 of a header and its bytes.
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    return bool(entry.blob_id == _digest(content, blob))


def _digest(content: Content, digest: Any) -> str:
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with content.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return str(digest.hexdigest())


class HubRepository:
    """One repository at one branch.

    Args:
        api: The client.
        repo_id: `USER/NAME`.
        repo_type: `model`, `dataset` or `space`.
        revision: The branch; None is the main one.
        create_pr: Whether commits become pull requests into the branch.
    """

    def __init__(self, api: "HfApi", repo_id: str, repo_type: str, revision: str | None, create_pr: bool) -> None:
        self._api = api
        self.id = repo_id
        self.type = repo_type
        self._revision = revision
        self._create_pr = create_pr
        self._at: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type}

    @property
    def url(self) -> str:
        """Its page."""
        prefix = "" if self.type == "model" else f"{self.type}s/"
        return f"{self._api.endpoint}/{prefix}{self.id}"

    def make(self, private: bool, space_sdk: str | None, approve: Callable[[bool], None]) -> None:
        """Make the repository and the branch where they do not exist."""
        if not persistent(lambda: self._api.repo_exists(**self._at)):
            options: dict[str, Any] = {} if space_sdk is None else {"space_sdk": space_sdk}
            persistent(lambda: self._api.create_repo(**self._at, private=private, exist_ok=True, **options))
        info = persistent(lambda: self._api.repo_info(**self._at))
        # Made public by somebody since: asking for a private repository does not make it private again.
        approve(not info.private)
        if self._revision is None or self._revision.startswith("refs/pr/"):
            return
        refs = persistent(lambda: self._api.list_repo_refs(**self._at))
        branches = {branch.name for branch in refs.branches}
        if self._revision in branches:
            return
        if self._revision in {tag.name for tag in refs.tags} or re.fullmatch("[0-9a-f]{40}", self._revision):
            raise InputError(
                f"nothing was pushed to '{self.id}': revision '{self._revision}' is a tag or a commit, which never "
                "changes; name a branch"
            )
        if self._create_pr:
            raise InputError(
                f"nothing was pushed to '{self.id}': a pull request needs a branch to be merged into, and there is no "
                f"'{self._revision}'; leave revision out, or name one of {', '.join(sorted(branches))}"
            )
        branch = self._revision
        persistent(lambda: self._api.create_branch(**self._at, branch=branch, exist_ok=True))

    def head(self) -> str:
        """Return the newest commit of the branch."""
        info = persistent(lambda: self._api.repo_info(**self._at, revision=self._revision))
        return str(info.sha)

    def tree(self, commit: str) -> dict[str, "RepoFile"]:
        """Return all files at a commit, by path."""
        from huggingface_hub.hf_api import RepoFile

        entries = self._api.list_repo_tree(**self._at, recursive=True, revision=commit)
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def is_new(self, commit: str) -> bool:
        """Return whether a commit is the first, which the Hub makes itself."""
        return len(self._history(commit)) == 1

    def _history(self, revision: str | None) -> list[str]:
        return [commit.commit_id for commit in self._api.list_repo_commits(**self._at, revision=revision)]

    def text(self, entry: "RepoFile", commit: str) -> str:
        """Read a text file at a commit, whole, past any cache.

        The client repeats this request itself, and those for trees and commits.

        Raises:
            InputError: It cannot be read.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            hf_raise_for_status,
            http_backoff,
        )

        where = hf_hub_url(self.id, entry.path, repo_type=self.type, revision=commit, endpoint=self._api.endpoint)
        try:
            response = http_backoff("GET", where, headers=build_hf_headers(token=self._api.token))
            hf_raise_for_status(response)
            if not same_content(entry, response.content):
                raise ConnectionError(f"{entry.path} did not come whole")
            return str(response.content.decode())
        except UnicodeDecodeError as error:
            reason = "it is no UTF-8 text; mend it there, and push again"
            raise InputError(f"nothing was pushed to '{self.id}': its {entry.path} cannot be read: {reason}") from error
        except (connection_error(), OSError, ValueError) as error:
            reason = hub_reason(error, revision=self._revision)
            raise InputError(f"nothing was pushed to '{self.id}': its {entry.path} cannot be read: {reason}") from error

    def commit(
        self,
        files: Mapping[str, Content],
        deleted: tuple[str, ...],
        message: str,
        head: str,
        there: Mapping[str, "RepoFile"],
    ) -> Pushed:
        """Upload what is large, then commit on top of `head`."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        additions = [
            CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
            for path, content in files.items()
        ]
        # The client repeats these requests, too. A .gitignore there must not leave out a file of ours.
        self._api.preupload_lfs_files(
            self.id,
            additions,
            repo_type=self.type,
            revision=self._revision,
            create_pr=self._create_pr,
            free_memory=False,
            gitignore_content="",
        )
        operations = [*additions, *(CommitOperationDelete(path) for path in deleted)]

        def landed() -> Pushed | None:
            return self._landed(files, deleted, message, head, there)

        made = self._send(operations, message, head, landed)
        if isinstance(made, Pushed):
            return made
        return Pushed(made.pr_url or self.url, made.oid, made.pr_revision, tuple(files), deleted)

    def _send(
        self, operations: list[Any], message: str, head: str, landed: Callable[[], Pushed | None]
    ) -> "CommitInfo | Pushed":
        from huggingface_hub.errors import HfHubHTTPError

        for seconds in (*remote.WAITS_SECONDS, None):
            try:
                # Not upload_folder: over Xet it makes several commits, and a reader could meet half of it.
                made: CommitInfo = self._api.create_commit(
                    **self._at,
                    operations=operations,
                    commit_message=message,
                    revision=self._revision,
                    create_pr=self._create_pr,
                    parent_commit=head,
                )
                return made
            except (connection_error(), OSError, ValueError) as error:
                failure = error
            refused = failure.response.status_code if isinstance(failure, HfHubHTTPError) else None
            if refused != 412 and not passes(failure):
                break
            # A commit whose answer got lost landed all the same; the next try would be told 412.
            if refused != 429 and (found := self._look(landed)) is not None:
                return found
            if refused == 412 or seconds is None or not waits(failure, seconds):
                break
        raise failure

    def _look(self, landed: Callable[[], Pushed | None]) -> Pushed | None:
        try:
            return landed()
        except (connection_error(), OSError, ValueError) as error:
            raise InputError(
                f"the connection broke while pushing to '{self.id}', and whether the commit arrived cannot be seen: "
                f"{hub_reason(error, revision=self._revision)}; push again then: what is there is not sent twice"
            ) from error

    def _landed(
        self,
        files: Mapping[str, Content],
        deleted: tuple[str, ...],
        message: str,
        head: str,
        there: Mapping[str, "RepoFile"],
    ) -> Pushed | None:
        """Return our commit, if the one that follows `head` holds exactly what we send."""
        kept = {path: entry.blob_id for path, entry in there.items() if path not in files and path not in deleted}
        for revision, url in self._places(message):
            history = self._history(revision)
            place = history.index(head) if head in history else 0
            if place == 0:
                continue
            tree = self.tree(history[place - 1])
            others = {path: entry.blob_id for path, entry in tree.items() if path not in files}
            if others == kept and all(path in tree and same_content(tree[path], files[path]) for path in files):
                pull_request = revision if self._create_pr else None
                return Pushed(url, history[place - 1], pull_request, tuple(files), deleted)
        return None

    def _places(self, message: str) -> Iterator[tuple[str | None, str]]:
        """Yield where a commit of ours may lie: the branch, or the pull requests of its title."""
        if not self._create_pr:
            yield self._revision, self.url
            return
        discussions = persistent(
            lambda: list(self._api.get_repo_discussions(**self._at, discussion_type="pull_request"))
        )
        for found in discussions:
            if found.title == message:
                yield f"refs/pr/{found.num}", f"{self.url}/discussions/{found.num}"
