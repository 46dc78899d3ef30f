"""What a client process runs at start: no address outside loopback is looked up or reached.

The text of this file becomes the ``sitecustomize`` of the processes that a test starts, so it stands alone.
"""

import sys

LOOPBACK = ("localhost", "127.0.0.1", "::1", "", None)


def install() -> None:
    """Refuse, by name, every lookup of and connection to a host that is not this machine."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.getaddrinfo":
            host = arguments[0]
        elif event == "socket.connect":
            # A socket of the file system has a path in place of a pair.
            host = arguments[1][0] if isinstance(arguments[1], tuple) else None
        else:
            return
        host = host.decode() if isinstance(host, bytes) else host
        if host not in LOOPBACK:
            raise AssertionError(f"a test reached for {host}")

    sys.addaudithook(hook)
