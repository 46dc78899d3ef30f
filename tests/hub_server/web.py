"""HTTP: from the bytes of a request to the function that answers it, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import unquote, urlencode

from hub_server.errors import HubError
from hub_server.registry import Identity, Registry
from hub_server.storage import BLOCK


class Body:
    """The body of a request, read once, whether its length was announced or it comes in chunks."""

    def __init__(self, stream: BinaryIO, length: int, chunked: bool) -> None:
        self._stream, self._left, self._chunked = stream, length, chunked

    def chunks(self) -> Iterator[bytes]:
        """Yield what is left, in blocks of at most one MiB.

        Raises:
            ConnectionError: If the client goes away before the end.
        """
        while True:
            if self._chunked and self._left == 0:
                self._left = int(self._stream.readline().split(b";")[0] or b"0", 16)
                if self._left == 0:
                    while self._stream.readline().strip():
                        pass
                    self._chunked = False
            if self._left == 0:
                return
            block = self._stream.read(min(BLOCK, self._left))
            if not block:
                raise ConnectionError("the client closed the connection inside the body of its request")
            self._left -= len(block)
            if self._chunked and self._left == 0:
                self._stream.readline()
            yield block

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def discard(self, limit: int | None = None) -> None:
        """Read to the end, or until so many bytes have come."""
        read = 0
        for block in self.chunks():
            read += len(block)
            if limit is not None and read >= limit:
                return


@dataclass
class Request:
    """A request as the functions that answer it see it.

    Attributes:
        method: HTTP method.
        target: Path and query as sent.
        path: Path as sent, still quoted.
        query: Values of each query parameter.
        headers: Header fields by lower-case name.
        body: The body, unread.
        endpoint: Address of this server, ``http://host:port``.
        identity: Who asks, None for nobody.
    """

    method: str
    target: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Body
    endpoint: str
    identity: Identity | None = None

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            HubError: 400 if it is none.
        """
        try:
            value = json.loads(self.body.read() or b"{}")
        except ValueError as error:
            raise HubError(400, f"The body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise HubError(400, "The body is not a JSON object.")
        return value

    def get(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        return self.get(name).lower() in ("1", "true")

    def page(self, items: list[Any], size: int) -> Response:
        """Answer with one page of a list and, in ``Link``, the address of the next."""
        start = int(self.get("cursor", "0"))
        limit = min(int(self.get("limit", str(size))), size)
        headers = {}
        if start + limit < len(items):
            query = urlencode({**self.query, "cursor": [str(start + limit)]}, doseq=True)
            headers["Link"] = f'<{self.endpoint}{self.path}?{query}>; rel="next"'
        return Response(200, items[start : start + limit], headers)


@dataclass
class Response:
    """An answer: a JSON value, bytes, or ``length`` bytes of a file."""

    status: int = 200
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None

    def prepare(self) -> tuple[int, Iterable[bytes]]:
        """Return the length of the body in bytes and its blocks."""
        if self.length is not None:
            return self.length, self._blocks(self.content, self.length)
        if isinstance(self.content, bytes):
            body = self.content
        else:
            body = json.dumps(self.content).encode()
            self.headers.setdefault("Content-Type", "application/json; charset=utf-8")
        return len(body), [body]

    @staticmethod
    def _blocks(file: BinaryIO, left: int) -> Iterator[bytes]:
        with file:
            while left > 0 and (block := file.read(min(BLOCK, left))):
                left -= len(block)
                yield block


Endpoint = Callable[..., Any]
ROUTES: list[tuple[str, re.Pattern[str], Endpoint]] = []


def route(methods: str, pattern: str) -> Callable[[Endpoint], Endpoint]:
    """Register the function that answers some methods on the paths of a pattern.

    ``{t}`` stands for the kind in the API, ``{p}`` for the kind before the id in addresses outside it, ``{id}`` for a
    repository's id, ``{name}`` for one segment, ``{name:path}`` for the rest. The segments reach the function unquoted.
    """
    pattern = pattern.replace("{t}", "(?P<kind>models|datasets|spaces)").replace(
        "{p}", "(?:(?P<kind>datasets|spaces)/)?"
    )
    pattern = pattern.replace("{id}", "(?P<id>[^/]+(?:/[^/]+)??)")
    pattern = re.sub(r"\{([a-z]+):path\}", r"(?P<\1>.+)", pattern)
    expression = re.compile(re.sub(r"\{([a-z]+)\}", r"(?P<\1>[^/]+)", pattern))

    def register(function: Endpoint) -> Endpoint:
        ROUTES.extend((method, expression, function) for method in methods.split())
        return function

    return register


def dispatch(registry: Registry, request: Request) -> Response:
    """Find the function for a request and turn what it returns or raises into an answer."""
    try:
        for method, expression, function in ROUTES:
            if method == request.method and (match := expression.fullmatch(request.path)):
                arguments = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
                if "kind" in expression.groupindex:
                    arguments["kind"] = arguments.get("kind", "models").removesuffix("s")
                request.identity = registry.identify(request.headers.get("authorization"))
                answer = function(registry, request, **arguments)
                return answer if isinstance(answer, Response) else Response(200, answer)
        raise HubError(404, f"No such endpoint: {request.method} {request.path}")
    except HubError as error:
        headers = dict(error.headers)
        if moved := headers.pop("X-Moved-To", None):
            headers["Location"] = request.target.replace(arguments["id"], moved, 1)
        return Response(error.status, error.body, headers)
