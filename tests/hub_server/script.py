"""Scripts that real clients run: every step adds what it saw to ``seen``, which comes back."""

import json
from typing import Any

from hub_server.hub import Hub

PRELUDE = """
import json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi, ModelCard
from huggingface_hub.utils import disable_progress_bars, logging
logging.set_verbosity_error()
alice, bob, reader = (HfApi(token=token) for token in sys.argv[1:4])
nobody = HfApi(token=False)
seen = {}

def outcome(function, *arguments, **named):
    '''What a call gives: its value, or the name of its error and the status.'''
    try:
        return function(*arguments, **named)
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        return f"{type(error).__name__} {status}" if status else type(error).__name__

def content(repo_id, filename, api=alice, **named):
    return Path(api.hf_hub_download(repo_id, filename, **named)).read_bytes().hex()
"""


def run(hub: Hub, code: str, *arguments: str, **named: Any) -> dict[str, Any]:
    """Run code that fills ``seen`` in a client process with ``alice``, ``bob``, ``reader`` and ``nobody`` at hand.

    Args:
        hub: The Hub.
        code: Python code, not indented.
        arguments: Reach it as ``sys.argv[4:]``; before them stand the tokens of the first three.
        named: As for :meth:`Hub.run`.
    """
    tokens = [hub.token("alice"), hub.token("bob"), hub.token("alice", "read")]
    printed = hub.run(f"{PRELUDE}\n{code}\nprint(json.dumps(seen))", *tokens, *arguments, **named)
    return json.loads(printed.splitlines()[-1])
