"""The endpoints; importing this module registers them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs

from hub_server import cards
from hub_server.server import Request, Response, route
from hub_server.state import Commit, Entry, Refusal, Registry, Repository, is_large

# --- accounts and repositories ---


@route("GET", "/api/whoami-v2")
def who_am_i(registry: Registry, request: Request) -> dict[str, Any]:
    who = request.identity
    if who is None:
        raise Refusal(401, "Invalid username or password.")
    organizations = [{"type": "org", "name": name, "fullname": name} for name in who.organizations]
    token = {"type": "access_token", "accessToken": {"displayName": f"{who.name} {who.role}", "role": who.role}}
    return {"type": "user", "name": who.name, "fullname": who.name, "orgs": organizations, "auth": token}


@route("POST", "/api/validate-yaml")
def validate_card(registry: Registry, request: Request) -> Response:
    asked = request.json()
    errors, warnings = cards.validate(asked["content"], asked.get("repoType", "model"))
    found = {"errors": [{"message": it} for it in errors], "warnings": [{"message": it} for it in warnings]}
    return Response(400, {**found, "error": "Invalid metadata in README.md"}) if errors else Response(200, found)


@route("POST", "/api/repos/create")
def create(registry: Registry, request: Request) -> dict[str, Any]:
    asked = request.json()
    namespace = asked.get("organization") or registry.writer(request.identity)
    registry.writer(request.identity, namespace)
    id, private = f"{namespace}/{asked['name']}", asked.get("visibility") == "private"
    repository = registry.create(asked.get("type") or "model", id, private, request.endpoint)
    return {"url": request.endpoint + repository.page, "name": repository.id}


@route("PUT", "/api/{t}/{id}/settings")
def settings(registry: Registry, request: Request, repository: Repository) -> dict[str, Any]:
    registry.writer(request.identity, repository.namespace)
    repository.gated = request.json()["gated"]
    return {}


@route("GET", "/api/{t}/{id}/auth-check")
def check_access(registry: Registry, request: Request, repository: Repository) -> dict[str, Any]:
    registry.require_content(repository, request.identity)
    return {}


def _text(tree: Mapping[str, Entry], path: str) -> str:
    return tree[path].content.decode("utf-8", "replace") if path in tree else ""


def _info(repository: Repository, commit: Commit) -> dict[str, Any]:
    try:
        data = cards.front_matter(_text(commit.tree, "README.md")) or {}
    except ValueError:
        data = {}
    return {
        "_id": hashlib.sha1(repository.page.encode()).hexdigest()[:24],
        "id": repository.id,
        "author": repository.namespace,
        "sha": commit.id,
        "private": repository.private,
        "gated": repository.gated,
        "createdAt": next(iter(repository.commits.values())).date,
        "lastModified": repository.resolve("main").date,
        "siblings": [
            {"rfilename": path, "blobId": entry.sha1, **entry.facts} for path, entry in sorted(commit.tree.items())
        ],
        "tags": data.get("tags", []),
        "cardData": data,
    }


@route("GET", "/api/{t}/{id}(?:/revision/(?P<revision>[^/]+))?")
def info(registry: Registry, request: Request, repository: Repository, revision: str = "main") -> dict[str, Any]:
    return _info(repository, repository.resolve(revision))


# --- branches, tags, history ---


@route("GET", "/api/{t}/{id}/refs")
def refs(registry: Registry, request: Request, repository: Repository) -> dict[str, Any]:
    def listed(names: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"{folder}{name}", "targetCommit": oid} for name, oid in names.items()]

    answer = {"branches": listed(repository.branches, "refs/heads/"), "tags": listed(repository.tags, "refs/tags/")}
    return {**answer, "converts": [], "pullRequests": listed(repository.pulls, "")}


@route("POST", "/api/{t}/{id}/branch/{name}")
def create_branch(registry: Registry, request: Request, repository: Repository, name: str) -> dict[str, Any]:
    registry.writer(request.identity, repository.namespace)
    if name in repository.branches:
        raise Refusal(409, f"Reference already exists: {name}")
    repository.branches[name] = repository.resolve(request.json().get("startingPoint") or "main").id
    return {}


@route("GET", "/api/{t}/{id}/commits/{revision}")
def history(registry: Registry, request: Request, repository: Repository, revision: str) -> list[dict[str, Any]]:
    newest = repository.resolve(revision)
    return [
        {"id": it.id, "title": it.title, "message": "", "date": it.date, "authors": [{"user": it.author}]}
        for it in (newest, *newest.before)
    ]


# --- reading files ---


@route("GET HEAD", "/{p}{id}/resolve/{revision}/{path:path}")
def resolve(registry: Registry, request: Request, repository: Repository, revision: str, path: str) -> Response:
    registry.require_content(repository, request.identity)
    commit = repository.resolve(revision)
    if path not in commit.tree:
        refusal = Refusal(404, f"Entry not found: {path}", "EntryNotFound")
        # The client remembers for this commit that the file is missing.
        refusal.headers["X-Repo-Commit"] = commit.id
        raise refusal
    entry = commit.tree[path]
    headers = {"X-Repo-Commit": commit.id}
    if not entry.lfs:
        return _content(request, entry.content, entry.etag, headers)
    headers |= {
        "X-Linked-Etag": f'"{entry.sha256}"',
        "X-Linked-Size": str(len(entry.content)),
        # Another host name, as on the Hub: the client must not send its token there.
        "Location": f"{request.endpoint.replace('127.0.0.1', 'localhost')}/cdn{repository.page}/{entry.sha256}",
    }
    return Response(302, b"", headers)


@route("GET HEAD", "/cdn(?P<address>/.+)")
def large_content(registry: Registry, request: Request, address: str) -> Response:
    return _content(request, registry.storage[address], address.rpartition("/")[2], {})


def _content(request: Request, content: bytes, etag: str, headers: dict[str, str]) -> Response:
    """Answer with a file or the part of it that `Range` names."""
    headers |= {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if match is None:
        return Response(200, content, headers)
    start, last = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
    headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
    return Response(206, content[start : last + 1], headers)


def _listed(commit: Commit, path: str) -> dict[str, Any] | None:
    """Return what the API says about a path, None if there is nothing."""
    if entry := commit.tree.get(path):
        return {"type": "file", "path": path, "oid": entry.sha1, **entry.facts}
    if any(name.startswith(f"{path}/") for name in commit.tree):
        return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}
    return None


@route("GET", "/api/{t}/{id}/tree/{revision}(?:/(?P<path>.+))?")
def tree(registry: Registry, request: Request, repository: Repository, revision: str, path: str = "") -> list[Any]:
    commit = repository.resolve(revision)
    start = f"{path.strip('/')}/" if path else ""
    folders = {name[: place.start()] for name in commit.tree for place in re.finditer("/", name)}
    below = [name for name in (*commit.tree, *folders) if name.startswith(start) and name != start]
    if path and not below:
        raise Refusal(404, f"Entry not found: {path}", "EntryNotFound")
    if request.get("recursive").lower() != "true":
        below = [name for name in below if "/" not in name[len(start) :]]
    return [_listed(commit, name) for name in sorted(below)]


@route("POST", "/api/{t}/{id}/paths-info/{revision}")
def paths_info(registry: Registry, request: Request, repository: Repository, revision: str) -> list[Any]:
    commit = repository.resolve(revision)
    found = [_listed(commit, path.strip("/")) for path in parse_qs(request.body.decode()).get("paths", [])]
    return [entry for entry in found if entry is not None]


# --- uploads and commits ---


@route("POST", "/api/{t}/{id}/preupload/{revision}")
def preupload(registry: Registry, request: Request, repository: Repository, revision: str) -> dict[str, Any]:
    registry.writer(request.identity, None if request.get("create_pr") else repository.namespace)
    commit = repository.resolve(revision)
    asked, files = request.json(), []
    ignored = asked.get("gitIgnore", _text(commit.tree, ".gitignore")).split()
    for file in asked["files"]:
        path, sample = file["path"], base64.b64decode(file.get("sample", ""))
        answer = {
            "path": path,
            "uploadMode": "lfs" if is_large(path, file["size"], sample) else "regular",
            "shouldIgnore": any(fnmatchcase(path, pattern) for pattern in ignored),
        }
        files.append(answer | ({"oid": commit.tree[path].etag} if path in commit.tree else {}))
    return {"files": files, "commitOid": commit.id}


@route("POST", r"/{p}{id}\.git/info/lfs/objects/batch")
def batch(registry: Registry, request: Request, repository: Repository) -> dict[str, Any]:
    registry.writer(request.identity)
    objects = []
    for asked in request.json()["objects"]:
        answer = {"oid": asked["oid"], "size": asked["size"]}
        if f"{repository.page}/{asked['oid']}" not in registry.storage:
            upload = {"href": f"{request.endpoint}/lfs{repository.page}/{asked['oid']}"}
            verify = {"href": f"{request.endpoint}{repository.page}.git/info/lfs/objects/verify"}
            answer["actions"] = {"upload": upload, "verify": verify}
        objects.append(answer)
    return {"transfer": "basic", "objects": objects, "hash_algo": "sha256"}


@route("PUT", "/lfs(?P<address>/.+)")
def upload(registry: Registry, request: Request, address: str) -> dict[str, Any]:
    if hashlib.sha256(request.body).hexdigest() != address.rpartition("/")[2]:
        raise Refusal(400, f"The content is not the one of {address}")
    registry.storage[address] = request.body
    return {}


@route("POST", r"/{p}{id}\.git/info/lfs/objects/verify")
def verify(registry: Registry, request: Request, repository: Repository) -> dict[str, Any]:
    registry.stored(repository, request.json()["oid"])
    return {}


@route("POST", "/api/{t}/{id}/commit/{revision}")
def commit(registry: Registry, request: Request, repository: Repository, revision: str) -> dict[str, Any]:
    create_pr = bool(request.get("create_pr"))
    # Anyone with a write token may open a pull request.
    author = registry.writer(request.identity, None if create_pr else repository.namespace)
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")

    def apply(tree: dict[str, Entry], key: str, value: dict[str, Any]) -> None:
        path = value.get("path", "")
        if key == "file":
            tree[path] = registry.entry(repository, base64.b64decode(value["content"]), lfs=False)
        elif key == "lfsFile":
            tree[path] = registry.entry(repository, registry.stored(repository, value["oid"]), lfs=True)
        elif key in ("deletedFile", "deletedFolder"):
            inside = [name for name in tree if name == path or name.startswith(path.rstrip("/") + "/")]
            if not inside:
                raise Refusal(404, f"Entry not found: {path}", "EntryNotFound")
            for name in inside:
                del tree[name]
        elif key != "header":
            raise Refusal(400, f"Unknown operation: {key}")

    def change(tree: dict[str, Entry]) -> None:
        for line in lines:
            apply(tree, line["key"], line["value"])
        if errors := cards.validate(_text(tree, "README.md"), repository.kind)[0]:
            raise Refusal(400, f"Invalid metadata in README.md: {'; '.join(errors)}")

    made = repository.commit(revision, change, header["summary"], author, header.get("parentCommit"), create_pr)
    page = request.endpoint + repository.page
    pull = {"pullRequestUrl": f"{page}/discussions/{len(repository.pulls)}"} if create_pr else {}
    return {"success": True, "commitOid": made.id, "commitUrl": f"{page}/commit/{made.id}", "hookOutput": "", **pull}
