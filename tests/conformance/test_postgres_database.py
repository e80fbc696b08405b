"""What only PostgreSQL has: refusals by SQLSTATE, collisions, a server that goes away, writers beside each other."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import AsyncIterator

import pytest

from penstock.stores import Fence, StoreRejected, StoreUnavailable
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.queries import MessageQuery
from penstock.testing.conformance.records import START_US, chunk, counted, log, message
from penstock.wire.records import Message, Record
from tests.conformance.postgres_server import Postgres, Schema


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url)
    await store.setup()
    yield store
    await store.close()


def _raise(schema: Schema, sqlstate: str, times: int = 10**9) -> None:
    """Have the next inserts of a message fail, each in a statement of its own. A sequence is not rolled back."""
    schema.execute(
        "CREATE SEQUENCE failed",
        f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('{schema.name}.failed') <= {times} THEN
                RAISE EXCEPTION 'row %', new.content USING ERRCODE = '{sqlstate}', DETAIL = new.content;
            END IF;
            RETURN new;
        END $$""",
        "CREATE TRIGGER fail BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION fail()",
    )


# Refusals


@pytest.mark.parametrize(
    "bad",
    [
        message(9)._replace(content="secret \ud800"),
        message(9)._replace(content="secret \0"),
        message(9)._replace(created_at_us=2**63),
        message(9)._replace(created_at_us=-1),
        message(9)._replace(metadata=b"{secret"),
        message(9)._replace(metadata=b'{"a":"secret \xff"}'),
        message(9)._replace(role=None),  # type: ignore[arg-type] # what a broken producer may send
        message(9)._replace(content=["secret"]),  # type: ignore[arg-type] # as above
        message(9)._replace(content=7),  # type: ignore[arg-type] # as above
        message(9)._replace(session_id=["secret"]),  # type: ignore[arg-type] # as above
        message(9)._replace(id=b"secret"),
        message(9)._replace(state="secret"),
        message(9)._replace(version=2**63),
        message(9, "s" * 9_000 + "".join(random.Random(1).choices("abcdefghij", k=90_000))),
        log(9)._replace(data=b"[secret"),
        chunk(2**63, "secret"),
    ],
)
@pytest.mark.parametrize("beside", [[], [message(0)], [message(10), message(11)]], ids=len)
async def test_a_row_that_cannot_be_is_refused_alone_and_not_quoted(
    store: PostgresStore, schema: Schema, bad: Record, beside: list[Message]
) -> None:
    with pytest.raises(StoreRejected) as caught:
        await store.write([*beside, bad])

    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert schema.messages() == []
    assert await store.write([message(0)]) == 1


async def test_a_trigger_that_raises_is_a_refusal_and_quotes_nothing(store: PostgresStore, schema: Schema) -> None:
    _raise(schema, "P0001")

    with pytest.raises(StoreRejected, match="P0001") as caught:
        await store.write([message(0)])

    assert "text 0" not in "".join(traceback.format_exception(caught.value))


async def test_a_broken_rule_is_named(store: PostgresStore, schema: Schema) -> None:
    """One of the database's owner: ours are checked before."""
    schema.execute("ALTER TABLE messages ADD CONSTRAINT is_short CHECK (length(content) < 100)")

    with pytest.raises(StoreRejected, match=r"CheckViolation \(23514, constraint is_short, table messages\)"):
        await store.write([message(0)._replace(content="x" * 100)])


async def test_what_a_caller_sent_as_json_comes_back_to_the_letter(store: PostgresStore, schema: Schema) -> None:
    sent = b'{"z":1e2,"a":-0.0,"n":1.0,"big":1e308,"a b":[1,{"y":0,"b":null}]}'

    await store.write([message(0)._replace(metadata=sent)])

    assert schema.messages()[0].metadata == sent
    shown = await store.message(message(0).id)
    assert shown is not None
    assert (
        repr(dict(shown.metadata))
        == "{'z': 100.0, 'a': -0.0, 'n': 1.0, 'big': 1e+308, 'a b': [1, {'y': 0, 'b': None}]}"
    )


# What passes


@pytest.mark.parametrize("sqlstate", ["53100", "57014", "55P03", "08006", "42501", "XX000"])
async def test_what_is_not_the_rows_fault_is_unavailable(store: PostgresStore, schema: Schema, sqlstate: str) -> None:
    _raise(schema, sqlstate, times=1)

    with pytest.raises(StoreUnavailable, match=sqlstate):
        await store.write([message(0)])

    assert await store.write([message(0)]) == 1


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_collision_is_tried_again_without_a_word(store: PostgresStore, schema: Schema, sqlstate: str) -> None:
    _raise(schema, sqlstate, times=3)

    assert await store.write([message(0), message(1)], Fence("a", 1)) == 2
    assert schema.counts() == counted([message(0), message(1)])


async def test_collisions_without_end_are_unavailable(store: PostgresStore, schema: Schema) -> None:
    _raise(schema, "40001")

    with pytest.raises(StoreUnavailable, match="40001"):
        await store.write([message(0)])


async def test_a_table_that_stays_locked_is_unavailable_at_the_deadline(store: PostgresStore, schema: Schema) -> None:
    hasty = open_sql(schema.url + "&timeout=1")
    schema.execute("BEGIN", f"LOCK TABLE {schema.name}.messages")
    with pytest.raises(StoreUnavailable, match="Timeout"):
        await hasty.write([message(0)])
    schema.execute("ROLLBACK")

    assert await hasty.write([message(0)]) == 1
    await hasty.close()


