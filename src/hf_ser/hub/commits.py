"""A set of files as one commit to a repository of any kind, or none: the card merged, what broke tried again."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hf_ser.errors import InputError
from hf_ser.hub.card_merge import GENERATED_CARD, merge_card
from hf_ser.hub.repository import Content, HubRepository, Pushed, open_hub, refusals, same_content

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

__all__ = ["CARD", "Content", "Pushed", "push_files"]

CARD: Final = "README.md"


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
    owned_front_matter: Collection[str] = (),
    stale: Callable[[str], bool] = lambda path: False,
    approve: Callable[[bool], None] = lambda public: None,
) -> Pushed:
    """Put files on the Hub as one commit, made after every large file is uploaded: a reader meets all or nothing.

    What a human wrote into the card there stays. Files that are there already are not sent again, and where
    nothing differs there is no commit. Requests that fail for a passing reason are made again, the commit too:
    it names the commit that it follows, so that it can land once at most.

    Args:
        repo_id: `USER/NAME`; the repository is made where it does not exist.
        files: Path in the repository to a local file or to bytes. `README.md` is the card as it stands here; where
            a human's edits are in it, `GENERATED_CARD` is the card without them.
        repo_type: `model`, `dataset` or `space`.
        message: Of the commit.
        private: Whether a new repository is private.
        revision: Branch to commit to, made where it does not exist; None takes the main one.
        create_pr: Propose the commit as a pull request instead.
        token: Of the Hub; None takes the one that is logged in.
        space_sdk: Of a new Space.
        owned_front_matter: Keys of the card's front matter that no human's edit changes.
        stale: Which paths of the repository that are not among `files` are deleted.
        approve: Called, before anything is changed there, with whether the repository is public; it may raise.

    Returns:
        The commit, or that none was needed.

    Raises:
        InputError: The Hub refuses or cannot be reached, somebody else pushed meanwhile, or the card there cannot
            be read. The version there is as before, unless the message says that nobody knows.

    Example:
        >>> push_files("me/ser", {"../config.json": b"{}"}, message="Add a model")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: '../config.json' is no path in a repository; give one such as data/clips.parquet
    """
    for path, content in files.items():
        if not path or any(part in ("", ".", "..", ".git") for part in path.split("/")):
            raise InputError(f"'{path}' is no path in a repository; give one such as data/clips.parquet")
        if isinstance(content, Path) and not content.is_file():
            raise InputError(f"{content} is not there to be pushed; write it again")
    repository = HubRepository(open_hub(repo_id, token), repo_id, repo_type, revision, create_pr)
    with refusals(repo_id, revision):
        repository.make(private, space_sdk, approve)
        head = repository.head()
        there = repository.tree(head)
        local = dict(files)
        if CARD in local:
            local |= _merged_card(repository, local, head, there, owned_front_matter)
        changed = tuple(path for path in local if path not in there or not same_content(there[path], local[path]))
        deleted = tuple(path for path in there if path not in local and stale(path))
        if not changed and not deleted:
            return Pushed(repository.url, None)
        return repository.commit({path: local[path] for path in changed}, deleted, message, head, there)


def _merged_card(
    repository: HubRepository,
    files: Mapping[str, Content],
    head: str,
    there: Mapping[str, "RepoFile"],
    owned: Collection[str],
) -> dict[str, Content]:
    """Return the card to push, and the generated one for the merge of the next push."""
    ours = _text_of(files[CARD])
    generated = files.get(GENERATED_CARD, ours.encode())
    theirs = repository.text(there[CARD], head) if CARD in there else None
    base = repository.text(there[GENERATED_CARD], head) if GENERATED_CARD in there else None
    if base is None and repository.type == "space" and repository.is_new(head):
        # The Hub's own card of a new Space: nobody wrote it.
        base = theirs
    return {CARD: merge_card(ours, theirs, base, owned=owned).encode(), GENERATED_CARD: generated}


def _text_of(content: Content) -> str:
    return (content if isinstance(content, bytes) else content.read_bytes()).decode()
