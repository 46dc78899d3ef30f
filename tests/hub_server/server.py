"""The HTTP server: connections, faults, the record of every request, and the dispatch to the endpoints."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_server.state import Identity, Refusal, Registry

KINDS = ("drop", "truncate", "lost_answer", "slow", "conflict")


@dataclass(eq=False)
class Fault:
    """A fault that a test switches on, active until its count is used up or its `with` block ends.

    Attributes:
        kind: An HTTP status to answer with instead of processing the request, or one of
            `drop`: the connection is closed, the request is not processed;
            `truncate`: the request is processed, the connection is closed in the middle of the answer;
            `lost_answer`: the request is processed, the connection is closed before the answer;
            `slow`: the request is processed after a delay;
            `conflict`: a commit of bob is added to the branch just before the request is processed.
        method: Pattern of the HTTP method, as in `fnmatch`.
        path: Pattern of the unquoted path without query; `*` also matches slashes.
        count: Number of requests to apply to; None for all.
        retry_after: `Retry-After` in seconds of an HTTP status.
        seconds: Delay of `slow`.
        files: Files of bob's commit, path to text.
        hits: `METHOD path` of each request that the fault was applied to.
    """

    kind: int | str
    method: str = "*"
    path: str = "*"
    count: int | None = 1
    retry_after: int | None = None
    seconds: float = 1.0
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    hits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not isinstance(self.kind, int) and self.kind not in KINDS:
            raise ValueError(f"fault {self.kind!r}: give an HTTP status or one of {', '.join(KINDS)}")
        self._on = True

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *error: object) -> None:
        self._on = False

    def applies(self, method: str, path: str) -> bool:
        """Decide whether to apply to a request, and record it if so."""
        left = self._on and (self.count is None or len(self.hits) < self.count)
        if left and fnmatchcase(method, self.method) and fnmatchcase(path, self.path):
            self.hits.append(f"{method} {path}")
            return True
        return False


@dataclass
class Request:
    """A request as the endpoints see it: header names are in lower case, `path` is still quoted."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    endpoint: str
    identity: Identity | None = None

    def json(self) -> dict[str, Any]:
        return json.loads(self.body or b"{}")

    def get(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[-1]


@dataclass
class Response:
    """An answer; content that is not bytes is sent as JSON."""

    status: int = 200
    content: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


# A request that the server received; the path is unquoted.
Record = namedtuple("Record", ["method", "path"])
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Any]]] = []


def route(methods: str, pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the function that answers some methods on the paths of a pattern.

    `{t}` is the kind in the API, `{p}` the kind before the id in other addresses, `{id}` a repository id, `{name}` one
    segment, `{name:path}` the rest of the path. The function gets them unquoted, and the repository instead of its id.
    """
    for name, expression in {
        "{t}": "(?P<kind>models|datasets|spaces)",
        "{p}": "(?:(?P<kind>datasets|spaces)/)?",
        "{id}": "(?P<id>[^/]+/[^/]+?)",
    }.items():
        pattern = pattern.replace(name, expression)
    pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>.+)", pattern)
    expression = re.compile(re.sub(r"\{([a-z]\w*)\}", r"(?P<\1>[^/]+)", pattern))

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        ROUTES.extend((method, expression, function) for method in methods.split())
        return function

    return register


def dispatch(registry: Registry, request: Request) -> Response:
    """Call the endpoint of a request, and turn its result or its refusal into an answer."""
    try:
        for method, expression, function in ROUTES:
            if method == request.method and (match := expression.fullmatch(request.path)):
                found = {name: text for name, text in match.groupdict().items() if text is not None}
                arguments: dict[str, Any] = {name: unquote(text) for name, text in found.items()}
                request.identity = registry.identify(request.headers.get("authorization"))
                if request.identity and request.path.startswith(("/cdn/", "/lfs/")):
                    raise Refusal(400, "The storage of large files takes no token.")
                with registry.lock:
                    if "kind" in expression.groupindex:
                        arguments["kind"] = arguments.get("kind", "models").removesuffix("s")
                    if "id" in arguments:
                        repository = registry.find(arguments.pop("kind"), arguments.pop("id"), request.identity)
                        arguments["repository"] = repository
                    answer = function(registry, request, **arguments)
                return answer if isinstance(answer, Response) else Response(200, answer)
        raise Refusal(404, f"No such endpoint: {request.method} {request.path}")
    except Refusal as refusal:
        return Response(refusal.status, refusal.body, refusal.headers)


class Server(ThreadingHTTPServer):
    """Serves a registry on a free port of 127.0.0.1; `collide` makes the other user's commit of a conflict."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, registry: Registry, collide: Callable[[str, Fault], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.registry, self.collide = registry, collide
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.records: list[Record] = []
        self.failures: list[BaseException] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a client that closes its connection is not a failure, and the handler keeps real ones."""


class Handler(BaseHTTPRequestHandler):
    """One connection, kept open over many requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Server

    def _serve(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(url.query, keep_blank_values=True)
        body = self._read_body(headers)
        request = Request(self.command, url.path, query, headers, body, self.server.endpoint)
        path = unquote(url.path)
        with self.server.lock:
            fault = next((it for it in list(self.server.faults) if it.applies(self.command, path)), None)
        self.server.records.append(Record(self.command, path))
        response = self._answer(request, fault)
        with contextlib.suppress(OSError):
            if response is not None:
                self._send(response, truncated=fault is not None and fault.kind == "truncate")
            else:
                self._close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(headers.get("content-length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, request: Request, fault: Fault | None) -> Response | None:
        """Process a request as its fault says; None means that no answer is sent."""
        kind = fault.kind if fault else None
        if fault is not None and isinstance(kind, int):
            wait = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return Response(kind, {"error": f"fault {kind}"}, wait)
        if kind == "drop":
            return None
        try:
            if fault is not None and kind == "slow":
                time.sleep(fault.seconds)
            if fault is not None and kind == "conflict":
                self.server.collide(request.path, fault)
            response = dispatch(self.server.registry, request)
        except Exception as error:
            # An error of this server, not of the code under test: the fixture reports it.
            self.server.failures.append(error)
            response = Response(500, {"error": f"{type(error).__name__}: {error}"})
        return None if kind == "lost_answer" else response

    def _send(self, response: Response, truncated: bool) -> None:
        content = response.content if isinstance(response.content, bytes) else json.dumps(response.content).encode()
        self.send_response(response.status)
        for name, value in {"Content-Type": "application/json", **response.headers}.items():
            # A header is one line of Latin-1, which a message need not be.
            self.send_header(name, " ".join(value.split()).encode("latin-1", "replace").decode("latin-1"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if truncated else content)
            if truncated:
                self._close()

    def _close(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; `Server.records` has every request."""
