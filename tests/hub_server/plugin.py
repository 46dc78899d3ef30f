"""Fixtures: one Hub per test session, checked after each test."""

from collections.abc import Iterator

import pytest

from hub_server.hub import Hub


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """A Hub on loopback, shared by the session: each test uses repository names that no other test uses."""
    with Hub() as running:
        yield running


@pytest.fixture(autouse=True)
def _reset_hub(request: pytest.FixtureRequest) -> Iterator[None]:
    """Switch faults off after each test, and fail the test if the server itself raised an exception."""
    yield
    if "hub" in request.fixturenames:
        running = request.getfixturevalue("hub")
        running.clear_faults()
        running.check()
