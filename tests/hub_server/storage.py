"""Content-addressed storage on disk, and the names git gives to what is stored."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 20


def git_hash(kind: str, content: bytes) -> str:
    """Return the SHA-1 by which git names an object of that kind."""
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree.

    Attributes:
        sha256: The content's address in :class:`Blobs`.
        size: Size of the content in bytes.
        lfs: Whether git holds a pointer in place of the content.
        oid: git's name of the content or, for a large file, of its pointer.
    """

    sha256: str
    size: int
    lfs: bool
    oid: str

    @property
    def pointer_size(self) -> int:
        """Size in bytes of the pointer that git holds for a large file."""
        return len(pointer(self.sha256, self.size))

    @property
    def etag(self) -> str:
        """What the client compares its own file with: SHA-256 of a large file, else git's SHA-1."""
        return self.sha256 if self.lfs else self.oid


def pointer(sha256: str, size: int) -> bytes:
    """Return the text git stores for a large file (git-lfs specification, version 1)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def tree_oid(entries: Mapping[str, Entry]) -> str:
    """Return git's name of the tree that holds these files, by path."""
    files: dict[str, str] = {}
    folders: dict[str, dict[str, Entry]] = {}
    for path, entry in entries.items():
        head, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(head, {})[rest] = entry
        else:
            files[head] = entry.oid
    # git sorts a folder as if its name ended in a slash.
    lines = [(name, b"100644 " + name.encode() + b"\0" + bytes.fromhex(oid)) for name, oid in files.items()]
    lines += [
        (f"{name}/", b"40000 " + name.encode() + b"\0" + bytes.fromhex(tree_oid(content)))
        for name, content in folders.items()
    ]
    return git_hash("tree", b"".join(line for _, line in sorted(lines, key=lambda item: item[0].encode())))


class Blobs:
    """Files named by the SHA-256 of their content; two writers of one content do not disturb each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Store a content; return its SHA-256 and its size in bytes."""
        digest, size = hashlib.sha256(), 0
        handle, name = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
            Path(name).replace(self.folder / digest.hexdigest())
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return digest.hexdigest(), size

    def open(self, sha256: str) -> BinaryIO:
        return (self.folder / sha256).open("rb")

    def read(self, sha256: str) -> bytes:
        return (self.folder / sha256).read_bytes()

    def chunks(self, sha256: str) -> Iterable[bytes]:
        """Yield a content in blocks of one MiB."""
        with self.open(sha256) as file:
            while block := file.read(BLOCK):
                yield block

    def entry(self, sha256: str, size: int, lfs: bool) -> Entry:
        """Return the tree entry of a stored content."""
        content = pointer(sha256, size) if lfs else self.read(sha256)
        return Entry(sha256, size, lfs, git_hash("blob", content))
