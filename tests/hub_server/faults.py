"""Faults that a test switches on: which requests they hit, how often, and what then happens."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import TracebackType

KINDS = ("drop", "truncate", "lost_answer", "slow", "conflict")


@dataclass(eq=False)
class Fault:
    """A fault, on from its making until its count is used up or its ``with`` block ends.

    Attributes:
        kind: An HTTP status to answer with in place of doing the request (429, 500, 503, ...), or one of
            ``drop`` (the connection ends, the request is not done),
            ``truncate`` (the request is done, the connection ends inside the body of the answer),
            ``lost_answer`` (the request is done, the connection ends before any answer),
            ``slow`` (the request is done after a wait),
            ``conflict`` (somebody else's commit lands on the branch just before the request is done).
        method: Pattern of the HTTP method, as for :mod:`fnmatch`.
        path: Pattern of the path without query, unquoted; ``*`` also stands for slashes.
        count: How many requests it hits; None for no end.
        skip: How many matching requests it lets pass first.
        rate: Probability of hitting a matching request.
        seed: Seed of the draws where ``rate`` is below 1.
        retry_after: ``Retry-After`` in seconds of a 429 or 503.
        after_bytes: How much of the answer (``truncate``; default: half) or of the request's body (``drop``;
            default: all) passes before the connection ends.
        seconds: The wait of ``slow``.
        files: What the other commit of ``conflict`` writes; a text per path.
        author: Who makes that commit.
        hits: ``METHOD path`` of each request hit.
    """

    kind: int | str
    method: str = "*"
    path: str = "*"
    count: int | None = 1
    skip: int = 0
    rate: float = 1.0
    seed: int = 0
    retry_after: int | None = None
    after_bytes: int | None = None
    seconds: float = 1.0
    files: Mapping[str, str | bytes] = field(default_factory=lambda: {"elsewhere.txt": "by somebody else\n"})
    author: str = "bob"
    hits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not (self.kind in KINDS or (isinstance(self.kind, int) and 400 <= self.kind < 600)):
            raise ValueError(f"fault {self.kind!r}: give an HTTP status from 400 to 599 or one of {', '.join(KINDS)}")
        self._random = random.Random(self.seed)
        self._owner: Faults | None = None

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owner is not None:
            self._owner.remove(self)

    def strikes(self, method: str, path: str) -> bool:
        """Decide for one request, and count it."""
        if not (fnmatchcase(method, self.method) and fnmatchcase(path, self.path)):
            return False
        if self.count is not None and len(self.hits) >= self.count:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.rate < 1 and self._random.random() >= self.rate:
            return False
        self.hits.append(f"{method} {path}")
        return True


class Faults:
    """The faults that are on; the first that strikes a request is the one it meets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            fault._owner = self
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._faults = [other for other in self._faults if other is not fault]

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        """Return the fault that this request meets."""
        with self._lock:
            return next((fault for fault in self._faults if fault.strikes(method, path)), None)
