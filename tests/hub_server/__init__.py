"""A loopback server that speaks the protocol of the Hugging Face Hub, so that tests drive the real clients over HTTP.

It is modelled on what `huggingface_hub` sends and reads. Where the client gives no hint (the tags of a model, what goes
to large file storage, what the card validator refuses), the rules are a reading of the public documentation.
"""

from hub_server.hub import Hub

__all__ = ["Hub"]
