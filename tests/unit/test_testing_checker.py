"""The checker finds every fault that is put into sound stores, and none in those that are left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lancedb
import pytest
from redis import Redis

from penstock.producer import Producer
from penstock.testing import Ledger, Verdict, check, faults
from penstock.wire.ids import format_id, new_id
from penstock.wire.queue import Queue
from penstock.worker.drain import drain
from penstock.worker.fleet import Fleet
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Site, Stores
from tests.conformance.postgres_server import Postgres


@dataclass
class Kept:
    """A sound system that has come to rest."""

    folder: Path
    queue: Queue
    config: WorkerConfig
    execute: Callable[..., Any]
    """Statements, past the store."""

    @property
    def ledger(self) -> Path:
        return self.folder / "writer.ledger"

    @property
    def kind(self) -> str:
        return self.config.sql_url.partition(":")[0]

    def letters(self) -> dict[str, tuple[str, bytes]]:
        """The key and the entry of each record's dead letter."""
        keys = [self.queue.keys.dead(where) for where in self.queue.all_partitions()]
        found = ((key, entry, fields) for key in keys for entry, fields in self.redis.xrange(key))
        return {fields[b"i"].decode(): (key, entry) for key, entry, fields in found}

    @property
    def redis(self) -> Any:
        return Redis.from_url(self.config.redis_url)

    async def verdict(self, **exceptions: Any) -> Verdict:
        return await check(
            self.folder.glob("*.ledger"),
            redis_url=self.config.redis_url,
            namespace=self.config.namespace,
            sql_url=self.config.sql_url,
            vector_url=self.config.vector_url,
            **exceptions,
        )


