"""The Hub as a test uses it: its address, its accounts, its content, its faults, and client processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import hub_server.routes  # noqa: F401
from hub_server import guard
from hub_server.server import Fault, Record, Server
from hub_server.state import Commit, Identity, Registry, Repository, is_large

# Variables that would send a client to another server or keep it offline.
_STEERING = re.compile(r"HF_|HUGGING_?FACE_|TRANSFORMERS_(OFFLINE|CACHE)|(https?|all)_proxy$", re.IGNORECASE)


class Hub:
    """A running Hub with the users `alice` and `bob`, both members of the organisation `lab`.

    Attributes:
        endpoint: `http://127.0.0.1:PORT`.
        requests: Every request received, in order.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hub-"))
        self._registry = Registry()
        for user in ("alice", "bob"):
            for role in ("read", "write"):
                self._registry.tokens[self.token(user, role)] = Identity(user, role)
        self._server = Server(self._registry, self._collide)
        self.endpoint, self.requests = self._server.endpoint, self._server.records
        site = f"{Path(guard.__file__).read_text('utf-8')}\n\ninstall()\n"
        (self._folder / "sitecustomize.py").write_text(site, "utf-8")
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self.check()

    def check(self) -> None:
        """Raise AssertionError if the server itself raised an exception since the last check."""
        failures = list(self._server.failures)
        self._server.failures.clear()
        if failures:
            raise AssertionError(f"the loopback Hub failed: {failures!r}") from failures[0]

    @staticmethod
    def token(user: str = "alice", role: str = "write") -> str:
        """Return the token of `alice` or `bob` of the role "read" or "write"."""
        return f"hf_{user}{role.title()}Token"

    def repos(self, kind: str = "model") -> list[str]:
        """Return the ids of all repositories of a kind, private ones included."""
        return sorted(id for of, id in self._registry.repositories if of == kind)

    def repo(self, id: str, kind: str = "model") -> Repository:
        """Return a repository, or raise KeyError."""
        return self._registry.repositories[kind, id]

    def paths(self, id: str, revision: str = "main", kind: str = "model") -> list[str]:
        """Return the paths of all files at a revision."""
        return sorted(self.repo(id, kind).resolve(revision).tree)

    def read(self, id: str, path: str, revision: str = "main", kind: str = "model") -> bytes:
        """Return one file at a revision."""
        return self.repo(id, kind).resolve(revision).tree[path].content

    def files(self, id: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """Return every file at a revision."""
        return {path: self.read(id, path, revision, kind) for path in self.paths(id, revision, kind)}

    def commits(self, id: str, revision: str = "main", kind: str = "model") -> list[Commit]:
        """Return the history of a revision, newest first."""
        newest = self.repo(id, kind).resolve(revision)
        return [newest, *newest.before]

    def create(
        self, id: str, files: Mapping[str, str | bytes] | None = None, kind: str = "model", private: bool = False
    ) -> Repository:
        """Create a repository and, if files are given, a commit of them."""
        with self._registry.lock:
            repository = self._registry.create(kind, id, private)
        if files:
            self.commit(id, files, kind=kind)
        return repository

    def create_from_folder(self, id: str, folder: Path, kind: str = "model", private: bool = False) -> Repository:
        """Create a repository with the files of a folder."""
        found = [path for path in folder.rglob("*") if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
        return self.create(id, files, kind, private)

    def commit(
        self,
        id: str,
        files: Mapping[str, str | bytes],
        message: str = "By the test",
        author: str = "bob",
        revision: str = "main",
        kind: str = "model",
    ) -> Commit:
        """Add a commit without a request, as another user would; the card is not validated."""
        with self._registry.lock:
            repository = self.repo(id, kind)
            entries = {}
            for path, text in files.items():
                content = text.encode() if isinstance(text, str) else text
                large = is_large(path, len(content), content[:512])
                entries[path] = self._registry.entry(repository, content, large)
            return repository.commit(revision, lambda tree: tree.update(entries), message, author)

    def fault(self, kind: int | str, **how: Any) -> Fault:
        """Switch a fault on (see `Fault`); the end of its `with` block switches it off."""
        self._server.faults.append(Fault(kind, **how))
        return self._server.faults[-1]

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._server.faults.clear()

    def _collide(self, path: str, fault: Fault) -> None:
        _, _, kind, user, name, _, revision = path.split("/")
        message = "At the same time"
        self.commit(f"{user}/{name}", fault.files, message, revision=unquote(revision), kind=kind.removesuffix("s"))

    def environment(self, token: str | None = None, home: Path | None = None, **env: str | None) -> dict[str, str]:
        """Return the environment of a process that is a client of this Hub, anonymous without a token.

        `HF_HOME` is a new empty folder unless `home` is given; `env` adds variables, or removes those that are None.
        """
        kept = {name: value for name, value in os.environ.items() if not _STEERING.match(name)}
        values: dict[str, str | None] = {
            **kept,
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home or tempfile.mkdtemp(dir=self._folder)),
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self._folder), kept.get("PYTHONPATH")])),
            **env,
        }
        return {name: value for name, value in values.items() if value is not None}

    def execute(
        self,
        command: Sequence[str],
        token: str | None = None,
        home: Path | None = None,
        timeout_seconds: float = 300,
        cwd: Path | None = None,
        **env: str | None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a client of this Hub and return its result."""
        how: dict[str, Any] = {"env": self.environment(token, home, **env), "timeout": timeout_seconds, "cwd": cwd}
        return subprocess.run(list(command), capture_output=True, text=True, check=False, **how)

    def run(self, code: str, *arguments: str, **how: Any) -> str:
        """Run Python code as a client of this Hub and return what it prints; raise AssertionError if it fails.

        `arguments` are its `sys.argv[1:]`; `how` is passed to `execute`.
        """
        done = self.execute([sys.executable, "-c", textwrap.dedent(code), *arguments], **how)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def requested(self, method: str = "*", path: str = "*") -> list[Record]:
        """Return the requests received whose method and path match patterns as in `fnmatch`."""
        return [it for it in self.requests if fnmatchcase(f"{it.method} {it.path}", f"{method} {path}")]
