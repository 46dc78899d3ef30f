"""What to do where the Hub does not do what was asked: try again, or say why in one line, never with a token."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

__all__ = ["connection_error", "hub_reason", "passes", "persistent", "waits", "without_tokens"]

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

WAITS_SECONDS = (1.0, 2.0, 4.0)
"""Between one try and the next; a `Retry-After` of the Hub comes before them."""

_LONGEST_WAIT_SECONDS = 120.0
_PASSING = frozenset({408, 429, 500, 502, 503, 504})

_TOKEN = re.compile(r"\bhf_(?!ser\b)[A-Za-z0-9]{8,}|(?<=Bearer )\S+")
_LONGEST_REASON = 300


def without_tokens(text: str) -> str:
    """Return a text with everything in it that looks like a token of the Hub blacked out.

    Example:
        >>> without_tokens("refused: Authorization Bearer hf_abcdefghijklmnop")
        'refused: Authorization Bearer hf_***'
    """
    return _TOKEN.sub("hf_***", text)


def connection_error() -> type[Exception]:
    """Return the base class of the Hub client's transport errors: httpx's or httpx2's, by its release.

    Example:
        >>> issubclass(connection_error(), Exception)
        True
    """
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base


def hub_reason(error: BaseException, *, revision: str | None = None) -> str:
    """Return what went wrong at the Hub and the way out, without the repository's name.

    Args:
        error: What the client raised; its causes are looked at too, since `transformers`, `peft` and `datasets`
            wrap them.
        revision: The branch, tag or commit that was asked for.

    Example:
        >>> from huggingface_hub.errors import LocalTokenNotFoundError
        >>> hub_reason(LocalTokenNotFoundError("no token"))
        'no token is at hand; run `hf auth login`, or set HF_TOKEN'
    """
    from huggingface_hub import errors

    chain = list(_chain(error))

    def met(*kinds: type[BaseException]) -> bool:
        return any(isinstance(link, kinds) for link in chain)

    if met(errors.LocalTokenNotFoundError):
        return "no token is at hand; run `hf auth login`, or set HF_TOKEN"
    if met(errors.HFValidationError):
        return "this is no repository on the Hub; give USER/NAME"
    if met(errors.GatedRepoError):
        return "the repository is gated; ask for access on its page, and log in with `hf auth login`"
    if met(errors.RevisionNotFoundError):
        return f"revision '{revision or 'main'}' does not exist; leave it out, or name a branch, tag or commit"
    if met(errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private; check the name, or log in with `hf auth login`"
    if met(errors.RemoteEntryNotFoundError):
        return "the repository lacks a file that belongs to it; name another revision, or have it pushed again"
    status = next((found for link in chain if (found := _status(link)) is not None), None)
    if status is not None and (known := _of_status(status)):
        return known
    if met(errors.OfflineModeIsEnabled):
        return "offline mode is on and the files are not in the cache; load it once with HF_HUB_OFFLINE unset"
    if met(errors.LocalEntryNotFoundError):
        return "the Hub cannot be reached and the files are not in the cache; check the connection and try again"
    if met(json.JSONDecodeError):
        return "the Hub's answer is no JSON: it fails at the moment, or a proxy answers for it; try again later"
    if met(connection_error(), ConnectionError, TimeoutError):
        return f"the connection to the Hub broke ({_first_line(error)}); try again"
    return _first_line(error)


def passes(error: BaseException) -> bool:
    """Return whether what failed may well work in a moment: a busy or failing Hub, a broken connection.

    Example:
        >>> passes(ConnectionResetError("reset by peer")), passes(PermissionError("no"))
        (True, False)
    """
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    chain = list(_chain(error))
    # Before a download looks into the cache and gives up, the client has tried again by itself.
    if any(isinstance(link, OfflineModeIsEnabled | LocalEntryNotFoundError) for link in chain):
        return False
    status = next((found for link in chain if (found := _status(link)) is not None), None)
    if status is not None:
        return status in _PASSING
    kinds = (connection_error(), ConnectionError, TimeoutError, json.JSONDecodeError)
    return any(isinstance(link, kinds) for link in chain)


def waits(error: BaseException, seconds: float) -> bool:
    """Wait before the next try, as long as the Hub asks for, else for some seconds.

    Args:
        error: Why the last try failed.
        seconds: What to wait where the Hub says nothing.

    Returns:
        False, at once, where the Hub asks for a longer wait than two minutes.

    Example:
        >>> waits(ConnectionResetError("reset by peer"), 0.0)
        True
    """
    asked = next((found for link in _chain(error) if (found := _retry_after(link)) is not None), None)
    seconds = seconds if asked is None else asked
    if seconds > _LONGEST_WAIT_SECONDS:
        return False
    logger.info("%s: trying again in %.3g s", hub_reason(error).partition(";")[0], seconds)
    time.sleep(seconds)
    return True


def persistent(ask: Callable[[], Answer]) -> Answer:
    """Call what may be called again, until it works or fails for a reason that waiting does not mend.

    Args:
        ask: A request that changes nothing, or nothing more when it is made twice.

    Raises:
        Exception: The last try's.

    Example:
        >>> persistent(lambda: "read")
        'read'
    """
    for seconds in WAITS_SECONDS:
        try:
            return ask()
        except Exception as error:
            if not passes(error) or not waits(error, seconds):
                raise
    return ask()


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    found = re.fullmatch(r"\s*(\d+)\s*", headers.get("retry-after", "")) or re.search(
        r"\br=0;\s*t=(\d+)", headers.get("ratelimit", "")
    )
    return None if found is None else float(found.group(1))


def _of_status(status: int) -> str | None:
    if status == 401:
        return "the token is refused; log in again with `hf auth login`, or mend HF_TOKEN"
    if status == 403:
        return "the token may not do this; it needs the role write and the rights of that account"
    if status == 412:
        return "somebody else changed the repository at the same time; pull their version, and push again"
    if status == 429:
        return "the Hub asks to slow down (429); wait a little and try again"
    if status >= 500:
        return f"the Hub fails at the moment ({status}); try again later"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        yield link
        link = link.__cause__ or link.__context__


def _status(error: BaseException) -> int | None:
    found = getattr(getattr(error, "response", None), "status_code", None)
    return int(found) if found is not None else None


def _first_line(error: BaseException) -> str:
    text = " ".join(without_tokens(str(error)).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"
