"""The endpoints; importing this registers them."""

from hub_server.routes import commits, files, large_files, pulls, refs, repositories

__all__ = ["commits", "files", "large_files", "pulls", "refs", "repositories"]
