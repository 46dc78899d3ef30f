"""Reading: files with ranges, trees by pages, facts about paths, history."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote

from hub_server.errors import HubError, entry_not_found
from hub_server.registry import Registry
from hub_server.repository import Commit, timestamp
from hub_server.routes.large_files import signature
from hub_server.storage import Entry, tree_oid
from hub_server.web import Request, Response, route

TREE_PAGE, TREE_PAGE_EXPANDED, COMMITS_PAGE = 1000, 50, 50


@route("GET HEAD", "/{p}{id}/(?:resolve|raw)/{revision}/{path:path}")
def resolve(registry: Registry, request: Request, kind: str, id: str, revision: str, path: str) -> Response:
    repository = registry.find(kind, id, request.identity)
    registry.require_content(repository, request.identity)
    commit = repository.resolve(revision)
    entry = commit.tree.get(path)
    if entry is None:
        error = entry_not_found(path)
        # The client remembers the absence for this commit.
        error.headers["X-Repo-Commit"] = commit.id
        raise error
    if request.method == "GET":
        repository.downloads += 1
    headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
    if not entry.lfs:
        return _content(registry, request, entry, path, headers)
    # Large files lie elsewhere: another host name, so that a client that sends its token along is found out.
    elsewhere = request.endpoint.replace("127.0.0.1", "localhost")
    sign = signature(registry, entry.sha256)
    headers |= {
        "X-Linked-Etag": f'"{entry.sha256}"',
        "X-Linked-Size": str(entry.size),
        "Location": f"{elsewhere}/cdn/{kind}s/{id}/{entry.sha256}/{quote(path)}?signature={sign}",
    }
    return Response(302, b"", headers)


@route("GET HEAD", "/cdn/{t}/{id}/(?P<oid>[0-9a-f]{64})/{path:path}")
def large_content(registry: Registry, request: Request, kind: str, id: str, oid: str, path: str) -> Response:
    if not hmac.compare_digest(request.get("signature"), signature(registry, oid)):
        raise HubError(403, "The signature does not match the address.")
    size = (registry.blobs.folder / oid).stat().st_size
    return _content(registry, request, Entry(oid, size, True, oid), path, {"Accept-Ranges": "bytes"})


def _content(registry: Registry, request: Request, entry: Entry, path: str, headers: dict[str, str]) -> Response:
    """Answer with a file or the part of it that ``Range`` names."""
    name = quote(path.rpartition("/")[2])
    headers |= {
        "ETag": f'"{entry.etag}"',
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"inline; filename*=UTF-8''{name}; filename=\"{name}\";",
    }
    start, end, status = 0, entry.size, 200
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "").replace(" ", ""))
    if match and any(match.groups()):
        first, last = match.groups()
        start = int(first) if first else max(entry.size - int(last), 0)
        end = min(int(last) + 1, entry.size) if first and last else entry.size
        if start >= end:
            raise HubError(416, "Range Not Satisfiable", headers={"Content-Range": f"bytes */{entry.size}"})
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size}"
    file = registry.blobs.open(entry.sha256)
    file.seek(start)
    return Response(status, file, headers, length=end - start)


def _folders(tree: Mapping[str, Entry]) -> set[str]:
    return {path[: place.start()] for path in tree for place in re.finditer("/", path)}


def _inside(tree: Mapping[str, Entry], folder: str) -> dict[str, Entry]:
    return {path[len(folder) + 1 :]: entry for path, entry in tree.items() if path.startswith(f"{folder}/")}


def _describe(commit: Commit, path: str, expand: bool) -> dict[str, Any] | None:
    """Return what the API tells about a path, None where there is none."""
    entry = commit.tree.get(path)
    body: dict[str, Any]
    if entry is not None:
        body = {"type": "file", "path": path, "oid": entry.oid, "size": entry.size}
        if entry.lfs:
            body["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    elif inside := _inside(commit.tree, path):
        body = {"type": "directory", "path": path, "oid": tree_oid(inside), "size": 0}
    else:
        return None
    if expand:
        last = commit
        for earlier in commit.history():
            before = earlier.tree
            oid = before[path].oid if path in before else tree_oid(_inside(before, path))
            if oid != body["oid"]:
                break
            last = earlier
        body["lastCommit"] = {"id": last.id, "title": last.title, "date": timestamp(last.date)}
    return body


@route("GET", "/api/{t}/{id}/tree/{revision}(?:/(?P<path>.+))?")
def tree(registry: Registry, request: Request, kind: str, id: str, revision: str, path: str = "") -> Response:
    commit = registry.find(kind, id, request.identity).resolve(revision)
    files = commit.tree
    path = path.strip("/")
    if path and not _inside(files, path):
        raise entry_not_found(path)
    start = f"{path}/" if path else ""
    below = [it for it in {*files, *_folders(files)} if it.startswith(start)]
    if not request.flag("recursive"):
        below = [it for it in below if "/" not in it[len(start) :]]
    expand = request.flag("expand")
    entries = [_describe(commit, it, expand) for it in sorted(below)]
    return request.page(entries, TREE_PAGE_EXPANDED if expand else TREE_PAGE)


@route("POST", "/api/{t}/{id}/paths-info/{revision}")
def paths_info(registry: Registry, request: Request, kind: str, id: str, revision: str) -> list[dict[str, Any]]:
    commit = registry.find(kind, id, request.identity).resolve(revision)
    form = parse_qs(request.body.read().decode())
    expand = form.get("expand", ["false"])[-1].lower() in ("1", "true")
    entries = (_describe(commit, path.strip("/"), expand) for path in form.get("paths", []))
    return [entry for entry in entries if entry is not None]


@route("GET", "/api/{t}/{id}/commits/{revision}")
def commits(registry: Registry, request: Request, kind: str, id: str, revision: str) -> Response:
    history = registry.find(kind, id, request.identity).resolve(revision).history()
    listed = [
        {
            "id": commit.id,
            "title": commit.title,
            "message": commit.message,
            "date": timestamp(commit.date),
            "authors": [{"user": commit.author}],
        }
        for commit in history
    ]
    return request.page(listed, COMMITS_PAGE)
