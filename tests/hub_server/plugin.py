"""The fixture: one Hub for the test session."""

from collections.abc import Iterator

import pytest

from hub_server.hub import Hub


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """A Hub on loopback, shared by the session: each test takes repositories of its own names."""
    with Hub() as running:
        yield running


@pytest.fixture(autouse=True)
def _hub_is_well(request: pytest.FixtureRequest) -> Iterator[None]:
    """No fault outlives its test, and no failure of the Hub itself stays unseen."""
    yield
    if "hub" in request.fixturenames:
        running = request.getfixturevalue("hub")
        running.clear_faults()
        running.check()
