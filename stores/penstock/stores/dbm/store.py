"""Values under keys in one file, for every process of a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from typing import Any, TypeAlias, TypeVar

from penstock.stores import surface
from penstock.stores.contract import Capabilities, Fence
from penstock.stores.dbm.file import KeyValueFile
from penstock.stores.dbm.settings import parse
from penstock.stores.errors import StoreUnavailable
from penstock.stores.key_value_contract import PagedKeyValues
from penstock.stores.key_value_only import KeyValueOnly
from penstock.stores.queries import KeyValueQuery
from penstock.stores.rows import StoredKeyValue
from penstock.stores.states import Key, States, Was, is_live, key_of, placed
from penstock.wire.records import KeyValue, Record

_Result = TypeVar("_Result")

Work: TypeAlias = Callable[[KeyValueFile], _Result]

_GROUP = 100
"""Calls that share a sync: what each of them may bring, up to 8 MB a record, lies in memory meanwhile."""


def open_key_values(url: str) -> DbmKeyValues:
    """The store of the file that *url* names. Nothing is opened yet.

    Raises:
        BadStoreURL: No file, an unknown option, or its value makes no sense.
    """
    return DbmKeyValues(url)


class DbmKeyValues(KeyValueOnly, PagedKeyValues):
    """See `KeyValueStore`. Each call is one step of one thread, under the file's lock: a write is there as a whole and
    on the disk, or not at all, also where it was cancelled. Calls that wait for the thread share the lock and a sync.
    """

    capabilities = Capabilities(shared=True, fenced=False)

    def __init__(self, url: str) -> None:
        self._settings = parse(url)
        self.ttl_s = self._settings.ttl or None
        self._file = KeyValueFile(self._settings)
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._serving: asyncio.Task[None] | None = None
        self._closed = False

    async def setup(self, *, migrate: bool = True) -> None:
        """See `Store.setup`. Creates the file, and its folder, where it may."""
        self._require_open()
        await (self._run(self._file.make) if migrate else self.check())

    async def check(self) -> None:
        """See `Store.check`."""
        await self._transact(lambda _: None)

    async def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        if self._serving is not None:
            await asyncio.wait((self._serving,))
        thread, self._thread = self._thread, None
        if thread is not None:
            # A cancelled close goes on.
            closing = asyncio.get_running_loop().run_in_executor(thread, self._file.close)
            thread.shutdown(wait=False)
            await asyncio.shield(closing)

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:  # noqa: ARG002 - stamps guard
        """See `Store.write`. A fence is not looked at."""
        states = States(self._fit(records))

        def work(file: KeyValueFile) -> int:
            stored = file.rows(states.keys(KeyValue)).values()
            rows, taken = states.changed(KeyValue, stored)
            file.keep([row for row in rows if isinstance(row, KeyValue)])
            return taken

        return await self._transact(work)

    async def put(self, records: Sequence[KeyValue], now_us: int, *, if_absent: bool = False) -> Sequence[Was]:
        """See `KeyValueStore.put`. All or nothing."""
        fit = self._fit(records)

        def work(file: KeyValueFile) -> list[Was]:
            stored = file.rows(map(key_of, fit)).values()
            rows, was = placed(stored, fit, now_us, if_absent=if_absent)
            file.keep(rows)
            return was

        return await self._transact(work)

    async def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """See `KeyValueReading.key_value`."""
        found = await self.key_values_of(namespace, [key], now_us)
        return found[0] if found else None

    async def key_values_of(self, namespace: str, keys: Sequence[str], now_us: int) -> Sequence[StoredKeyValue]:
        """See `KeyValueReading.key_values_of`."""
        rows = await self._rows([(namespace, key) for key in keys])
        return [surface.stored_key_value(row) for row in rows.values() if is_live(row, now_us)]

    async def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """See `KeyValueReading.key_values`."""
        return await self._transact(lambda file: _page(file, query))

    async def _rows(self, keys: Collection[Key]) -> Mapping[Key, KeyValue]:
        return await self._transact(lambda file: file.rows(keys))

    async def _transact(self, work: Work[_Result]) -> _Result:
        self._require_open()
        done: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await done

    async def _serve(self) -> None:
        """Do what waits, as much at once as there is by then."""
        while self._waiting:
            group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
            outcomes: Sequence[Any]
            try:
                outcomes = await self._run(partial(self._file.transact, [work for work, _ in group]))
            except Exception as exc:  # noqa: BLE001 - the callers get it
                outcomes = [_copy(exc) for _ in group]
            for (_, done), outcome in zip(group, outcomes, strict=True):
                if done.done():
                    continue  # its caller was cancelled
                if isinstance(outcome, Exception):
                    done.set_exception(outcome)
                else:
                    done.set_result(outcome)

    async def _run(self, job: Callable[[], _Result]) -> _Result:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"penstock-dbm-{self._settings.path.name}")
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"the store of {self._settings.path} is closed")


def _copy(exc: Exception) -> Exception:
    """The same error for each caller: one that is raised twice mixes its tracebacks."""
    found = copy(exc)
    found.__cause__ = exc.__cause__
    return found


def _page(file: KeyValueFile, query: KeyValueQuery) -> list[StoredKeyValue]:
    found: list[StoredKeyValue] = []
    for key in file.keys(query.namespace, query.prefix):
        if query.after is not None and key[1] <= str(query.after.id):
            continue
        if len(found) == query.limit:
            break
        row = file.rows([key])[key]
        if is_live(row, query.now_us):
            found.append(surface.stored_key_value(row))
    return found
