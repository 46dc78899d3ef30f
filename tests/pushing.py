"""A Hub client in its own process: it runs jobs that are sent as JSON, without waiting, and logs everything."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from hub_server.hub import Hub

_LOOP = """
import json, logging, sys, time

slept = []
time.sleep = slept.append
logging.basicConfig(level=logging.DEBUG)
from hf_ser.errors import InputError

for line in sys.stdin:
    job = json.loads(line)
    slept.clear()
    try:
        told = run(*job)
    except InputError as error:
        told = str(error)
    print("TOLD", json.dumps(told), flush=True)
"""
CODE = (
    """
from hf_ser.hub.commits import push_files

def run(repo_id, files, stale, options):
    content = {path: text.encode() if isinstance(text, str) else bytes(text) for path, text in files.items()}
    done = push_files(repo_id, content, stale=lambda path: path in stale, **{"message": "Push", **options})
    return [done.url, done.commit, done.pull_request, sorted(done.uploaded), list(done.deleted)]
"""
    + _LOOP
)
PUSH_MODELS = (
    """
import dataclasses
from types import SimpleNamespace
from hf_ser import push_to_hub
from hf_ser.hub import proof
from hf_ser.hub.push import push_checkpoint
from hf_ser.models.checkpoint import open_model

fresh = proof._ask

def run(source, repo_id, in_a_fresh_process, options):
    # Starting a process takes seconds, so only some tests do.
    proof._ask = fresh if in_a_fresh_process else proof.answer
    if "progress" in options:
        return dataclasses.asdict(push_checkpoint(source, repo_id, **options))
    if isinstance(source, list):
        model, feature_extractor = open_model(source[1])
        source = SimpleNamespace(model=model, feature_extractor=feature_extractor)
    return dataclasses.asdict(push_to_hub(source, repo_id, **options))
"""
    + _LOOP
)
"""Jobs of a source (a folder, or `["load", folder]`), a repository, whether to use a fresh process, and options."""


class Pusher:
    """The process, for the `with` block.

    Args:
        hub: The Hub.
        token: Of the account that pushes; None for an anonymous client.
        code: Program of the process.
        env: More environment variables.
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
        """Return everything written to stdout and stderr."""
        self._log.seek(0)
        return "".join(self._printed) + self._log.read()

    def ask(self, job: Any) -> Any:
        """Send a job as one line of JSON and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            self._printed.append(line)
            if line.startswith("TOLD "):
                told = json.loads(line.removeprefix("TOLD "))
                assert not isinstance(told, str) or "\n" not in told
                return told
        raise AssertionError(f"the client ended: {self.log()}")

    def push(self, repo_id: str, files: dict[str, str | list[int]], stale: tuple[str, ...] = (), **options: Any) -> Any:
        """Push files and return the result, or the line of the error."""
        return self.ask([repo_id, files, stale, options])
