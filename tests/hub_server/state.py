"""What the server stores: files, commits, repositories, accounts, and the rules of access."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

_COUNTER = itertools.count()
# The endings of names that go to large file storage.
LARGE = (".safetensors", ".bin", ".pt", ".npy", ".npz", ".parquet", ".arrow", ".zip", ".gz", ".wav", ".flac", ".png")


class Refusal(Exception):
    """A refusal that becomes an HTTP answer; the client turns `X-Error-Code` into a typed error."""

    def __init__(self, status: int, message: str, code: str | None = None, **body: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, {"error": message, **body}
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit; `lfs` says whether it is in large file storage."""

    content: bytes = field(repr=False)
    lfs: bool
    sha1: str
    sha256: str

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.sha1

    @property
    def facts(self) -> dict[str, Any]:
        """The size and, for a large file, what the API says about its storage."""
        size = len(self.content)
        large = {"sha256": self.sha256, "oid": self.sha256, "size": size, "pointerSize": 130}
        return {"size": size, **({"lfs": large} if self.lfs else {})}


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: its 40 hexadecimal digits, the commits before it, every file by path, title, author, date (UTC)."""

    id: str
    before: tuple[Commit, ...] = field(repr=False, compare=False)
    tree: Mapping[str, Entry] = field(repr=False, compare=False)
    title: str
    author: str
    date: str

    @classmethod
    def create(cls, before: tuple[Commit, ...], tree: Mapping[str, Entry], title: str, author: str) -> Commit:
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        id = hashlib.sha1(f"{next(_COUNTER)} {date} {title} {author}".encode()).hexdigest()
        return cls(id, before, tree, title, author, date)


class Repository:
    """A repository; tests may set `private`, `gated`, `branches`, `tags` and `pulls` (name to commit id)."""

    def __init__(self, kind: str, id: str, private: bool) -> None:
        self.kind, self.id, self.private = kind, id, private
        self.gated: str | bool = False
        self.namespace = id.partition("/")[0]
        self.page = f"/{id}" if kind == "model" else f"/{kind}s/{id}"
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.pulls: dict[str, str] = {}

    def resolve(self, revision: str) -> Commit:
        """Return the commit that a branch, a tag, `refs/pr/N` or a SHA names."""
        id = self.branches.get(revision) or self.tags.get(revision) or self.pulls.get(revision) or revision
        if id not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[id]

    def commit(
        self,
        revision: str,
        change: Callable[[dict[str, Entry]], None],
        title: str,
        author: str,
        parent: str | None = None,
        create_pr: bool = False,
    ) -> Commit:
        """Add a commit to a branch or a pull request, or open a pull request with it.

        `change` edits a copy of the tree: if it raises, nothing changes. `parent` must be the newest commit, if given.
        """
        head = self.resolve(revision)
        names = self.pulls if create_pr or revision in self.pulls else self.branches
        if create_pr:
            revision = f"refs/pr/{len(self.pulls) + 1}"
        elif revision not in names:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if parent is not None and parent != head.id:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        tree = dict(head.tree)
        change(tree)
        commit = Commit.create((head, *head.before), tree, title, author)
        self.commits[commit.id] = commit
        names[revision] = commit.id
        return commit


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request: a user, by a token of the role "read" or "write"."""

    name: str
    role: str
    organizations: tuple[str, ...] = ("lab",)

    def owns(self, namespace: str) -> bool:
        return namespace in (self.name, *self.organizations)


class Registry:
    """Accounts and repositories; whoever reads or changes them holds `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tokens: dict[str, Identity] = {}
        self.repositories: dict[tuple[str, str], Repository] = {}
        # Large files, by the page of their repository and their SHA-256.
        self.storage: dict[str, bytes] = {}

    def identify(self, authorization: str | None) -> Identity | None:
        """Return who sends a request, None for an anonymous one."""
        if authorization is None:
            return None
        token = authorization.removeprefix("Bearer ").strip()
        if token not in self.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.tokens[token]

    def entry(self, repository: Repository, content: bytes, lfs: bool) -> Entry:
        """Return the entry of a content, which goes to the storage of large files if `lfs` says so."""
        # The SHA-1 is git's: by it the client recognises unchanged files.
        sha1 = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        sha256 = hashlib.sha256(content).hexdigest()
        if lfs:
            self.storage[f"{repository.page}/{sha256}"] = content
        return Entry(content, lfs, sha1, sha256)

    def stored(self, repository: Repository, sha256: str) -> bytes:
        """Return a large file."""
        if (address := f"{repository.page}/{sha256}") not in self.storage:
            raise Refusal(400, f"Your push was rejected because {address} was not uploaded.")
        return self.storage[address]

    def find(self, kind: str, id: str, identity: Identity | None) -> Repository:
        """Return a repository that this account may see."""
        repository = self.repositories.get((kind, id))
        if repository is not None and self.readable(repository, identity):
            return repository
        # Over plain HTTP the client does not map a bare 401 to a missing repository.
        raise Refusal(401 if identity is None else 404, "Repository not found", "RepoNotFound")

    @staticmethod
    def require_content(repository: Repository, identity: Identity | None) -> None:
        """Refuse access to the files of a gated repository to everyone but its owner."""
        if repository.gated and (identity is None or not identity.owns(repository.namespace)):
            message = f"Access to {repository.id} is restricted. Visit {repository.page} to ask for access."
            raise Refusal(401 if identity is None else 403, message, "GatedRepo")

    @staticmethod
    def readable(repository: Repository, identity: Identity | None) -> bool:
        return not repository.private or (identity is not None and identity.owns(repository.namespace))

    @staticmethod
    def writer(identity: Identity | None, namespace: str | None = None) -> str:
        """Return the name of the account, if its token may write (to the namespace, if one is given)."""
        if identity is None:
            raise Refusal(401, "Invalid username or password.")
        if identity.role != "write":
            raise Refusal(403, "You must use a token with the role write.")
        if namespace is not None and not identity.owns(namespace):
            raise Refusal(403, f"You don't have the rights to write in the namespace {namespace}.")
        return identity.name

    def create(self, kind: str, id: str, private: bool, endpoint: str = "") -> Repository:
        """Create a repository with its first commit."""
        if old := self.repositories.get((kind, id)):
            raise Refusal(409, f"You already created this {kind} repo", url=endpoint + old.page)
        repository = self.repositories[kind, id] = Repository(kind, id, private)
        files = {".gitattributes": "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE)}
        if kind == "space":
            title = id.partition("/")[2]
            files["README.md"] = f"---\ntitle: {title}\ncolorFrom: blue\ncolorTo: gray\nsdk: gradio\n---\n"
        tree = {path: self.entry(repository, text.encode(), lfs=False) for path, text in files.items()}
        first = Commit.create((), tree, "initial commit", repository.namespace)
        repository.commits[first.id] = first
        repository.branches["main"] = first.id
        return repository


def is_large(path: str, size: int, sample: bytes) -> bool:
    """Decide whether a file goes to large file storage: by its name, its size (10 MiB) or because it is not text."""
    return size > 0 and (path.endswith(LARGE) or size >= 10 << 20 or b"\0" in sample)
