"""Accounts, tokens and repositories, and who may do what."""

from __future__ import annotations

import fnmatch
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub_server import cards
from hub_server.errors import HubError, conflict, repository_not_found
from hub_server.repository import KINDS, Repository
from hub_server.storage import Blobs, Entry
from hub_server.vocabulary import LARGE, LARGE_MEDIA, SDKS

LARGE_SIZE = 10 << 20
_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]{0,95}(?<![.-])(?<!\.git)")


@dataclass(frozen=True, slots=True)
class Account:
    """A user and the organisations it belongs to."""

    name: str
    organizations: tuple[str, ...] = ()

    def owns(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.organizations


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request: an account by one of its tokens."""

    account: Account
    role: str


class Registry:
    """Everything the server remembers."""

    def __init__(self, folder: Path) -> None:
        self.blobs = Blobs(folder / "blobs")
        self.secret = secrets.token_hex(16)
        self.multipart_size = 64 << 20
        self.clear()

    def clear(self) -> None:
        """Forget every repository, account and token."""
        self.lock = threading.RLock()
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, Identity] = {}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.moved: dict[tuple[str, str], str] = {}

    def identify(self, authorization: str | None) -> Identity | None:
        """Return who a request comes from, None if it says nothing.

        Raises:
            HubError: 401 for a token nobody has.
        """
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or token.strip() not in self.tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.tokens[token.strip()]

    def readable(self, repository: Repository, identity: Identity | None) -> bool:
        return not repository.private or (identity is not None and identity.account.owns(repository.namespace))

    def find(self, kind: str, id: str, identity: Identity | None) -> Repository:
        """Return a repository that this account may know of.

        Raises:
            HubError: As if there were none, if it is private to others; 307 with the new id, if it was moved.
        """
        repository = self.repositories.get((kind, id))
        if repository is not None and self.readable(repository, identity):
            return repository
        if repository is None and (target := self.moved.get((kind, id))):
            self.find(kind, target, identity)
            raise HubError(307, f"Moved to {target}", headers={"X-Moved-To": target})
        raise repository_not_found(identity is None)

    def require_content(self, repository: Repository, identity: Identity | None) -> None:
        """Stop those who did not pass the gate of a gated repository.

        Raises:
            HubError: 401 or 403 ``GatedRepo``.
        """
        if not repository.gated:
            return
        link = f"Visit {repository.prefix}{repository.id} to ask for access."
        if identity is None:
            raise HubError(
                401, f"Access to {repository.id} is restricted. You must be authenticated. {link}", "GatedRepo"
            )
        if not (identity.account.owns(repository.namespace) or identity.account.name in repository.admitted):
            raise HubError(
                403,
                f"Access to {repository.id} is restricted and you are not in the authorized list. {link}",
                "GatedRepo",
            )

    def require_write(self, namespace: str, identity: Identity | None) -> Account:
        """Return the account, if its token may write to the namespace.

        Raises:
            HubError: 401 for nobody; 403 for a read token or a foreign namespace.
        """
        account = self.require_writer(identity)
        if not account.owns(namespace):
            raise HubError(403, f"You don't have the rights to write in the namespace {namespace}.")
        return account

    def require_writer(self, identity: Identity | None) -> Account:
        """Return the account, if its token may write at all."""
        if identity is None:
            raise HubError(401, "Invalid username or password.")
        if identity.role != "write":
            raise HubError(403, "You must use a token with the role write.")
        return identity.account

    def create(
        self, kind: str, id: str, owner: str, private: bool, sdk: str | None, url: Callable[[Repository], str]
    ) -> Repository:
        """Make a repository with its first commit.

        Raises:
            HubError: 400 for a bad name, kind or SDK; 409 if it exists.
        """
        namespace, slash, name = id.partition("/")
        if kind not in KINDS or not slash or not all(_NAME.fullmatch(part) for part in (namespace, name)):
            raise HubError(400, f"Invalid repository: {kind} {id}")
        if (kind == "space") != (sdk is not None) or (sdk is not None and sdk not in SDKS):
            raise HubError(400, f"Invalid SDK of a {kind}: {sdk}")
        with self.lock:
            if (kind, id) in self.repositories:
                raise conflict(f"You already created this {kind} repo", url=url(self.repositories[kind, id]))
            repository = Repository(kind, id, owner, self._first_files(kind, name, sdk), private, sdk)
            self.repositories[kind, id] = repository
            self.moved.pop((kind, id), None)
            return repository

    def move(self, kind: str, source: str, target: str) -> None:
        with self.lock:
            if (kind, target) in self.repositories:
                raise conflict(f"There is already a {kind} at {target}")
            repository = self.repositories.pop((kind, source))
            repository.id = target
            self.repositories[kind, target] = repository
            self.moved[kind, source] = target
            self.moved.pop((kind, target), None)

    def store(self, path: str, content: bytes, attributes: str) -> Entry:
        """Keep a content as the file at a path would be kept."""
        sha256, size = self.blobs.add([content])
        return self.blobs.entry(sha256, size, size > 0 and is_large(path, size, content[:512], attributes))

    def text(self, tree: Mapping[str, Entry], path: str) -> str:
        """Return a text file of a tree, empty where it is missing."""
        return self.blobs.read(tree[path].sha256).decode("utf-8", "replace") if path in tree else ""

    def _first_files(self, kind: str, name: str, sdk: str | None) -> dict[str, Entry]:
        patterns = [*LARGE, *(LARGE_MEDIA if kind == "dataset" else ())]
        attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns)
        files = {".gitattributes": self.store(".gitattributes", attributes.encode(), "")}
        if kind == "space":
            card = f"---\ntitle: {name}\ncolorFrom: blue\ncolorTo: gray\nsdk: {sdk}\npinned: false\n---\n"
            files["README.md"] = self.store("README.md", card.encode(), attributes)
        return files


def is_large(path: str, size: int, sample: bytes, attributes: str) -> bool:
    """Tell whether a file goes to large file storage: by its name, its size (10 MiB) or because it is no text."""
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
    return size >= LARGE_SIZE or b"\0" in sample or _matches(path, patterns)


def is_ignored(path: str, gitignore: str) -> bool:
    """Tell whether the lines of a ``.gitignore`` leave a file out; the last that matches decides."""
    ignored = False
    for line in gitignore.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        folders = [path[: place.start()] for place in re.finditer("/", path)]
        candidates = folders if pattern.endswith("/") else [*folders, path]
        if any(_matches(candidate, [pattern.rstrip("/")]) for candidate in candidates):
            ignored = not negated
    return ignored


def _matches(path: str, patterns: list[str]) -> bool:
    """Match as git does: a pattern without a slash is about the name alone, wherever the file is."""
    for pattern in patterns:
        subject = path if "/" in pattern else path.rpartition("/")[2]
        expression = fnmatch.translate(pattern.removeprefix("/").replace("**/", "*"))
        if re.match(expression, subject):
            return True
    return False


def card(registry: Registry, tree: Mapping[str, Entry]) -> tuple[str, dict[str, Any]]:
    """Return a repository's card and its front matter."""
    text = registry.text(tree, "README.md")
    try:
        return text, cards.front_matter(text) or {}
    except ValueError:
        return text, {}
