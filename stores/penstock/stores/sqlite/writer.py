"""The thread that writes a file. Batches that wait for it are committed together."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from penstock.stores.contract import Fence, Trial
from penstock.stores.errors import StoreError, StoreUnavailable
from penstock.stores.sqlite.batch import Batch
from penstock.stores.sqlite.keeping import KeepingConnection, Work
from penstock.stores.sqlite.settings import SqliteSettings
from penstock.wire.records import Record

_GROUP_RECORDS = 20_000
"""A transaction takes no further batch beyond this, which bounds how long the first one waits: about 150 ms.

Each commit is an fsync and writes the pages of the indexes again: 94,000 messages/s with 5,000, 111,000 with 20,000
(8 drains, 300,000 messages, medians of two)."""

_Result = TypeVar("_Result")


class _Job(NamedTuple):
    """One call that waits for the thread: a batch, or an order."""

    batch: Batch | None
    order: Callable[[], object] | None
    done: asyncio.Future[Any]


class Writer:
    """Serialises everything that writes one file.

    A whole transaction is one step of one thread. So no cancelled caller can leave half of it behind, and no
    other call can come between: what a lock and a shield would do for statements awaited one by one.
    """

    def __init__(self, settings: SqliteSettings) -> None:
        self._connection = KeepingConnection(settings)
        self._jobs: SimpleQueue[_Job] = SimpleQueue()  # bounded by the callers, each of which awaits its job
        self._thread: threading.Thread | None = None
        self._closed = False
        self._closing: asyncio.Future[Any] | None = None
        self._path = settings.path

    async def setup(self) -> None:
        """See `Store.setup`."""
        await self._hand_over(order=self._connection.setup)

    async def probe(self) -> None:
        """Write a row and take it back. See `WritingConnection.probe`."""
        await self._hand_over(order=self._connection.probe)

    @property
    def is_used(self) -> bool:
        """Whether anything was ever written, or tried to be."""
        return self._thread is not None

    async def follow(self) -> None:
        """Let go of a file that was moved or replaced. See `WritingConnection.follow`."""
        await self._hand_over(order=self._connection.follow)

    async def write(self, records: Sequence[Record], fence: Fence | None) -> int:
        """See `Store.write`."""
        new: int = await self._hand_over(batch=Batch.of(records, fence))
        return new

    async def transact(self, work: Work[_Result]) -> _Result:
        """Run *work* in a transaction of its own. See `KeepingConnection.transact`."""
        return await self._ordered(lambda: self._connection.transact(work))

    async def rehearse(self, work: Work[_Result]) -> _Result:
        """Run *work*, and take it back. See `KeepingConnection.rehearse`."""
        return await self._ordered(lambda: self._connection.rehearse(work))

    async def try_out(self, records: Sequence[Record]) -> list[Trial]:
        """See `Store.rehearse`."""
        return await self._ordered(lambda: self._connection.try_out(records))

    async def tidy(self) -> dict[str, int]:
        """See `KeepingConnection.tidy`."""
        return await self._ordered(self._connection.tidy)

    async def close(self) -> None:
        """Finish what was handed over, then close the file and end the thread."""
        self._closed = True
        if self._thread is None:
            return
        if self._closing is None:
            self._closing = self._put(None, self._connection.close)
        # A cancelled close goes on: the thread ends in any case.
        await asyncio.shield(self._closing)

    async def _ordered(self, order: Callable[[], _Result]) -> _Result:
        outcome: _Result = await self._hand_over(order=order)
        return outcome

    def _hand_over(self, batch: Batch | None = None, order: Callable[[], object] | None = None) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreUnavailable(f"the store of {self._path} is closed")
        if self._thread is None:
            # A daemon, so that a program that forgets `close` can end; SQLite then rolls back what was under way.
            self._thread = threading.Thread(target=self._serve, name=f"penstock-sqlite-{self._path.name}", daemon=True)
            self._thread.start()
        return self._put(batch, order)

    def _put(self, batch: Batch | None, order: Callable[[], object] | None) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(batch, order, done))
        return done

    def _serve(self) -> None:
        waiting: deque[_Job] = deque()
        while True:
            self._gather(waiting)
            if waiting[0].order is None:
                self._write(_group(waiting))
            elif self._obey(waiting.popleft()):
                return

    def _gather(self, waiting: deque[_Job]) -> None:
        """Everything that has been handed over by now; waits for the first."""
        if not waiting:
            waiting.append(self._jobs.get())
        with suppress(Empty):
            while True:
                waiting.append(self._jobs.get_nowait())

    def _obey(self, job: _Job) -> bool:
        """Do what *job* orders. Returns whether it was the last one."""
        try:
            outcome: object = job.order() if job.order is not None else None
        except Exception as exc:  # noqa: BLE001 - the caller gets it
            outcome = exc
        _settle(job, outcome)
        return job.order == self._connection.close

    def _write(self, group: Sequence[_Job]) -> None:
        outcomes: Sequence[object]
        try:
            outcomes = self._connection.write([job.batch for job in group if job.batch is not None])
        except StoreError as exc:
            outcomes = [_copy(exc) for _ in group]
        except Exception as exc:  # noqa: BLE001 - a bug; the callers get it, the thread lives on
            outcomes = [exc] * len(group)
        for job, outcome in zip(group, outcomes, strict=True):
            _settle(job, outcome)


def _group(waiting: deque[_Job]) -> list[_Job]:
    """The batches at the head of *waiting* that go into one transaction."""
    group: list[_Job] = []
    records = 0
    while waiting and waiting[0].batch is not None and records < _GROUP_RECORDS:
        records += waiting[0].batch.size
        group.append(waiting.popleft())
    return group


def _copy(exc: StoreError) -> StoreError:
    """The same error for another caller: an exception that is raised twice mixes its tracebacks."""
    copy = type(exc)(*exc.args)
    copy.__cause__ = exc.__cause__
    return copy


def _settle(job: _Job, outcome: object) -> None:
    with suppress(RuntimeError):  # the caller's loop is closed, nobody waits
        job.done.get_loop().call_soon_threadsafe(_set, job.done, outcome)


def _set(done: asyncio.Future[Any], outcome: object) -> None:
    if done.cancelled():
        return
    if isinstance(outcome, BaseException):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
