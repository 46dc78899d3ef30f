"""One repository: commits, branches, tags and pull requests, changed by one writer at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from hub_server.errors import HubError, conflict, revision_not_found, stale_parent
from hub_server.storage import Entry, git_hash, tree_oid

KINDS = ("model", "dataset", "space")


def timestamp(moment: datetime) -> str:
    """Write a moment the way the Hub does."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass(frozen=True, slots=True)
class Commit:
    """A state of the repository, never changed once made.

    Attributes:
        id: git's 40 hexadecimal digits.
        parent: The commit before it, where there is one.
        tree: Every file by its path.
        title: First line of the message.
        message: The rest of the message.
        author: Name of the account.
        date: Moment of the commit, UTC.
    """

    id: str
    parent: Commit | None = field(repr=False, compare=False)
    tree: Mapping[str, Entry] = field(repr=False, compare=False)
    title: str
    message: str
    author: str
    date: datetime

    @classmethod
    def create(cls, parent: Commit | None, tree: Mapping[str, Entry], title: str, message: str, author: str) -> Commit:
        date = datetime.now(timezone.utc)
        who = f"{author} <{author}@users.noreply.localhost> {date.timestamp():.6f} +0000"
        lines = [f"tree {tree_oid(tree)}", *([f"parent {parent.id}"] if parent else []), f"author {who}"]
        text = "\n".join([*lines, f"committer {who}", "", title, "", message])
        return cls(git_hash("commit", text.encode()), parent, dict(tree), title, message, author, date)

    def history(self) -> Iterator[Commit]:
        """Yield this commit and all before it, newest first."""
        commit: Commit | None = self
        while commit is not None:
            yield commit
            commit = commit.parent


@dataclass(slots=True)
class PullRequest:
    """Commits that wait to be merged into ``main``."""

    number: int
    title: str
    description: str
    author: str
    base: Commit
    head: Commit
    created: datetime
    status: str = "open"
    merged: str | None = None

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.number}"


Change = Callable[[dict[str, Entry]], None]


class Repository:
    """A repository of one of the three kinds.

    Args:
        kind: 'model', 'dataset' or 'space'.
        id: ``namespace/name``.
        owner: The account that makes the first commit.
        files: What the first commit holds.
        private: Whether only its namespace sees it.
        sdk: The SDK of a Space.
    """

    def __init__(
        self, kind: str, id: str, owner: str, files: Mapping[str, Entry], private: bool, sdk: str | None = None
    ) -> None:
        self.kind, self.id, self.private, self.sdk = kind, id, private, sdk
        self.gated: str | bool = False
        self.admitted: set[str] = set()
        self.downloads = 0
        self.lock = threading.RLock()
        first = Commit.create(None, files, "initial commit", "", owner)
        self.created = first.date
        self.commits = {first.id: first}
        self.branches = {"main": first.id}
        self.tags: dict[str, str] = {}
        self.pulls: dict[int, PullRequest] = {}
        self.large_files: set[str] = set()

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    @property
    def prefix(self) -> str:
        """What stands before the id in the address of a page."""
        return "" if self.kind == "model" else f"{self.kind}s/"

    def resolve(self, revision: str) -> Commit:
        """Return the commit that a branch, a tag, a pull request or a SHA (7 digits at least) names.

        Raises:
            HubError: 404 ``RevisionNotFound``.
        """
        if match := re.fullmatch(r"refs/pr/(\d+)", revision):
            pull = self.pulls.get(int(match[1]))
            if pull is None:
                raise revision_not_found(revision)
            return pull.head
        name = revision.removeprefix("refs/heads/")
        if name in self.branches:
            return self.commits[self.branches[name]]
        name = revision.removeprefix("refs/tags/")
        if name in self.tags:
            return self.commits[self.tags[name]]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            with self.lock:
                found = [commit for id, commit in self.commits.items() if id.startswith(revision)]
            if len(found) == 1:
                return found[0]
        raise revision_not_found(revision)

    def commit(
        self, revision: str, change: Change, title: str, message: str, author: str, parent: str | None = None
    ) -> Commit:
        """Add a commit to a branch or a pull request, all of it or nothing.

        Args:
            revision: A branch or ``refs/pr/N``.
            change: Edits a copy of the tree; what it raises leaves the repository as it was.
            title: First line of the message.
            message: The rest.
            author: Name of the account.
            parent: The commit that must be the newest one.

        Raises:
            HubError: 412 if another commit is the newest, 404 if the revision is unknown or cannot move.
        """
        with self.lock:
            head = self.resolve(revision)
            branch = revision.removeprefix("refs/heads/")
            pull = next((pull for pull in self.pulls.values() if pull.ref == revision), None)
            if pull is None and branch not in self.branches:
                raise revision_not_found(revision)
            if pull is not None and pull.status != "open":
                raise HubError(403, f"Pull request {pull.number} is {pull.status}.")
            commit = self._build(head, change, title, message, author, parent)
            if pull is not None:
                pull.head = commit
            else:
                self.branches[branch] = commit.id
            return commit

    def propose(
        self, revision: str, change: Change, title: str, message: str, author: str, parent: str | None = None
    ) -> tuple[PullRequest, Commit]:
        """Open a pull request that holds one commit on top of a revision."""
        with self.lock:
            base = self.resolve(revision)
            commit = self._build(base, change, title, message, author, parent)
            return self.open_pull(title, message, author, base, commit), commit

    def open_pull(self, title: str, description: str, author: str, base: Commit, head: Commit) -> PullRequest:
        with self.lock:
            number = len(self.pulls) + 1
            pull = PullRequest(number, title, description, author, base, head, datetime.now(timezone.utc))
            self.pulls[number] = pull
            return pull

    def merge(self, number: int, author: str) -> Commit:
        """Apply to ``main`` what a pull request changed since it was opened.

        Raises:
            HubError: 404 without such a pull request; 409 if it is not open or ``main`` changed the same file.
        """
        with self.lock:
            pull = self.pulls.get(number)
            if pull is None:
                raise HubError(404, f"Discussion {number} not found")
            if pull.status != "open":
                raise conflict(f"Pull request {number} is {pull.status}.")
            base, head, main = pull.base.tree, pull.head.tree, self.resolve("main").tree
            changed = {path for path in base.keys() | head.keys() if base.get(path) != head.get(path)}
            clash = sorted(path for path in changed if main.get(path) not in (base.get(path), head.get(path)))
            if clash:
                raise conflict(f"Merge conflict in {', '.join(clash)}")

            def change(tree: dict[str, Entry]) -> None:
                for path in changed:
                    tree.pop(path, None)
                    if path in head:
                        tree[path] = head[path]

            commit = self.commit("main", change, f"{pull.title} (#{number})", "", author)
            pull.status, pull.merged = "merged", commit.id
            return commit

    def squash(self, branch: str, message: str, author: str) -> Commit:
        """Replace the history of a branch by one commit of the same tree."""
        with self.lock:
            if branch not in self.branches:
                raise revision_not_found(branch)
            commit = Commit.create(None, self.resolve(branch).tree, message, "", author)
            self.commits[commit.id] = commit
            self.branches[branch] = commit.id
            return commit

    def _build(self, head: Commit, change: Change, title: str, message: str, author: str, parent: str | None) -> Commit:
        if parent is not None and parent != head.id and not (len(parent) >= 7 and head.id.startswith(parent)):
            raise stale_parent()
        tree = dict(head.tree)
        change(tree)
        commit = Commit.create(head, tree, title, message, author)
        self.commits[commit.id] = commit
        return commit
