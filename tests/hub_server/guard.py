"""Blocks access to the network outside loopback.

The text of this file becomes the `sitecustomize` of every process that a test starts, so it imports nothing else here.
"""

import sys

LOOPBACK = ("localhost", "127.0.0.1", "::1", "", None)


def install() -> None:
    """Raise an AssertionError that names the host on each lookup of, and connection to, another machine."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.getaddrinfo":
            host = arguments[0]
        elif event == "socket.connect":
            # The address of a Unix socket is a path, not a tuple.
            host = arguments[1][0] if isinstance(arguments[1], tuple) else None
        else:
            return
        host = host.decode() if isinstance(host, bytes) else host
        if host not in LOOPBACK:
            raise AssertionError(f"a test reached for {host}")

    sys.addaudithook(hook)
