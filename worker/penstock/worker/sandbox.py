"""Writes a suspect batch in a child process, so that a record which kills its writer kills only the child.

The parent: `Sandbox.write`, with the contract of `Store.write`. The child: `python -m penstock.worker.sandbox`,
which reads one request from its standard input and answers on its standard output.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Self

import msgpack

from penstock.stores.contract import Fence, Store
from penstock.stores.divided import state_store
from penstock.stores.errors import StaleOwner, StoreError, StoreRejected, StoreUnavailable
from penstock.stores.registry import vector_store
from penstock.wire.frames import decode_frame, encode, frame_of
from penstock.wire.records import Record
from penstock.worker.settings import WorkerConfig

_FROM_OUTSIDE = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

CHILD = (sys.executable, "-m", "penstock.worker.sandbox")


class Sandbox:
    """A store that is opened in a child process for each write."""

    def __init__(
        self,
        sort: str,
        url: str,
        argv: Sequence[str] | None = None,
        *,
        key_value_url: str = "",
        migrate: bool = True,
    ) -> None:
        self._sort = sort
        self._url = url
        self._key_value_url = key_value_url
        self._migrate = migrate
        self._argv = argv or CHILD

    @classmethod
    def of(cls, config: WorkerConfig, lane: str) -> Self | None:
        """The sandbox of a lane's store; None for a store that lives in this process's memory."""
        sort, url = ("vector", config.vector_url) if lane == "embeddings" else ("sql", config.sql_url)
        values = config.key_value_url if lane == "state" else ""
        if url.startswith("memory:") or values.startswith("memory:"):
            return None
        return cls(sort, url, key_value_url=values, migrate=config.migrate)

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`. A child that dies has refused the batch."""
        frame = frame_of([encode(record, limit_bytes=None) for record in records])
        written_by = list(fence) if fence else None
        request = msgpack.packb([self._sort, self._url, written_by, frame.body, self._migrate, self._key_value_url])
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*self._argv, stdin=pipe, stdout=pipe, start_new_session=True)
        try:
            answer, _ = await child.communicate(request)
        except asyncio.CancelledError:
            child.kill()
            await child.wait()
            raise
        told = _whole(answer)
        if told is None:
            raise _blame(child.returncode)
        # However the child ended after it: what a library breaks on its way out undoes no write.
        return _interpret(told, fence)


def _whole(answer: bytes) -> list[Any] | None:
    """What the child has told; None where it ended before that, or in the middle."""
    try:
        told: list[Any] = msgpack.unpackb(answer)
    except ValueError:
        return None
    return told


def _blame(code: int | None) -> StoreError:
    """The record is blamed only for a death that it can have caused: a crash, or the kernel's for want of memory."""
    if code is not None and code < 0 and -code not in _FROM_OUTSIDE:
        return StoreRejected(f"the process that wrote it died (signal {-code})")
    return StoreUnavailable(f"the process that was to write it ended early ({code})")


def _interpret(answer: list[Any], fence: Fence | None) -> int:
    outcome, value = answer
    if outcome == "stale" and fence is not None:
        raise StaleOwner(fence.partition, fence.epoch, value)
    if outcome == "rejected":
        raise StoreRejected(value)
    if outcome == "unavailable":
        raise StoreUnavailable(value)
    return int(value)


async def _answer(request: bytes) -> list[Any]:
    """What the child does: one write, and what came of it."""
    sort, url, fence, body, migrate, key_value_url = msgpack.unpackb(request)
    store: Store = vector_store(url) if sort == "vector" else state_store(url, key_value_url)
    try:
        await _set_up(store, migrate=migrate)
        written = await store.write(decode_frame(body), Fence(*fence) if fence else None)
    except StaleOwner as exc:
        return ["stale", exc.seen]
    except StoreRejected as exc:
        return ["rejected", str(exc)]
    except StoreUnavailable as exc:
        return ["unavailable", str(exc)]
    finally:
        await store.close()
    return ["stored", written]


async def _set_up(store: Store, *, migrate: bool) -> None:
    """A store that refuses to be opened has not refused a record."""
    try:
        await store.setup(migrate=migrate)
    except StoreRejected as exc:
        raise StoreUnavailable(str(exc)) from exc


def _main() -> None:
    # Whatever a library prints goes to standard error: standard output is for the answer alone.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with answer:
        answer.write(msgpack.packb(asyncio.run(_answer(sys.stdin.buffer.read()))))


if __name__ == "__main__":
    _main()
