"""Accounts and repositories: who am I, create, delete, move, settings, facts about one, search over all."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hub_server import cards
from hub_server.errors import HubError, repository_not_found
from hub_server.registry import Registry, card
from hub_server.repository import Commit, Repository, timestamp
from hub_server.web import Request, Response, route

# What a search may ask for; anything else is refused, lest a test believes in a filter that does nothing.
_SEARCH = {"filter", "author", "search", "pipeline_tag", "gated", "sort", "direction", "limit", "full", "cardData"}
_SEARCH |= {"cursor", "expand", "config", "blobs"}


@route("GET", "/api/whoami-v2")
def who_am_i(registry: Registry, request: Request) -> dict[str, Any]:
    if request.identity is None:
        raise HubError(401, "Invalid username or password.")
    account, role = request.identity.account, request.identity.role
    return {
        "type": "user",
        "id": _id(account.name),
        "name": account.name,
        "fullname": account.name.title(),
        "email": f"{account.name}@localhost",
        "emailVerified": True,
        "isPro": False,
        "orgs": [{"type": "org", "id": _id(name), "name": name, "fullname": name} for name in account.organizations],
        "auth": {"type": "access_token", "accessToken": {"displayName": f"{account.name} {role}", "role": role}},
    }


@route("POST", "/api/validate-yaml")
def validate_card(registry: Registry, request: Request) -> Response:
    asked = request.json()
    errors, warnings = cards.validate(asked.get("content", ""), asked.get("repoType", "model"))
    body = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    if errors:
        return Response(400, {**body, "error": "Invalid metadata in README.md"})
    return Response(200, body)


def address(request: Request, repository: Repository) -> str:
    """Return the address of a repository's page."""
    return f"{request.endpoint}/{repository.prefix}{repository.id}"


@route("POST", "/api/repos/create")
def create(registry: Registry, request: Request) -> dict[str, Any]:
    asked = request.json()
    kind = asked.get("type") or "model"
    account = registry.require_writer(request.identity)
    namespace = asked.get("organization") or account.name
    registry.require_write(namespace, request.identity)
    # Clients before 1.0 say `private`, later ones `visibility`.
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    id = f"{namespace}/{asked.get('name')}"
    repository = registry.create(kind, id, account.name, private, asked.get("sdk"), lambda it: address(request, it))
    return {"url": address(request, repository), "name": id, "id": _id(kind + id)}


def _owned(registry: Registry, request: Request, kind: str, id: str) -> Repository:
    """Return a repository of the one who asks."""
    registry.require_writer(request.identity)
    repository = registry.find(kind, id, request.identity)
    registry.require_write(repository.namespace, request.identity)
    return repository


@route("DELETE", "/api/repos/delete")
def delete(registry: Registry, request: Request) -> dict[str, Any]:
    asked = request.json()
    kind = asked.get("type") or "model"
    namespace = asked.get("organization") or registry.require_writer(request.identity).name
    repository = _owned(registry, request, kind, f"{namespace}/{asked.get('name')}")
    with registry.lock:
        if registry.repositories.pop((kind, repository.id), None) is None:
            raise repository_not_found(False)
    return {}


@route("POST", "/api/repos/move")
def move(registry: Registry, request: Request) -> dict[str, Any]:
    asked = request.json()
    repository = _owned(registry, request, asked.get("type") or "model", asked["fromRepo"])
    registry.require_write(asked["toRepo"].partition("/")[0], request.identity)
    registry.move(repository.kind, repository.id, asked["toRepo"])
    return {}


@route("PUT", "/api/{t}/{id}/settings")
def settings(registry: Registry, request: Request, kind: str, id: str) -> dict[str, Any]:
    repository, asked = _owned(registry, request, kind, id), request.json()
    if "visibility" in asked or "private" in asked:
        repository.private = asked.get("visibility") == "private" or bool(asked.get("private"))
    if "gated" in asked:
        if asked["gated"] not in ("auto", "manual", False):
            raise HubError(400, f'"gated" must be "auto", "manual" or false, not {asked["gated"]!r}')
        repository.gated = asked["gated"]
    return {"private": repository.private, "gated": repository.gated}


@route("GET", "/api/{t}/{id}/auth-check(?P<write>/write)?")
def check_access(registry: Registry, request: Request, kind: str, id: str, write: str = "") -> dict[str, Any]:
    repository = registry.find(kind, id, request.identity)
    registry.require_content(repository, request.identity)
    if write:
        registry.require_write(repository.namespace, request.identity)
    return {}


