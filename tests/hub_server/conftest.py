import pytest

from hub_server import Hub


@pytest.fixture(scope="module")
def hub():
    """These tests take a Hub of their own, so that their repositories meet nobody else's."""
    with Hub() as running:
        yield running
