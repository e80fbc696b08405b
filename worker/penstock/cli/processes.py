"""The processes that `up` and `demo` start: a worker beside an embedded queue server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Self

from penstock.cli.connection import looking_at
from penstock.cli.exits import Code, Stop
from penstock.embedded import EmbeddedQueue

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0
"""A worker finishes its batch before it ends."""


class WorkerProcess:
    """A `penstock worker` in a process of its own, in a session of its own: Ctrl-C goes to us, and we end it.

    It holds one end of a pipe and we the other, so that it ends as well where we are killed.
    """

    def __init__(self, settings: Mapping[str, str], log: Path | None = None, *, holds: Collection[int] = ()) -> None:
        """*holds* are open files that it keeps open, too."""
        self._settings = settings
        self._log = log
        self._holds = holds
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def start(self) -> None:
        """Start it; `wait_until_alive` says when it works."""
        self._let_go()
        self._started_at = time.monotonic()
        with nullcontext() if self._log is None else self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "penstock.cli", "worker", "--tied"],
                env={**os.environ, **self._settings},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=self._holds,
            )

    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def age_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self._started_at

    def stop(self) -> None:
        """Let it finish its batch and hand over, and wait for that; a Ctrl-C meanwhile kills it. May be repeated."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()
        self._let_go()

    def _let_go(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def wait_until_alive(self) -> None:
        """Return when its heartbeat is seen.

        Raises:
            Stop: It ended, or said nothing for `_START_TIMEOUT_S`.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        async with looking_at(self._settings["PENSTOCK_REDIS_URL"], self._settings["PENSTOCK_NAMESPACE"]) as queue:
            while not await queue.workers():
                code = self.ended()
                if code is not None:
                    raise Stop(f"the worker did not start: {self._last_line()}", _code(code))
                if time.monotonic() > deadline:
                    raise Stop(f"the worker said nothing for {_START_TIMEOUT_S:.0f} s", Code.AWAY)
                await asyncio.sleep(0.05)

    def _last_line(self) -> str:
        if self._log is None:
            return "its own line above says why"
        lines = self._log.read_text(errors="replace").strip() or "it wrote nothing"
        return lines.splitlines()[-1].removeprefix("error: ")


def _code(ended: int) -> Code:
    return Code(ended) if ended in set(Code) else Code.NO


@contextmanager
def ended_after_us(server: EmbeddedQueue) -> Iterator[int]:
    """Within, *server* ends where we are killed, or it would keep its folder and refuse it to the next.

    A shell waits until the last is gone who holds the pipe that this yields.
    """
    guard = subprocess.Popen(  # noqa: S603 - a line of ours, and a number
        ["/bin/sh", "-c", 'read -r _; kill "$1"', "sh", str(server.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with guard:
        try:
            yield guard.stdin.fileno() if guard.stdin else -1
        finally:
            guard.kill()


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Within, SIGTERM and a closed terminal do what Ctrl-C does, so that every `with` block cleans up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
