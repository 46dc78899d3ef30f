"""Large file storage: the batch endpoint of git-lfs, uploads in one part or several, and verification."""

from __future__ import annotations

import hmac
import itertools
from math import ceil
from typing import Any

from hub_server.errors import HubError
from hub_server.registry import Registry
from hub_server.repository import Repository
from hub_server.web import Request, Response, route


def signature(registry: Registry, *parts: object) -> str:
    """Sign an address that is good without a token, as a bucket's are."""
    text = "\n".join(map(str, parts))
    return hmac.new(registry.secret.encode(), text.encode(), "sha256").hexdigest()[:32]


def _signed(registry: Registry, request: Request, kind: str, id: str, oid: str, size: int, part: int) -> str:
    sign = signature(registry, kind, id, oid, size, part)
    return f"{request.endpoint}/lfs/{kind}s/{id}/{oid}/{size}/{part}?signature={sign}"


@route("POST", r"/{p}{id}\.git/info/lfs/objects/batch")
def batch(registry: Registry, request: Request, kind: str, id: str) -> Response:
    repository = registry.find(kind, id, request.identity)
    # Whoever may open a pull request may upload what is in it.
    registry.require_writer(request.identity)
    asked = request.json()
    if asked.get("operation") != "upload" or asked.get("hash_algo", "sha256") != "sha256":
        raise HubError(422, "This server only takes uploads named by SHA-256.")
    multipart = "multipart" in asked.get("transfers", ["basic"])
    objects = [_instruct(registry, request, repository, it["oid"], it["size"], multipart) for it in asked["objects"]]
    transfer = "multipart" if any("chunk_size" in _header(it) for it in objects) else "basic"
    body = {"transfer": transfer, "objects": objects, "hash_algo": "sha256"}
    return Response(200, body, {"Content-Type": "application/vnd.git-lfs+json"})


def _header(instruction: dict[str, Any]) -> dict[str, str]:
    return instruction.get("actions", {}).get("upload", {}).get("header", {})


def _instruct(
    registry: Registry, request: Request, repository: Repository, oid: str, size: int, multipart: bool
) -> dict[str, Any]:
    """Tell the client where to put an object, unless this repository has it."""
    if oid in repository.large_files:
        return {"oid": oid, "size": size}
    kind, id = repository.kind, repository.id
    verify = {"href": f"{request.endpoint}/{repository.prefix}{id}.git/info/lfs/objects/verify"}
    if multipart and size > registry.multipart_size:
        count = ceil(size / registry.multipart_size)
        header = {f"{part:05d}": _signed(registry, request, kind, id, oid, size, part) for part in range(1, count + 1)}
        header["chunk_size"] = str(registry.multipart_size)
        upload = {"href": f"{request.endpoint}/{repository.prefix}{id}.git/info/lfs/objects/complete", "header": header}
        # The real completion address is good without a token, too.
        upload["href"] += f"?signature={signature(registry, kind, id, oid, size)}&size={size}"
    else:
        upload = {"href": _signed(registry, request, kind, id, oid, size, 0)}
    return {"oid": oid, "size": size, "authenticated": True, "actions": {"upload": upload, "verify": verify}}


@route("PUT", r"/lfs/{t}/{id}/(?P<oid>[0-9a-f]{64})/(?P<size>\d+)/(?P<part>\d+)")
def upload(registry: Registry, request: Request, kind: str, id: str, oid: str, size: str, part: str) -> Response:
    if not hmac.compare_digest(request.get("signature"), signature(registry, kind, id, oid, size, part)):
        raise HubError(403, "The signature does not match the address.")
    repository = registry.repositories.get((kind, id))
    if repository is None:
        raise HubError(404, "The repository is gone.")
    stored, length = registry.blobs.add(request.body.chunks())
    if part == "0":
        if (stored, length) != (oid, int(size)):
            raise HubError(400, f"{length} bytes of SHA-256 {stored} came, not {size} of {oid}")
        repository.large_files.add(oid)
    return Response(200, b"", {"ETag": f'"{stored}"'})


@route("POST", r"/{p}{id}\.git/info/lfs/objects/complete")
def complete(registry: Registry, request: Request, kind: str, id: str) -> dict[str, Any]:
    asked = request.json()
    oid, size = asked["oid"], request.get("size")
    if not hmac.compare_digest(request.get("signature"), signature(registry, kind, id, oid, size)):
        raise HubError(403, "The signature does not match the address.")
    parts = sorted(asked["parts"], key=lambda part: part["partNumber"])
    names = [part["etag"].strip('"') for part in parts]
    if [part["partNumber"] for part in parts] != list(range(1, len(parts) + 1)):
        raise HubError(400, "Parts are missing.")
    if not all((registry.blobs.folder / name).is_file() for name in names):
        raise HubError(400, "A part was never uploaded.")
    chunks = itertools.chain.from_iterable(registry.blobs.chunks(name) for name in names)
    stored, length = registry.blobs.add(chunks)
    if (stored, length) != (oid, int(size)):
        raise HubError(400, f"The parts make {length} bytes of SHA-256 {stored}, not {size} of {oid}")
    registry.repositories[kind, id].large_files.add(oid)
    return {"success": True}


@route("POST", r"/{p}{id}\.git/info/lfs/objects/verify")
def verify(registry: Registry, request: Request, kind: str, id: str) -> dict[str, Any]:
    repository = registry.find(kind, id, request.identity)
    registry.require_writer(request.identity)
    asked = request.json()
    path = registry.blobs.folder / asked["oid"]
    if asked["oid"] not in repository.large_files or path.stat().st_size != asked["size"]:
        raise HubError(404, f"No object {asked['oid']} of {asked['size']} bytes")
    return {}
