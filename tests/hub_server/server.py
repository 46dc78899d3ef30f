"""The server: connections, the faults they meet, and the record of every request."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_server.faults import Fault, Faults
from hub_server.registry import Registry
from hub_server.web import Body, Request, Response, dispatch


@dataclass(frozen=True)
class Record:
    """One request the server saw.

    Attributes:
        method: HTTP method.
        path: Path, unquoted.
        query: The query as sent.
        status: Status of the answer, 0 where none was sent.
        user: Account that asked, None for nobody.
        authorized: Whether the request carried a token.
        range: The ``Range`` header.
        fault: The fault it met.
    """

    method: str
    path: str
    query: str
    status: int
    user: str | None
    authorized: bool
    range: str | None
    fault: int | str | None


class Server(ThreadingHTTPServer):
    """Serves a registry on a free port of 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, registry: Registry, faults: Faults, collide: Callable[[str, Fault], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.registry, self.faults, self.collide = registry, faults, collide
        self.records: list[Record] = []
        self.failures: list[BaseException] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client that goes away is no failure, and real ones are kept by the handler."""


class Handler(BaseHTTPRequestHandler):
    """One connection, kept alive over many requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Server

    def _serve(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        body = Body(self.rfile, 0 if chunked else int(headers.get("content-length", 0)), chunked)
        query = parse_qs(url.query, keep_blank_values=True)
        request = Request(self.command, self.path, url.path, query, headers, body, self.server.endpoint)
        fault = self.server.faults.strike(self.command, unquote(url.path))
        try:
            response = self._answer(request, fault)
            if response is not None:
                body.discard()
        except ConnectionError:
            # The client went away inside its own request.
            response = None
            self.close_connection = True
        user = request.identity.account.name if request.identity else None
        self.server.records.append(
            Record(
                method=self.command,
                path=unquote(url.path),
                query=url.query,
                status=response.status if response else 0,
                user=user,
                authorized="authorization" in headers,
                range=headers.get("range"),
                fault=fault.kind if fault else None,
            )
        )
        if response is not None:
            with contextlib.suppress(OSError):
                self._send(response, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    def _answer(self, request: Request, fault: Fault | None) -> Response | None:
        """Do what the request asks, unless the fault forbids; None means that no answer goes out."""
        kind = fault.kind if fault else None
        if fault is not None and kind == "drop":
            request.body.discard(fault.after_bytes)
            self._hang_up()
            return None
        if fault is not None and isinstance(kind, int):
            request.body.discard()
            wait = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return Response(kind, {"error": f"fault {kind}"}, wait)
        if fault is not None and kind == "slow":
            time.sleep(fault.seconds)
        try:
            if fault is not None and kind == "conflict":
                self.server.collide(request.path, fault)
            response = dispatch(self.server.registry, request)
        except ConnectionError:
            raise
        except Exception as error:
            # A fault of this server, not of what is tested: the fixture reports it.
            self.server.failures.append(error)
            response = Response(500, {"error": f"{type(error).__name__}: {error}"})
        if kind == "lost_answer":
            if response.length is not None:
                response.content.close()
            self._hang_up()
            return None
        return response

    def _send(self, response: Response, fault: Fault | None) -> None:
        length, blocks = response.prepare()
        self.send_response(response.status)
        for name, value in response.headers.items():
            # A header is one line of Latin-1; a message may be neither.
            self.send_header(name, " ".join(value.split()).encode("latin-1", "replace").decode("latin-1"))
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            if response.length is not None:
                response.content.close()
            return
        left = length
        truncated = fault is not None and fault.kind == "truncate"
        if fault is not None and truncated:
            left = min(left, length // 2 if fault.after_bytes is None else fault.after_bytes)
        for block in blocks:
            self.wfile.write(block[:left])
            left -= min(left, len(block))
        if truncated:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test output clean; :attr:`Server.records` has it all."""
