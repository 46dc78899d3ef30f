"""The Hub as a test holds it: its address, its accounts, what lies in it, its faults, and clients in processes."""

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
from hub_server.faults import Fault, Faults
from hub_server.registry import Account, Identity, Registry
from hub_server.repository import Commit, Repository
from hub_server.server import Record, Server
from hub_server.storage import Entry

Content = Mapping[str, "str | bytes"]

# What would send a client elsewhere or keep it offline.
_STEERING = re.compile(r"HF_|HUGGING_?FACE_|TRANSFORMERS_(OFFLINE|CACHE)|(https?|all)_proxy$", re.IGNORECASE)


class Hub:
    """A running Hub with the users ``alice`` and ``bob`` and the organisation ``lab``, of which both are members.

    Args:
        folder: Where it keeps contents and the homes of client processes; by default a temporary folder.

    Attributes:
        endpoint: ``http://127.0.0.1:port``.
        folder: As above.
        requests: Every request seen, in order.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="hub-")) if folder is None else folder
        self._registry, self._faults = Registry(self.folder), Faults()
        self._server = Server(self._registry, self._faults, self._collide)
        self.endpoint, self.requests = self._server.endpoint, self._server.records
        self.reset()
        site = self.folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(f"{Path(guard.__file__).read_text('utf-8')}\n\ninstall()\n", "utf-8")
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving.

        Raises:
            AssertionError: If the server itself failed on a request.
        """
        self._server.shutdown()
        self._server.server_close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.check()

    def check(self) -> None:
        """Raise AssertionError if the server itself failed on a request since the last check."""
        failures = list(self._server.failures)
        self._server.failures.clear()
        if failures:
            raise AssertionError(f"the loopback Hub failed: {failures!r}") from failures[0]

    def reset(self) -> None:
        """Forget all repositories, further users, faults and requests."""
        self._registry.clear()
        self._faults.clear()
        self.requests.clear()
        for name in ("alice", "bob"):
            self.add_user(name, organizations=("lab",))

    # --- accounts ---

    def add_user(self, name: str, organizations: Sequence[str] = ()) -> None:
        """Add an account with one token of each role."""
        account = Account(name, tuple(organizations))
        self._registry.accounts[name] = account
        for role in ("read", "write"):
            self._registry.tokens[self.token(name, role)] = Identity(account, role)

    def token(self, user: str = "alice", role: str = "write") -> str:
        """Return a user's token of role 'read' or 'write'."""
        if user not in self._registry.accounts:
            raise KeyError(f"no user {user}: add_user({user!r})")
        return f"hf_{user}{role.title()}Token"

    # --- what lies in it ---

    def repos(self, kind: str = "model") -> list[str]:
        """Return the ids of all repositories of a kind, private ones too."""
        return sorted(id for of, id in self._registry.repositories if of == kind)

    def repo(self, id: str, kind: str = "model") -> Repository:
        """Return a repository: its attributes ``private``, ``gated``, ``branches``, ``tags``, ``pulls`` may be set.

        Raises:
            KeyError: If there is none.
        """
        return self._registry.repositories[kind, id]

    def paths(self, id: str, revision: str = "main", kind: str = "model") -> list[str]:
        """Return the paths of all files at a revision."""
        return sorted(self.repo(id, kind).resolve(revision).tree)

    def read(self, id: str, path: str, revision: str = "main", kind: str = "model") -> bytes:
        """Return one file at a revision."""
        return self._registry.blobs.read(self.repo(id, kind).resolve(revision).tree[path].sha256)

    def files(self, id: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """Return every file at a revision."""
        return {path: self.read(id, path, revision, kind) for path in self.paths(id, revision, kind)}

    def commits(self, id: str, revision: str = "main", kind: str = "model") -> list[Commit]:
        """Return the history of a revision, newest first."""
        return list(self.repo(id, kind).resolve(revision).history())

    # --- what lands in it without a client ---

    def create(
        self, id: str, files: Content | None = None, kind: str = "model", private: bool = False, sdk: str | None = None
    ) -> Repository:
        """Make a repository and, with files, a commit that holds them."""
        sdk = sdk or ("gradio" if kind == "space" else None)
        repository = self._registry.create(kind, id, id.partition("/")[0], private, sdk, lambda it: it.id)
        if files:
            self.commit(id, files, kind=kind)
        return repository

    def create_from_folder(self, id: str, folder: Path, kind: str = "model", private: bool = False) -> Repository:
        """Make a repository that holds the files below a folder."""
        found = (path for path in sorted(folder.rglob("*")) if path.is_file())
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
        return self.create(id, files, kind, private)

    def commit(
        self,
        id: str,
        files: Content | None = None,
        delete: Sequence[str] = (),
        message: str = "By the test",
        author: str | None = None,
        revision: str = "main",
        kind: str = "model",
    ) -> Commit:
        """Add a commit as somebody else would, without a request."""
        repository = self.repo(id, kind)
        attributes = self._registry.text(repository.resolve(revision).tree, ".gitattributes")
        raw = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
        entries = {path: self._registry.store(path, content, attributes) for path, content in raw.items()}
        repository.large_files |= {entry.sha256 for entry in entries.values() if entry.lfs}

        def change(tree: dict[str, Entry]) -> None:
            for path in delete:
                del tree[path]
            tree |= entries

        return repository.commit(revision, change, message, "", author or repository.namespace)

    def delete(self, id: str, kind: str = "model") -> None:
        """Remove a repository."""
        del self._registry.repositories[kind, id]

    def grant(self, id: str, user: str, kind: str = "model") -> None:
        """Let a user through the gate of a gated repository."""
        self.repo(id, kind).admitted.add(user)

    # --- faults ---

    @property
    def multipart_size(self) -> int:
        """Size in bytes above which a large file is uploaded in parts."""
        return self._registry.multipart_size

    @multipart_size.setter
    def multipart_size(self, size: int) -> None:
        self._registry.multipart_size = size

    def fault(self, kind: int | str, **how: Any) -> Fault:
        """Switch a fault on (see :class:`Fault`); as a ``with`` block, off again at its end."""
        return self._faults.add(Fault(kind, **how))

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._faults.clear()

    def _collide(self, path: str, fault: Fault) -> None:
        match = re.fullmatch(r"/api/(model|dataset|space)s/([^/]+/[^/]+)/commit/([^/]+)", path)
        if match is None:
            raise ValueError(f"the fault 'conflict' is for .../commit/..., not for {path}")
        kind, id, revision = map(unquote, match.groups())
        self.commit(id, fault.files, author=fault.author, message="At the same time", revision=revision, kind=kind)

    # --- clients ---

    def environment(self, token: str | None = None, home: Path | None = None, **env: str | None) -> dict[str, str]:
        """Return the environment in which a fresh process is a client of this Hub.

        Args:
            token: Its token; None for an anonymous client.
            home: ``HF_HOME``, by default a new empty folder.
            env: Further variables; None removes one.
        """
        homes = self.folder / "homes"
        homes.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not _STEERING.match(name)}
        values: dict[str, str | None] = {
            **kept,
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home or tempfile.mkdtemp(dir=homes)),
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.folder / "site"), kept.get("PYTHONPATH")])),
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
        """Run a command as a client of this Hub and return how it went."""
        environment = self.environment(token, home, **env)
        return subprocess.run(
            list(command),
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            cwd=cwd,
            check=False,
        )

    def run(
        self,
        code: str,
        *arguments: str,
        token: str | None = None,
        home: Path | None = None,
        timeout_seconds: float = 300,
        cwd: Path | None = None,
        **env: str | None,
    ) -> str:
        """Run Python code as a client of this Hub and return what it prints; ``arguments`` reach it in ``sys.argv``.

        Raises:
            AssertionError: If it fails, with what it wrote to stderr.
        """
        command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
        done = self.execute(command, token, home, timeout_seconds, cwd, **env)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def requested(self, method: str = "*", path: str = "*") -> list[Record]:
        """Return the requests seen whose method and path match patterns as of :mod:`fnmatch`."""
        seen = list(self.requests)
        return [record for record in seen if fnmatchcase(record.method, method) and fnmatchcase(record.path, path)]
