"""Names of commits: branches, tags and the squashing of a branch."""

from __future__ import annotations

from typing import Any

from hub_server.errors import HubError, conflict, revision_not_found
from hub_server.registry import Registry
from hub_server.repository import Repository
from hub_server.web import Request, route


def _own(registry: Registry, request: Request, kind: str, id: str) -> Repository:
    repository = registry.find(kind, id, request.identity)
    registry.require_write(repository.namespace, request.identity)
    return repository


@route("GET", "/api/{t}/{id}/refs")
def refs(registry: Registry, request: Request, kind: str, id: str) -> dict[str, Any]:
    repository = registry.find(kind, id, request.identity)

    def listed(names: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": oid} for name, oid in names.items()]

    body: dict[str, Any] = {
        "branches": listed(repository.branches, "heads"),
        "tags": listed(repository.tags, "tags"),
        "converts": [],
    }
    if request.flag("include_prs"):
        body["pullRequests"] = [
            {"name": str(pull.number), "ref": pull.ref, "targetCommit": pull.head.id}
            for pull in repository.pulls.values()
        ]
    return body


@route("POST", "/api/{t}/{id}/branch/{name}")
def create_branch(registry: Registry, request: Request, kind: str, id: str, name: str) -> dict[str, Any]:
    repository = _own(registry, request, kind, id)
    with repository.lock:
        if name in repository.branches:
            raise conflict(f"Reference already exists: refs/heads/{name}")
        repository.branches[name] = repository.resolve(request.json().get("startingPoint") or "main").id
    return {}


@route("DELETE", "/api/{t}/{id}/branch/{name}")
def delete_branch(registry: Registry, request: Request, kind: str, id: str, name: str) -> dict[str, Any]:
    repository = _own(registry, request, kind, id)
    if name == "main":
        raise HubError(403, "The branch main cannot be deleted.")
    with repository.lock:
        if repository.branches.pop(name, None) is None:
            raise revision_not_found(name)
    return {}


@route("POST", "/api/{t}/{id}/tag/{revision}")
def create_tag(registry: Registry, request: Request, kind: str, id: str, revision: str) -> dict[str, Any]:
    repository, asked = _own(registry, request, kind, id), request.json()
    with repository.lock:
        if asked["tag"] in repository.tags:
            raise conflict(f"Tag reference exists already: {asked['tag']}")
        repository.tags[asked["tag"]] = repository.resolve(revision).id
    return {}


@route("DELETE", "/api/{t}/{id}/tag/{name}")
def delete_tag(registry: Registry, request: Request, kind: str, id: str, name: str) -> dict[str, Any]:
    repository = _own(registry, request, kind, id)
    with repository.lock:
        if repository.tags.pop(name, None) is None:
            raise revision_not_found(name)
    return {}


@route("POST", "/api/{t}/{id}/super-squash/{name}")
def squash(registry: Registry, request: Request, kind: str, id: str, name: str) -> dict[str, Any]:
    repository = _own(registry, request, kind, id)
    account = registry.require_writer(request.identity)
    commit = repository.squash(name, request.json().get("message") or "Super-squash", account.name)
    return {"commitOid": commit.id}
