"""Answers other than success, in the form the client tells them apart by: status and ``X-Error-*`` headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class HubError(Exception):
    """A refusal that becomes an HTTP answer.

    Args:
        status: HTTP status.
        message: What ``X-Error-Message`` and the JSON body say.
        code: ``X-Error-Code``, which the client turns into a typed error.
        body: JSON body; by default ``{"error": message}``.
        headers: Further headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": message} if body is None else body
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}


def repository_not_found(anonymous: bool) -> HubError:
    """Tell nobody whether a repository exists that they may not see.

    The code goes out with the 401 too: over plain HTTP the client does not map a bare 401 to a missing repository.
    """
    if anonymous:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str) -> HubError:
    return HubError(404, f"Entry not found: {path}", "EntryNotFound")


def conflict(message: str, **body: Any) -> HubError:
    return HubError(409, message, body={"error": message, **body})


def stale_parent() -> HubError:
    return HubError(412, "A commit has happened since. Please refresh and try again.")
