"""One push: a set of files as one commit on top of a known commit, with the card's block replaced."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hf_ser.errors import HubError, InputError, hub_errors, hub_reason, persistent
from hf_ser.hub.blocks import combine

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import CommitInfo

CARD: Final = "README.md"

Content: TypeAlias = Path | bytes


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push."""

    url: str  # of the repository, or of the pull request
    commit: str | None  # its id; None if nothing had changed
    pull_request: str | None = None  # such as refs/pr/3
    uploaded: tuple[str, ...] = ()  # paths of the files; unchanged ones were not sent
    deleted: tuple[str, ...] = ()  # paths that the commit removed

    def __str__(self) -> str:
        return f"{self.url}: {'unchanged, no commit' if self.commit is None else f'commit {self.commit}'}"


def open_hub(repo_id: str, token: str | None = None) -> HfApi:
    """Return a client for a push; an invalid id, a missing token and offline mode are errors."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id if repo_id.count("/") == 1 else "")
    except HFValidationError as error:
        raise InputError(f"repo_id '{repo_id}' is not a valid repository id; give USER/NAME") from error
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"nothing was pushed to '{repo_id}': offline mode is on; unset HF_HUB_OFFLINE")
    if not (token or get_token()):
        raise HubError(f"nothing was pushed to '{repo_id}': {hub_reason(LocalTokenNotFoundError())}")
    return HfApi(token=token)


def push_files(
    repo_id: str,
    files: Mapping[str, Content],
    *,
    repo_type: str = "model",
    message: str,
    private: bool = True,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
    space_sdk: str | None = None,
    owned: Collection[str] = (),
    stale: Callable[[str], bool] = lambda path: False,
    approve: Callable[[bool], None] = lambda public: None,
) -> Pushed:
    """Push files as one commit on top of the newest one: readers see the old version or the new one.

    What people wrote into the card there is kept, see `combine`. If somebody else pushes meanwhile, nothing is
    overwritten. Unchanged files are not sent again; if nothing has changed, there is no commit.

    Args:
        repo_id: `USER/NAME`; the repository is created if it does not exist.
        files: Path in the repository to a local file or to bytes; `README.md` is the card.
        repo_type: `model`, `dataset` or `space`.
        message: Title of the commit.
        private: Whether a new repository is private.
        revision: Branch, created if it does not exist; None is the main branch.
        create_pr: Open a pull request instead.
        token: Hub token; None uses the one that is logged in.
        space_sdk: SDK of a new Space.
        owned: Keys of the card's front matter that an earlier push set and this one removes unless it sets them.
        stale: Which paths of the repository that are not in `files` are deleted.
        approve: Called with whether the repository is public, before anything in it is changed; it may raise.

    Raises:
        InputError: A path is not valid, or the card there cannot be read; nothing was pushed.
        HubError: The Hub refuses or cannot be reached, or somebody else pushed meanwhile; nothing was pushed, unless
            the message says that this is unknown.

    Example:
        >>> push_files("me/ser", {"../config.json": b"{}"}, message="Add a model")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: '../config.json' is not a path in a repository; give one such as data/clips.parquet
    """
    for path, content in files.items():
        if not path or any(part in ("", ".", "..", ".git") for part in path.split("/")):
            raise InputError(f"'{path}' is not a path in a repository; give one such as data/clips.parquet")
        if isinstance(content, Path) and (content.is_symlink() or not content.is_file()):
            raise InputError(f"'{content}' is missing, or is not a regular file; put the file itself there")
    api = open_hub(repo_id, token)
    at: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type}
    with hub_errors(f"nothing was pushed to '{repo_id}'", revision):
        if not persistent(lambda: api.repo_exists(**at)):
            persistent(lambda: api.create_repo(**at, private=private, exist_ok=True, space_sdk=space_sdk))
        # A repository that exists may be public, whatever is asked for a new one.
        approve(not persistent(lambda: api.repo_info(**at)).private)
        if revision is not None and not create_pr and not revision.startswith("refs/pr/"):
            persistent(lambda: api.create_branch(**at, branch=revision, exist_ok=True))
        info: Any = persistent(lambda: api.repo_info(**at, revision=revision))
        there = {file.rfilename for file in info.siblings or ()}
        local = dict(files)
        if CARD in local:
            card = local[CARD]
            text = (card if isinstance(card, bytes) else card.read_bytes()).decode()
            # The Hub itself writes a card into a new Space.
            new_space = repo_type == "space" and len(api.list_repo_commits(**at, revision=info.sha)) == 1
            old = read_card(api, repo_id, repo_type, info.sha) if CARD in there and not new_space else None
            local[CARD] = combine(text, old, owned=owned).encode()
        deleted = tuple(sorted(path for path in there - set(local) if stale(path)))
        made = _commit(api, {**at, "revision": revision, "create_pr": create_pr}, local, deleted, message, info.sha)
    url = f"{api.endpoint}/{'' if repo_type == 'model' else f'{repo_type}s/'}{repo_id}"
    if made.oid == info.sha:
        return Pushed(url, None)
    return Pushed(made.pr_url or url, made.oid, made.pr_revision, tuple(local), deleted)


def read_card(api: HfApi, repo_id: str, repo_type: str = "model", revision: str | None = None) -> str:
    """Return the text of a repository's card; unlike a download through the cache, it is retried."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
        http_backoff,
    )

    url = hf_hub_url(repo_id, CARD, repo_type=repo_type, revision=revision, endpoint=api.endpoint)
    response = http_backoff("GET", url, headers=build_hf_headers(token=api.token))
    hf_raise_for_status(response)
    try:
        return str(response.content.decode())
    except UnicodeDecodeError as error:
        raise InputError(
            f"nothing was pushed to '{repo_id}': its README.md is not UTF-8 text; fix it there, and push again"
        ) from error


def _commit(
    api: HfApi, where: dict[str, Any], files: Mapping[str, Content], deleted: Iterable[str], message: str, parent: str
) -> CommitInfo:
    """Commit on top of `parent`; if the answer is lost, compare the newest commit with it."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = [
        CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
        for path, content in files.items()
    ]
    # A .gitignore in the repository must not leave out files of a push.
    api.preupload_lfs_files(additions=additions, free_memory=False, gitignore_content="", **where)
    operations: list[Any] = [*additions, *(CommitOperationDelete(path) for path in deleted)]
    tries = 0

    def send() -> CommitInfo:
        nonlocal tries
        tries += 1
        # Not upload_folder, which makes several commits over Xet.
        made: CommitInfo = api.create_commit(
            operations=operations, commit_message=message, parent_commit=parent, **where
        )
        return made

    try:
        # With its parent a commit is made once at most, but a second request would open a second pull request.
        return send() if where["create_pr"] else persistent(send)
    except Exception as error:
        if _refused(error, tries) or _is_newest(api, parent, **where):
            raise
        raise HubError(
            f"it is unknown whether the commit to '{where['repo_id']}' arrived: {hub_reason(error).partition(';')[0]}; "
            "look at the repository, or push again: what is there is not sent twice"
        ) from error


def _refused(error: Exception, tries: int) -> bool:
    """Return whether the only commit that was sent is known to have been refused, by the Hub or by its client."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:
        return isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError)
    return tries == 1 and status < 500


def _is_newest(api: HfApi, commit: str, *, create_pr: bool, **at: Any) -> bool:
    """Return whether nothing has come after a commit; a pull request that arrived would not show."""
    try:
        return not create_pr and bool(api.repo_info(**at).sha == commit)
    except Exception:
        return False
