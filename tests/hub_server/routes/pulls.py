"""Pull requests as the client's discussions know them: open, list, look at, merge, close."""

from __future__ import annotations

from typing import Any

from hub_server.errors import HubError
from hub_server.registry import Registry
from hub_server.repository import PullRequest, Repository, timestamp
from hub_server.web import Request, route


def _summary(repository: Repository, pull: PullRequest) -> dict[str, Any]:
    return {
        "num": pull.number,
        "title": pull.title,
        "author": {"name": pull.author},
        "createdAt": timestamp(pull.created),
        "status": pull.status,
        "isPullRequest": True,
        "repo": {"name": repository.id, "type": repository.kind},
    }


def _find(registry: Registry, request: Request, kind: str, id: str, number: str) -> tuple[Repository, PullRequest]:
    repository = registry.find(kind, id, request.identity)
    if int(number) not in repository.pulls:
        raise HubError(404, f"Discussion {number} not found")
    return repository, repository.pulls[int(number)]


@route("GET", "/api/{t}/{id}/discussions")
def listed(registry: Registry, request: Request, kind: str, id: str) -> dict[str, Any]:
    repository = registry.find(kind, id, request.identity)
    pulls = [_summary(repository, pull) for pull in reversed(repository.pulls.values())]
    if request.get("type", "all") == "discussion":
        pulls = []
    if (status := request.get("status", "all")) != "all":
        pulls = [pull for pull in pulls if (pull["status"] == "open") == (status == "open")]
    if author := request.get("author"):
        pulls = [pull for pull in pulls if pull["author"]["name"] == author]
    return {"discussions": pulls, "count": len(pulls), "start": 0}


@route("POST", "/api/{t}/{id}/discussions")
def create(registry: Registry, request: Request, kind: str, id: str) -> dict[str, Any]:
    repository, asked = registry.find(kind, id, request.identity), request.json()
    account = registry.require_writer(request.identity)
    if not asked.get("pullRequest"):
        raise HubError(400, "This server has pull requests but no discussions.")
    main = repository.resolve("main")
    pull = repository.open_pull(asked["title"], asked.get("description", ""), account.name, main, main)
    return {"num": pull.number, "pullRequest": True}


@route("GET", r"/api/{t}/{id}/discussions/(?P<number>\d+)")
def details(registry: Registry, request: Request, kind: str, id: str, number: str) -> dict[str, Any]:
    repository, pull = _find(registry, request, kind, id, number)
    own = [commit for commit in pull.head.history() if commit not in set(pull.base.history())]
    events = [
        {
            "id": commit.id[:24],
            "type": "commit",
            "createdAt": timestamp(commit.date),
            "author": {"name": commit.author},
            "data": {"subject": commit.title, "oid": commit.id},
        }
        for commit in reversed(own)
    ]
    changes = {"base": "refs/heads/main", **({"mergeCommitId": pull.merged} if pull.merged else {})}
    return {**_summary(repository, pull), "events": events, "changes": changes, "filesWithConflicts": [], "diff": None}


@route("POST", r"/api/{t}/{id}/discussions/(?P<number>\d+)/merge")
def merge(registry: Registry, request: Request, kind: str, id: str, number: str) -> dict[str, Any]:
    repository, pull = _find(registry, request, kind, id, number)
    account = registry.require_write(repository.namespace, request.identity)
    return {"commitOid": repository.merge(pull.number, account.name).id}


@route("POST", r"/api/{t}/{id}/discussions/(?P<number>\d+)/status")
def change_status(registry: Registry, request: Request, kind: str, id: str, number: str) -> dict[str, Any]:
    repository, pull = _find(registry, request, kind, id, number)
    registry.require_write(repository.namespace, request.identity)
    status = request.json().get("status")
    if status not in ("open", "closed") or pull.status == "merged":
        raise HubError(400, f"A pull request that is {pull.status} cannot become {status}.")
    pull.status = status
    return {"newStatus": {"status": status}}
