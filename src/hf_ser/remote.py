"""Why the Hub did not do what was asked, in one line that says the way out and never holds a token."""

import re
from collections.abc import Iterator

__all__ = ["connection_error", "hub_reason", "without_tokens"]

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
    if met(connection_error(), ConnectionError, TimeoutError):
        return f"the connection to the Hub broke ({_first_line(error)}); try again"
    return _first_line(error)


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
