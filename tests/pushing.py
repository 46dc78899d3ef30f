"""A real client in a process of its own: it pushes what it is told to, sleeps for nobody and logs all it does."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from hub_server.hub import Hub

CODE = """
import json, logging, sys, time

slept = []
time.sleep = slept.append
logging.basicConfig(level=logging.DEBUG)
from hf_ser.errors import InputError
from hf_ser.hub.commits import push_files

for line in sys.stdin:
    repo_id, files, stale, options = json.loads(line)
    slept.clear()
    content = {path: text.encode() if isinstance(text, str) else bytes(text) for path, text in files.items()}
    try:
        done = push_files(repo_id, content, stale=lambda path: path in stale, **{"message": "Push", **options})
        told = [done.url, done.commit, done.pull_request, sorted(done.uploaded), list(done.deleted)]
    except InputError as error:
        told = str(error)
    print("TOLD", json.dumps([told, slept]), flush=True)
"""


class Pusher:
    """The process, for as long as the `with` block.

    Args:
        hub: The Hub.
        token: Of the account that pushes; None for nobody's.
        code: What the process runs.
        env: Further variables of its environment.
    """

    def __init__(self, hub: Hub, token: str | None, code: str = CODE, **env: str | None) -> None:
        self._tokens = [hub.token(user, role) for user in ("alice", "bob") for role in ("read", "write")]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=hub.environment(token, **env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._printed: list[str] = []

    def __enter__(self) -> Pusher:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        said = self.log()
        self._log.close()
        assert not [token for token in self._tokens if token in said], said

    def log(self) -> str:
        """Return all that was written, to stdout and stderr."""
        self._log.seek(0)
        return "".join(self._printed) + self._log.read()

    def ask(self, job: Any) -> Any:
        """Send one line of JSON and return what is told in answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            self._printed.append(line)
            if line.startswith("TOLD "):
                return json.loads(line.removeprefix("TOLD "))
        raise AssertionError(f"the client ended: {self.log()}")

    def push(
        self, repo_id: str, files: dict[str, str | list[int]], stale: tuple[str, ...] = (), **options: Any
    ) -> tuple[Any, list[float]]:
        """Push files; return what came back, or the one line of the error, and the waits in seconds."""
        told, slept = self.ask([repo_id, files, stale, options])
        assert isinstance(told, list) or "\n" not in told
        return told, slept