@pytest.fixture(params=["sqlite", "postgres"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path, queue: Queue, redis_url: str) -> AsyncIterator[Kept]:
    vectors = f"lancedb:///{tmp_path}/vectors"
    common: dict[str, Any] = {
        "redis_url": redis_url,
        "namespace": queue.keys.namespace,
        "vector_url": vectors,
        "drain_linger_ms": 1,
    }
    if request.param == "sqlite":
        path = tmp_path / "store.db"
        config = WorkerConfig(sql_url=f"sqlite:///{path}?synchronous=NORMAL", **common)
        whole = Kept(tmp_path, queue, config, partial(_execute, path))
        await _fill(whole)
        yield whole
    else:
        server: Postgres = request.getfixturevalue("postgres")
        with server.used_again("level 1") as schema:
            whole = Kept(tmp_path, queue, WorkerConfig(sql_url=schema.url, **common), schema.execute)
            await _fill(whole)
            yield whole
            await faults.accept_poison(schema.url)


def _execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def _fill(whole: Kept) -> None:
    stores = Stores(whole.config)
    await stores.of("messages")
    await faults.refuse_poison(whole.config.sql_url)
    with Ledger(whole.ledger) as ledger:
        await _hand_over(whole.config, ledger)
    site = Site(config=whole.config, queue=whole.queue, stores=stores, fleet=Fleet(whole.queue, "w"))
    for partition in whole.queue.all_partitions():
        if await whole.queue.read(partition, 1):
            await drain(site, partition)
    await stores.close()


async def _hand_over(config: WorkerConfig, ledger: Ledger) -> None:
    """Records of each kind; the last message of `b` is refused by its store."""
    async with Producer(config.redis_url, namespace=config.namespace) as producer:
        receipts = {}
        for n in range(6):
            session, content, given = "ab"[n % 2], "poison" if n == 5 else f"text {n}", format_id(new_id())
            number = ledger.message(id=given, session=session, content=content, poison=n == 5)
            receipts[number] = producer.message(session_id=session, role="user", content=content, id=given)
            if n == 2:
                number = ledger.deletion(given)
                receipts[number] = producer.delete_message(given, session_id=session)
        stream_id = format_id(new_id())
        number = ledger.stream(id=stream_id, session="a")
        async with producer.stream(session_id="a", role="assistant", id=stream_id) as stream:
            for text in ("one ", "two ", "drei größer"):
                ledger.chunk(number, text)
                stream.write(text)
            ledger.end(number)
        receipts[number] = stream.receipt
        for n in range(3):
            log_id = format_id(new_id())
            receipts[ledger.log(id=log_id, event=f"event {n}")] = producer.log(
                level="info", event=f"event {n}", id=log_id
            )
            vector = [n, 0.1, 0.2]
            number = ledger.embedding(collection="c", key=f"k{n % 2}", vector=vector)
            receipts[number] = producer.embedding(collection="c", id=f"k{n % 2}", vector=vector)
            number = ledger.key_value(key=f"k{n % 2}", value={"n": n})
            receipts[number] = producer.key_value(key=f"k{n % 2}", value={"n": n})
        number = ledger.key_value(key="gone", value=1)
        receipts[number] = producer.key_value(key="gone", value=1)
        number = ledger.key_value(key="gone", value=None, deleted=True)
        receipts[number] = producer.delete_key_value("gone")
        await producer.flush(timeout=10)
        for number, receipt in receipts.items():
            await receipt.queued(timeout=10)
            ledger.accepted(number)


async def test_a_sound_system_is_sound(kept: Kept) -> None:
    verdict = await kept.verdict()

    assert verdict.faults == {}
    assert verdict.sound
    assert str(verdict).startswith("sound: nothing lost, nothing twice, nothing out of order (handed over 19, ")
    assert verdict.totals["dead"] == 1


BREAKAGES = {
    "a message is gone": (
        "DELETE FROM messages WHERE content = 'text 1'",
        {"missing", "counters"},
    ),
    "a log event is gone": ("DELETE FROM logs WHERE event = 'event 1'", {"missing"}),
    "a key-value is gone": ("DELETE FROM key_values WHERE key = 'k1'", {"missing"}),
    "a key-value is the one before": (
        """UPDATE key_values SET value = '{"n": 0}' WHERE key = 'k0'""",
        {"values"},
    ),
    "a deleted key-value is back": (
        "UPDATE key_values SET deleted_at = NULL, value = '1' WHERE key = 'gone'",
        {"values"},
    ),
    "two messages change places": (
        """UPDATE messages SET created_at = (SELECT max(created_at) FROM messages) WHERE content = 'text 0'""",
        {"out_of_order"},
    ),
    "a counter is wrong": ("UPDATE sessions SET message_count = message_count + 1 WHERE id = 'b'", {"counters"}),
    "one character of a message differs": (
        "UPDATE messages SET content = 'text O' WHERE content = 'text 0'",
        {"texts"},
    ),
    "one character of a stream differs": (
        "UPDATE messages SET content = replace(content, 'ö', 'o') WHERE content LIKE 'one%'",
        {"texts"},
    ),
    "a stream lacks its end": (
        "UPDATE messages SET content = 'one two ' WHERE content LIKE 'one%'",
        {"texts"},
    ),
    "a whole stream is said to be interrupted": (
        "UPDATE messages SET state = 'interrupted' WHERE content LIKE 'one%'",
        {"states"},
    ),
    "a deleted message is back": (
        "UPDATE messages SET deleted_at = NULL WHERE content = 'text 2'",
        {"states", "counters"},
    ),
    "another message is deleted": (
        "UPDATE messages SET deleted_at = created_at WHERE content = 'text 0'",
        {"states", "counters"},
    ),
    "a log event differs": ("UPDATE logs SET event = 'other' WHERE event = 'event 1'", {"texts"}),
}


TABLES = ("messages", "sessions", "logs", "key_values")


async def test_what_is_broken_by_a_statement_is_found(kept: Kept) -> None:
    kept.execute(*(f"CREATE TABLE kept_{each} AS SELECT * FROM {each}" for each in TABLES))
    found = {}
    for name, (statement, _) in BREAKAGES.items():
        kept.execute(statement)
        found[name] = set((await kept.verdict()).faults)
        for each in TABLES:
            kept.execute(f"DELETE FROM {each}", f"INSERT INTO {each} SELECT * FROM kept_{each}")
    kept.execute(*(f"DROP TABLE kept_{each}" for each in TABLES))

    assert found == {name: wanted for name, (_, wanted) in BREAKAGES.items()}
    assert (await kept.verdict()).sound


COLUMNS = {
    "sqlite": "created_at, session_no, role, version, normalised",
    "postgresql": "created_at, session_id, role, version, normalised",
}
FRESH = {"sqlite": "randomblob(16)", "postgresql": "gen_random_uuid()"}


@pytest.mark.parametrize(("content", "wanted"), [("text 0", "twice"), ("never sent", "strangers")])
async def test_a_row_too_many_is_found(kept: Kept, content: str, wanted: str) -> None:
    kept.execute(
        f"INSERT INTO messages (id, content, {COLUMNS[kept.kind]}) "
        f"SELECT {FRESH[kept.kind]}, '{content}', {COLUMNS[kept.kind]} FROM messages WHERE content = 'text 0'"
    )

    assert set((await kept.verdict()).faults) == {wanted, "counters"}


async def test_a_record_that_is_stored_and_dead_is_found_unless_it_was_replayed(kept: Kept) -> None:
    await faults.accept_poison(kept.config.sql_url)
    dead = next(iter(kept.letters()))
    literal = f"x'{dead.replace('-', '')}'" if kept.kind == "sqlite" else f"'{dead}'"
    kept.execute(
        f"INSERT INTO messages (id, content, {COLUMNS[kept.kind]}) SELECT {literal}, 'poison', {COLUMNS[kept.kind]} "
        "FROM messages WHERE content = 'text 3'",
        "UPDATE sessions SET message_count = message_count + 1 WHERE id = 'b'",
    )

    assert set((await kept.verdict()).faults) == {"stored_and_dead"}
    assert (await kept.verdict(replayed=[dead])).sound


ON_ONE = pytest.mark.parametrize("kept", ["sqlite"], indirect=True)
"""What lies elsewhere than in the SQL store."""


@ON_ONE
async def test_a_dead_letter_that_is_gone_is_found_unless_it_was_purged(kept: Kept) -> None:
    (dead,) = kept.letters()
    key, entry = kept.letters()[dead]
    kept.redis.xdel(key, entry)

    verdict = await kept.verdict()
    assert set(verdict.faults) == {"missing", "unbalanced"}
    assert set((await kept.verdict(purged=[dead])).faults) == {"unbalanced"}


@ON_ONE
async def test_a_dead_letter_that_is_there_twice_is_found(kept: Kept) -> None:
    ((key, entry),) = kept.letters().values()
    kept.redis.xadd(key, kept.redis.xrange(key, entry, entry)[0][1])

    assert set((await kept.verdict()).faults) == {"twice", "unbalanced"}


@ON_ONE
async def test_a_dead_letter_that_nobody_expected_is_found(kept: Kept) -> None:
    noted = kept.ledger.read_text()
    kept.ledger.write_text(noted.replace(', "poison": true', ""))

    verdict = await kept.verdict()
    assert set(verdict.faults) == {"unexpected_dead"}
    assert verdict.unexpected_dead[0].startswith("record ")


@ON_ONE
async def test_counters_that_do_not_add_up_are_found(kept: Kept) -> None:
    where = next(where for where in kept.queue.all_partitions() if kept.redis.exists(kept.queue.keys.meta(where)))
    kept.redis.hincrby(kept.queue.keys.meta(where), "stored", 1)

    verdict = await kept.verdict()
    assert set(verdict.faults) == {"unbalanced"}
    assert verdict.unbalanced[0].startswith(f"{where}: accepted ")


@ON_ONE
@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        (lambda table: table.delete("id = 'k1'"), "missing"),
        (lambda table: table.add(table.to_arrow().slice(0, 1)), "twice"),
        (lambda table: table.update("id = 'k0'", {"vector": [0.0, 0.1, 0.2]}), "vectors"),
        (lambda table: table.update("id = 'k0'", {"id": "nobody's"}), "strangers"),
    ],
)
async def test_a_vector_that_is_not_the_last_of_its_key_is_found(
    kept: Kept, act: Callable[[Any], object], wanted: str
) -> None:
    act(lancedb.connect(kept.folder / "vectors").open_table("c"))

    assert wanted in (await kept.verdict()).faults
