"""Changes: which way each file goes, and the commit itself."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from hub_server import cards
from hub_server.errors import HubError, entry_not_found
from hub_server.registry import Registry, is_ignored, is_large
from hub_server.repository import Repository
from hub_server.storage import Entry
from hub_server.web import Request, route

MAX_PREUPLOAD = 256


def _writer(registry: Registry, request: Request, repository: Repository) -> str:
    """Return who may commit: an owner; to a new pull request, anybody with a write token."""
    if request.flag("create_pr"):
        return registry.require_writer(request.identity).name
    return registry.require_write(repository.namespace, request.identity).name


@route("POST", "/api/{t}/{id}/preupload/{revision}")
def preupload(registry: Registry, request: Request, kind: str, id: str, revision: str) -> dict[str, Any]:
    repository = registry.find(kind, id, request.identity)
    _writer(registry, request, repository)
    commit, asked = repository.resolve(revision), request.json()
    if len(asked["files"]) > MAX_PREUPLOAD:
        raise HubError(413, f"At most {MAX_PREUPLOAD} files in one call")
    attributes = registry.text(commit.tree, ".gitattributes")
    gitignore = asked.get("gitIgnore")
    if gitignore is None:
        gitignore = registry.text(commit.tree, ".gitignore")
    files = []
    for file in asked["files"]:
        path, sample = file["path"], base64.b64decode(file.get("sample", ""))
        entry = commit.tree.get(path)
        files.append(
            {
                "path": path,
                "uploadMode": "lfs" if is_large(path, file["size"], sample, attributes) else "regular",
                "shouldIgnore": is_ignored(path, gitignore),
                **({"oid": entry.etag} if entry else {}),
            }
        )
    return {"files": files, "commitOid": commit.id}


@route("POST", "/api/{t}/{id}/commit/{revision}")
def commit(registry: Registry, request: Request, kind: str, id: str, revision: str) -> dict[str, Any]:
    repository = registry.find(kind, id, request.identity)
    author = _writer(registry, request, repository)
    try:
        lines = [json.loads(line) for line in request.body.read().splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        operations = [(line["key"], line["value"]) for line in lines if line["key"] != "header"]
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise HubError(400, f"The commit does not parse: {error!r}") from error
    if not header.get("summary"):
        raise HubError(400, "A commit needs a summary.")
    # Contents are stored before the repository is locked: unreferenced ones harm nobody.
    contents = {index: _decode(value) for index, (key, value) in enumerate(operations) if key == "file"}

    def change(tree: dict[str, Entry]) -> None:
        for index, (key, value) in enumerate(operations):
            _apply(registry, repository, tree, key, value, contents.get(index))
        _check(registry, repository, tree)

    text = (header["summary"], header.get("description") or "")
    parent = header.get("parentCommit")
    page = f"{request.endpoint}/{repository.prefix}{repository.id}"
    if request.flag("create_pr"):
        pull, made = repository.propose(revision, change, *text, author, parent)
        return _report(page, made.id) | {"pullRequestUrl": f"{page}/discussions/{pull.number}"}
    return _report(page, repository.commit(revision, change, *text, author, parent).id)


def _report(page: str, oid: str) -> dict[str, Any]:
    return {"success": True, "commitOid": oid, "commitUrl": f"{page}/commit/{oid}", "hookOutput": ""}


def _decode(value: dict[str, Any]) -> bytes:
    """Return the content of a file that came inside the commit."""
    if value.get("encoding", "utf-8") != "base64":
        return str(value.get("content", "")).encode()
    try:
        return base64.b64decode(value["content"], validate=True)
    except (KeyError, binascii.Error) as error:
        raise HubError(400, f"{value.get('path')}: the content is not base64: {error}") from error


def _apply(
    registry: Registry,
    repository: Repository,
    tree: dict[str, Entry],
    key: str,
    value: dict[str, Any],
    content: bytes | None,
) -> None:
    """Carry out one line of a commit on the tree."""
    path = value.get("path", "")
    if key == "deletedFolder":
        inside = [name for name in tree if name.startswith(path.rstrip("/") + "/")]
        if not inside:
            raise entry_not_found(f"{path}. A folder with this name doesn't exist")
        for name in inside:
            del tree[name]
        return
    if not path or any(part in ("", ".", "..", ".git") for part in path.split("/")):
        raise HubError(400, f"Invalid path: {path!r}")
    if key == "deletedFile":
        if path not in tree:
            raise entry_not_found(f"{path}. A file with this name doesn't exist")
        del tree[path]
    elif key == "file" and content is not None:
        sha256, size = registry.blobs.add([content])
        tree[path] = registry.blobs.entry(sha256, size, lfs=False)
    elif key == "lfsFile":
        oid = value.get("oid", "")
        if oid not in repository.large_files:
            raise HubError(
                400, f"Your push was rejected because an LFS pointer pointed to a file that does not exist. {path}"
            )
        size = (registry.blobs.folder / oid).stat().st_size
        # A copy within the repository names no size.
        if value.get("size", size) != size:
            raise HubError(400, f"{path}: {size} bytes are stored, not {value['size']}")
        tree[path] = registry.blobs.entry(oid, size, lfs=True)
    else:
        raise HubError(400, f"Unknown operation: {key}")


def _check(registry: Registry, repository: Repository, tree: dict[str, Entry]) -> None:
    """Refuse a tree that git or the Hub would refuse."""
    for path in tree:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in tree:
                raise HubError(400, f"{'/'.join(parts[:depth])} is a file and cannot hold {path}")
    if "README.md" in tree:
        errors, _ = cards.validate(registry.text(tree, "README.md"), repository.kind)
        if errors:
            listed = "; ".join(errors)
            body = {"error": f"Invalid metadata in README.md: {listed}", "errors": [{"message": it} for it in errors]}
            raise HubError(400, f"Invalid metadata in README.md: {listed}", body=body)