def _id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()[:24]


def describe(registry: Registry, repository: Repository, commit: Commit, blobs: bool = False) -> dict[str, Any]:
    """Return what the API tells about a repository at a commit; with sizes and hashes of the files if asked."""
    text, data = card(registry, commit.tree)
    try:
        config = json.loads(registry.text(commit.tree, "config.json") or "{}")
    except ValueError:
        config = {}
    if repository.kind != "model" or not isinstance(config, dict):
        config = {}
    paths = set(commit.tree)
    body: dict[str, Any] = {
        "_id": _id(repository.kind + repository.id),
        "id": repository.id,
        "author": repository.namespace,
        "sha": commit.id,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": repository.downloads,
        "likes": 0,
        "tags": cards.tags(repository.kind, text, data, paths, config),
        "createdAt": timestamp(repository.created),
        "lastModified": timestamp(repository.resolve("main").date),
        "cardData": data,
        "siblings": [{"rfilename": path} for path in sorted(paths)],
    }
    if repository.kind == "model":
        body["modelId"] = repository.id
        body["config"] = {name: config[name] for name in ("architectures", "model_type") if name in config}
        facts = {"library_name": cards.library(data, paths, config), "pipeline_tag": cards.task(data, config)}
        facts["model-index"] = data.get("model-index")
        body.update({name: value for name, value in facts.items() if value is not None})
    if repository.kind == "space":
        body["sdk"] = data.get("sdk", repository.sdk)
        body["runtime"] = {"stage": "RUNNING", "hardware": {"current": "cpu-basic", "requested": "cpu-basic"}}
    if blobs:
        for sibling in body["siblings"]:
            entry = commit.tree[sibling["rfilename"]]
            sibling |= {"size": entry.size, "blobId": entry.oid}
            if entry.lfs:
                large = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
                sibling["lfs"] = large
    return body


def _expand(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Keep only what the query asks to see, where it asks."""
    wanted = {*request.query.get("expand", []), *request.query.get("expand[]", [])}
    return {name: value for name, value in body.items() if not wanted or name in wanted | {"_id", "id"}}


@route("GET", "/api/{t}/{id}(?:/revision/(?P<revision>[^/]+))?")
def info(registry: Registry, request: Request, kind: str, id: str, revision: str = "main") -> dict[str, Any]:
    repository = registry.find(kind, id, request.identity)
    return _expand(request, describe(registry, repository, repository.resolve(revision), request.flag("blobs")))


@route("GET", "/api/{t}")
def search(registry: Registry, request: Request, kind: str) -> Response:
    if unknown := sorted(request.query.keys() - _SEARCH):
        raise HubError(400, f"This server does not search by {', '.join(unknown)}")
    with registry.lock:
        repositories = [it for (of, _), it in registry.repositories.items() if of == kind]
    found = []
    for repository in repositories:
        if registry.readable(repository, request.identity):
            body = describe(registry, repository, repository.resolve("main"))
            if _matches(request, body):
                found.append(body)
    order = request.get("sort", "createdAt")
    if order not in ("createdAt", "lastModified", "downloads", "likes", "trendingScore"):
        raise HubError(400, f"Invalid sort parameter: {order}")
    found.sort(key=lambda body: body.get(order, 0), reverse=request.get("direction", "-1") == "-1")
    if limit := request.get("limit"):
        found = found[: int(limit)]
    if not (request.query.get("expand") or request.flag("full")):
        dropped = {"siblings", "lastModified", "sha"} | (set() if request.flag("cardData") else {"cardData"})
        found = [{name: value for name, value in body.items() if name not in dropped} for body in found]
    request.query.pop("limit", None)
    return request.page([_expand(request, body) for body in found], 1000)


def _matches(request: Request, body: dict[str, Any]) -> bool:
    """Tell whether a repository meets every condition of the query."""
    gated = request.get("gated")
    return (
        all(tag in body["tags"] for tag in request.query.get("filter", []))
        and request.get("author", body["author"]) == body["author"]
        and request.get("search").lower() in body["id"].lower()
        and request.get("pipeline_tag", body.get("pipeline_tag", "")) == body.get("pipeline_tag", "")
        and (not gated or (gated.lower() == "true") == bool(body["gated"]))
    )
