"""The errors that a caller sees: one line that names the input and a way out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Answer = TypeVar("Answer")

_WAITS_SECONDS = (1.0, 2.0, 4.0)
_LONGEST_WAIT_SECONDS = 120.0
_STATUSES = {
    401: "the token was rejected; run `hf auth login`, or fix HF_TOKEN",
    403: "the token lacks permission; it needs write access to that account",
    412: "the repository changed meanwhile; pull the new version, then push again",
    429: "the Hub limits the rate of requests (429); try again in a while",
}
_TOKEN = re.compile(r"\bhf_(?!ser\b)[A-Za-z0-9]{8,}|(?<=Bearer )\S+")


class InputError(ValueError):
    """Input that cannot be used: the message is one line that names the input and a way out.

    The command line prints the message on stderr and exits with code 2; `--debug` shows the traceback.

    Example:
        >>> raise InputError("recipe 'lora_kqv' is unknown; choose full, lora_qkv or lora_classifier")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: recipe 'lora_kqv' is unknown; choose full, lora_qkv or lora_classifier
    """

    def __init__(self, message: str = "") -> None:
        # A DataLoader worker re-raises an error with its traceback written into the message.
        if message.startswith("Caught ") and "DataLoader worker" in message:
            message = message.rpartition("Error: ")[2].strip()
        super().__init__(message)


class HubError(InputError):
    """The Hub, or the connection to it, failed or refused; the same call may succeed later.

    >>> issubclass(HubError, InputError)
    True
    """


def without_tokens(text: str) -> str:
    """Return a text in which everything that looks like a Hub token is replaced."""
    return _TOKEN.sub("hf_***", text)


@contextmanager
def hub_errors(subject: str, revision: str | None = None) -> Iterator[None]:
    """Turn what the Hub's client raises within the block into a `HubError` that begins with `subject`."""
    try:
        yield
    except InputError:
        raise
    except _passing(OSError, ValueError, RuntimeError) as error:
        raise HubError(f"{subject}: {hub_reason(error, revision)}") from error


def hub_reason(error: BaseException, revision: str | None = None) -> str:
    """Return in one line why a request failed, with a way out; wrapped errors are looked into."""
    from huggingface_hub import errors as hub

    text = " ".join(without_tokens(str(error)).split())[:300] or type(error).__name__
    status = _status(error) or 0
    by_kind: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
        ((hub.LocalTokenNotFoundError,), "not logged in; run `hf auth login`, or set HF_TOKEN"),
        ((hub.HFValidationError,), "not a valid repository id; give USER/NAME"),
        ((hub.GatedRepoError,), "the repository is gated; request access on its page, then run `hf auth login`"),
        ((hub.RevisionNotFoundError,), f"revision '{revision or 'main'}' does not exist; name a branch, tag or commit"),
        ((hub.RepositoryNotFoundError,), "no such repository, or it is private; check the id, or run `hf auth login`"),
        ((hub.RemoteEntryNotFoundError,), "the repository lacks a required file; name another revision"),
        ((BaseException,) if status in _STATUSES else (), _STATUSES.get(status, "")),
        ((BaseException,) if status >= 500 else (), f"the Hub fails at the moment ({status}); try again later"),
        ((hub.OfflineModeIsEnabled,), "offline mode is on and the files are not cached; unset HF_HUB_OFFLINE once"),
        ((hub.LocalEntryNotFoundError,), "the Hub cannot be reached and the files are not cached; try again later"),
        ((json.JSONDecodeError,), "the Hub, or a proxy, answered with something else than JSON; try again later"),
        (_passing(), f"the connection to the Hub failed ({text}); try again"),
    )
    chain = list(_chain(error))
    return next((reason for kinds, reason in by_kind if any(isinstance(link, kinds) for link in chain)), text)


def persistent(request: Callable[[], Answer]) -> Answer:
    """Call an idempotent request again while it fails for a passing reason (a 429, a 5xx, a broken connection)."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    for seconds in _WAITS_SECONDS:
        try:
            return request()
        except Exception as error:
            chain, status = list(_chain(error)), _status(error)
            # The client has retried by itself before it reports that a file is not cached.
            final = any(isinstance(link, OfflineModeIsEnabled | LocalEntryNotFoundError) for link in chain)
            passing = any(isinstance(link, _passing()) for link in chain)
            wait = _retry_after(chain, seconds)
            retry = passing if status is None else status in (408, 429) or status >= 500
            if final or not retry or wait > _LONGEST_WAIT_SECONDS:
                raise
            time.sleep(wait)
    return request()


def _passing(*more: type[Exception]) -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError

    # The base class of the client's transport errors is httpx's or httpx2's, depending on the release.
    return (HfHubHTTPError.__bases__[0], json.JSONDecodeError, ConnectionError, TimeoutError, *more)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    found = (getattr(getattr(link, "response", None), "status_code", None) for link in _chain(error))
    return next((int(status) for status in found if status is not None), None)


def _retry_after(chain: list[BaseException], default: float) -> float:
    headers = (getattr(getattr(link, "response", None), "headers", None) or {} for link in chain)
    return next((float(found["retry-after"]) for found in headers if found.get("retry-after", "").isdigit()), default)
