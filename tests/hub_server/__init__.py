"""A Hub on loopback: the protocol of the Hugging Face Hub over real HTTP, for the real clients.

Modelled on what ``huggingface_hub`` sends and reads. Where the client shows nothing (how the tags of a model are
derived, which files go to large file storage, what the card validator says), the rules are this package's reading
of the public documentation and are marked as such where they stand.

Tests use the fixture ``hub`` of :mod:`hub_server.plugin`.
"""

from hub_server.faults import Fault
from hub_server.hub import Hub
from hub_server.repository import Commit, Repository

__all__ = ["Commit", "Fault", "Hub", "Repository"]
