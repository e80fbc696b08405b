"""Where an engine whose client blocks has its collections, and the one client that it has there."""

from __future__ import annotations

import contextlib
import threading
from typing import Generic, Protocol, TypeVar

_Client = TypeVar("_Client")
_Client_co = TypeVar("_Client_co", covariant=True)


class Home(Protocol[_Client_co]):
    """A place in this process, or a server."""

    @property
    def alone(self) -> bool:
        """Nobody else can have it open."""

    def make(self) -> None:
        """Make ready what is needed before a client can be."""

    def connect(self, held: contextlib.ExitStack) -> _Client_co:
        """A client, and in *held* how to let go of it."""


class Connection(Generic[_Client]):
    """The client of a home, for any number of threads."""

    def __init__(self, home: Home[_Client]) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._held = contextlib.ExitStack()
        self._client: _Client | None = None

    def client(self) -> _Client:
        """The client, made where there is none. Raises what `Home.connect` does."""
        with self._lock:
            if self._client is None:
                with contextlib.ExitStack() as held:
                    self._client = self._home.connect(held)
                    self._held = held.pop_all()
            return self._client

    def close(self) -> None:
        """Let go of it, whatever it says to that. May be repeated."""
        with self._lock, contextlib.suppress(Exception):
            self._client = None
            self._held.close()