async def test_a_server_that_restarts_is_unavailable_and_then_goes_on(store: PostgresStore, postgres: Postgres) -> None:
    await store.write([message(0)])
    writing = asyncio.create_task(_write_until_refused(store))
    await asyncio.sleep(0.02)
    await asyncio.to_thread(postgres.stop)
    written = await writing
    try:
        for call in (store.write([message(0)]), store.check(), store.messages(MessageQuery()), store.setup()):
            with pytest.raises(StoreUnavailable):
                await call
    finally:
        await asyncio.to_thread(postgres.start)

    # The batch under way when the server stopped may be stored or not; writing it again is harmless either way.
    await store.write([message(number) for number in range(written + 1)])
    assert await store.count_messages(MessageQuery()) == written + 1
    session = await store.session("s")
    assert session is not None
    assert session.message_count == written + 1


async def _write_until_refused(store: PostgresStore) -> int:
    """Returns the number of the message that was refused."""
    number = 1
    while True:
        try:
            await store.write([message(number)])
        except StoreUnavailable:
            return number
        number += 1


async def test_a_server_that_is_not_there_is_unavailable_and_no_password_is_told() -> None:
    store = open_sql("postgresql://ada:secret@127.0.0.1:1/db?connect_timeout=1")

    for call in (store.setup(), store.check(), store.write([])):
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/db") as caught:
            await call
        assert "secret" not in str(caught.value)
    await store.close()


# Writers beside each other


async def test_four_writers_that_redeliver_the_same_shuffled_batches_count_right(
    store: PostgresStore, schema: Schema
) -> None:
    sent = [message(number, f"s{number % 7}")._replace(version=number % 3) for number in range(1_200)]
    batches = [sent[at : at + 60] for at in range(0, 1_200, 30)]
    writers = [open_sql(schema.url + "&pool_max=2") for _ in range(4)]

    async def deliver(writer: PostgresStore, rng: random.Random) -> int:
        ours = [rng.sample(batch, len(batch)) for batch in rng.sample(batches, len(batches))]
        two_at_a_time = zip(ours[::2], ours[1::2], strict=True)
        new = 0
        for pair in two_at_a_time:
            new += sum(await asyncio.gather(*(writer.write(batch) for batch in pair)))
        await writer.close()
        return new

    new = await asyncio.gather(*(deliver(writer, random.Random(n)) for n, writer in enumerate(writers)))

    assert sum(new) == 1_200
    assert sorted(schema.messages()) == sorted(sent)
    assert schema.counts() == counted(sent)


async def test_writers_that_replace_the_same_rows_end_at_the_highest_version(
    store: PostgresStore, schema: Schema
) -> None:
    def batch(version: int) -> list[Message]:
        return [message(n)._replace(content=f"{n} v{version}", version=version) for n in range(20)]

    new = await asyncio.gather(*(store.write(batch(version)) for version in random.Random(1).sample(range(1, 30), 29)))

    assert schema.messages() == batch(29)
    assert schema.counts() == counted(batch(29))
    assert 20 <= sum(new) <= 20 * 29


async def test_an_owner_that_comes_later_waits_for_the_one_that_writes(store: PostgresStore, schema: Schema) -> None:
    """The older epoch holds the fence; the newer one gets it only after the older one's commit."""
    schema.execute("BEGIN", f"INSERT INTO {schema.name}.fences VALUES ('a', 6)")
    newer = asyncio.create_task(store.write([message(0)], Fence("a", 7)))
    done, _ = await asyncio.wait([newer], timeout=0.1)
    schema.execute("COMMIT")

    assert not done
    assert await newer == 1
    assert schema.rows("SELECT * FROM fences") == [("a", 7)]


async def test_a_batch_of_several_statements_is_one(store: PostgresStore, schema: Schema) -> None:
    sent = [message(number, f"s{number % 5}") for number in range(2_500)]
    logs = [log(number) for number in range(1_500)]

    with pytest.raises(StoreRejected):
        await store.write([*sent, *logs[:-1], log(9_999)._replace(data=b"[")])
    assert schema.rows("SELECT count(*) FROM messages") == [(0,)]
    assert await store.write([*sent, *logs]) == 4_000
    assert await store.write([*logs, *sent]) == 0
    assert schema.counts() == counted(sent)


@pytest.mark.parametrize("delay_ms", range(10))
async def test_a_write_cancelled_at_any_time_is_all_or_nothing_and_gives_its_connection_back(
    schema: Schema, delay_ms: int
) -> None:
    store = open_sql(schema.url + "&pool_max=1")
    await store.setup()
    batch = [message(number, f"s{number % 3}") for number in range(600)]
    write = asyncio.create_task(store.write([*batch, log(0)], Fence("a", 1)))
    await asyncio.wait([write], timeout=delay_ms / 1000)
    write.cancel()
    await asyncio.wait([write])

    assert await store.write([message(999, "t")], Fence("a", 1)) == 1
    stored = [each for each in schema.messages() if each.session_id != "t"]
    assert len(stored) in (0, 600)
    assert len(schema.logs()) == (len(stored) == 600)
    assert schema.counts() == counted([*stored, message(999, "t")])
    await store.close()


async def test_times_are_exact_over_the_whole_range(store: PostgresStore, schema: Schema) -> None:
    times = [0, 1, 999_999, START_US + 123_457, 253_402_300_799_999_999]
    sent = [message(number)._replace(created_at_us=at) for number, at in enumerate(times)]

    await store.write(sent)

    assert [each.created_at_us for each in schema.messages()] == times
    assert schema.messages() == sent
