"""The embedded queue server for one machine."""

from penstock.embedded.server import EmbeddedQueue, EmbeddedServerError, free_port

__all__ = ["EmbeddedQueue", "EmbeddedServerError", "free_port"]
