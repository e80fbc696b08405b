"""A PostgreSQL database's schema, the plans of every question, and the URLs that name databases."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from itertools import chain

import pytest

from penstock.stores import BadStoreURL, StoreRejected, StoreUnavailable, sql_store
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.postgres.binding import numbered
from penstock.stores.postgres.settings import parse
from penstock.testing.conformance.records import START_US, message
from tests.conformance.postgres_server import Postgres, Schema
from tests.conformance.questions_asked import asked, searched


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url)
    yield store
    await store.close()


# The schema


def test_processes_that_race_to_set_up_all_succeed(schema: Schema) -> None:
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_set_up, args=(schema.url,)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert [racer.exitcode for racer in racers] == [0] * 4
    assert schema.rows("SELECT number, name FROM schema_migrations") == [(1, "initial"), (2, "state"), (3, "search")]


def _set_up(url: str) -> None:
    async def main() -> None:
        store = open_sql(url)
        await store.setup()
        await store.close()

    asyncio.run(main())


async def test_who_comes_second_waits_for_the_lock_and_finds_nothing_to_do(
    store: PostgresStore, schema: Schema
) -> None:
    schema.execute("BEGIN", "SELECT pg_advisory_xact_lock(5046264823)")
    second = asyncio.create_task(store.setup())
    done, _ = await asyncio.wait([second], timeout=0.2)
    schema.execute("COMMIT")

    assert not done
    await second


async def test_a_lock_that_is_never_let_go_is_unavailable(schema: Schema) -> None:
    store = open_sql(schema.url + "&timeout=1")
    schema.execute("BEGIN", "SELECT pg_advisory_xact_lock(5046264823)")
    with pytest.raises(StoreUnavailable, match="another process has been migrating"):
        await store.setup()
    schema.execute("COMMIT")
    await store.close()


async def test_a_role_that_may_only_write_rows_passes_the_setup(schema: Schema, postgres: Postgres) -> None:
    owner = open_sql(schema.url)
    await owner.setup()
    await owner.close()
    role = f"{schema.name}_writer"
    postgres.execute(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema.name} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema.name} TO {role}",
    )
    store = open_sql(schema.url.replace("postgres:@", f"{role}:@"))

    await store.setup()
    assert await store.write([message(0)]) == 1
    await store.close()
    postgres.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_newer_schema_is_refused_with_both_numbers(store: PostgresStore, schema: Schema) -> None:
    await store.setup()
    schema.execute("INSERT INTO schema_migrations VALUES (9, 'later', 'x')")

    for call in (store.setup(), store.check(), store.message(message(0).id)):
        with pytest.raises(StoreRejected, match=r"version 9.* up to 3"):
            await call


async def test_a_migration_that_was_edited_is_refused(store: PostgresStore, schema: Schema) -> None:
    await store.setup()
    schema.execute("UPDATE schema_migrations SET checksum = 'other'")

    with pytest.raises(StoreRejected, match="migration 1"):
        await store.setup()


async def test_a_database_without_our_tables_is_told_apart(store: PostgresStore) -> None:
    with pytest.raises(StoreUnavailable, match="no Penstock tables"):
        await store.check()
    with pytest.raises(StoreUnavailable, match="setup"):
        await store.write([message(0)])

    await store.setup()
    await store.check()


# Plans


def _fill(schema: Schema) -> None:
    # Beyond every partition that a test makes: a day holds one of three million random ids.
    own = "overlay(gen_random_uuid()::text PLACING 'f' FROM 1 FOR 1)::uuid"
    at = "'2025-06-15T15:06:40Z'::timestamptz + n * interval '1 ms'"
    data = """json_build_object('type', CASE n % 9 WHEN 0 THEN 'tech' ELSE 'other' END, 'n', n % 7)"""
    schema.execute(
        f"""INSERT INTO messages (id, created_at, session_id, role, content, user_id, message_type, platform,
            engine_session_id, provider_session_id, provider_type, channel_id, thread_id,
            bot_user_id, metadata, version, normalised)
        SELECT {own}, {at}, 's' || n % 500, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
            repeat('x', 300), 'u' || n % 100, CASE n % 3 WHEN 0 THEN 'a' END, 'p' || n % 2, 'e' || n % 500,
            'p' || n % 500, 't' || n % 3, 'c' || n % 100, 't' || n % 500, 'b' || n % 10, {data}, 0, false
        FROM generate_series(1, 20000) AS n""",
        f"""INSERT INTO logs (id, created_at, level, event, message, agent_id, task_id, data, normalised)
        SELECT {own}, {at}, n % 5 * 10, 'e' || n % 50, repeat('x', 200), 'a' || n % 100, 't' || n % 500,
            {data}, false
        FROM generate_series(1, 20000) AS n""",
        f"""INSERT INTO sessions
        SELECT 's' || n, 'u' || n % 100, 'p' || n % 2, 1, {at}, {at}, gen_random_uuid()
        FROM generate_series(1, 20000) AS n""",
        f"""INSERT INTO tasks (id, record_id, stamp, created_at, updated_at, agent_id, task_type, enabled, status, data,
            normalised)
        SELECT 't' || n, gen_random_uuid(), gen_random_uuid(), {at}, {at}, 'a' || n % 500, 't' || n % 50, true,
            CASE n % 20 WHEN 0 THEN 'failed' ELSE 'status ' || n % 20 END, {data}, false
        FROM generate_series(1, 20000) AS n""",
        f"""INSERT INTO agent_states (agent_id, record_id, stamp, created_at, updated_at, state, role, normalised)
        SELECT 'a' || n, gen_random_uuid(), gen_random_uuid(), {at}, {at}, 'idle',
            CASE n % 3 WHEN 0 THEN 'coder' ELSE 'analyst' END, false
        FROM generate_series(1, 20000) AS n""",
        f"""INSERT INTO contexts (id, record_id, stamp, created_at, updated_at, agent_id, session_id, data, normalised)
        SELECT 'c' || n, gen_random_uuid(), gen_random_uuid(), {at}, {at}, 'a' || n % 500, 's' || n % 500, {data}, false
        FROM generate_series(1, 20000) AS n""",
        f"""INSERT INTO key_values (namespace, key, record_id, stamp, created_at, updated_at, normalised)
        SELECT 'n' || n % 2, 'k' || n, gen_random_uuid(), gen_random_uuid(), {at}, {at}, false
        FROM generate_series(1, 20000) AS n""",
        """INSERT INTO search_entries (message_id, version, created_at, words)
        SELECT id, 0, created_at, ' ' || words || ' '
        FROM (
            SELECT id, created_at, concat_ws(' ', 'w' || n % 500, 'w' || n % 500 + 1, 'w' || n % 7, 'x' || n) AS words
            FROM (SELECT id, created_at, row_number() OVER (ORDER BY created_at) AS n FROM messages) AS numbered
        ) AS texts""",
        *(f"VACUUM ANALYZE {table}" for table in ("search_entries", "tasks", "agent_states", "contexts", "key_values")),
        "VACUUM ANALYZE messages",
        "VACUUM ANALYZE logs",
        "VACUUM ANALYZE sessions",
    )


async def test_every_question_is_answered_through_an_index(store: PostgresStore, schema: Schema) -> None:
    await store.setup()
    _fill(schema)

    plans: dict[str, str] = {}
    async with store._pool.connection() as connection:
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            for question in chain(asked(store._questions, START_US), searched(store._questions, START_US)):
                sql, given = numbered(question)
                await connection.execute(f"PREPARE asked AS {sql}")
                values = ", ".join([_literal(value) for value in given])
                rows = await connection.fetch(f"EXPLAIN EXECUTE asked{f'({values})' if values else ''}")
                await connection.execute("DEALLOCATE asked")
                plans[f"{mode}: {sql} {given}"] = "\n".join(row[0] for row in rows)

    assert {asked: plan for asked, plan in plans.items() if "Seq Scan" in plan} == {}


def _literal(value: object) -> str:
    if isinstance(value, tuple):
        return f"'{{{', '.join(f'{each.hex() if isinstance(each, bytes) else each}' for each in value)}}}'"
    if isinstance(value, bytes):
        return f"'{value.hex()}'::uuid"
    if isinstance(value, int) and value >= START_US:
        return f"timestamptz 'epoch' + {value} * interval '1 microsecond'"
    return "'" + str(value).replace("'", "''") + "'"


# URLs


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (
            "postgresql://ada:secret@h/db?pool=3",
            "no option 'pool'; known are pool_min, pool_max, pool_recycle_s, pool_pre_ping, timeout",
        ),
        ("postgresql://ada:secret@h/db?pool_max=many", "a whole number"),
        ("postgresql://ada:secret@h/db?pool_max=0", "1 to"),
        ("postgresql://ada:secret@h/db?pool_min=5", "0 to pool_max"),
        ("postgresql://ada:secret@h/db?pool_recycle_s=-1", "0 to"),
        ("postgresql://ada:secret@h/db?pool_pre_ping=perhaps", "true or false"),
        ("postgresql://ada:secret@h/db?pool_size=0", "a pool without a limit is not offered"),
        ("postgresql://ada:secret@h/db?max_overflow=-1", "a pool without a limit is not offered"),
        ("postgresql://ada:secret@h/db?pool_max=3&pool_size=5", "pool_max is given twice, also as pool_size"),
        ("postgresql://ada:secret@h/db?pool_recycle=many", "a whole number"),
        ("postgresql://ada:secret@h/db?timeout=0", "1 to"),
        ("postgresql://ada:secret@h/db?statement_cache_size=-1", "0 to"),
        ("postgresql://ada:secret@[h/db", "no URL of a PostgreSQL server"),
        ("mysql://ada:secret@h/db", "no URL of a PostgreSQL server"),
    ],
)
def test_a_url_that_makes_no_sense_says_why_and_no_password(url: str, complaint: str) -> None:
    with pytest.raises(BadStoreURL, match=complaint) as caught:
        parse(url)

    assert "secret" not in str(caught.value)


def test_a_url_may_be_spelt_in_three_ways() -> None:
    for scheme in ("postgresql", "postgres", "postgresql+asyncpg"):
        store = sql_store(f"{scheme}://h/db")
        assert isinstance(store, PostgresStore)
        assert store._settings.dsn == "postgresql://h/db"


def test_options_of_libpq_pass_through_and_ours_do_not() -> None:
    settings = parse(
        "postgresql://ada:p%40ss@a:1,b:2/db?pool_max=9&sslmode=require&timeout=5&options=-csearch_path%3Dx"
    )

    assert settings.dsn == "postgresql://ada:p%40ss@a:1,b:2/db?sslmode=require&options=-csearch_path%3Dx"
    assert (settings.where, settings.pool_max, settings.timeout) == ("a:1,b:2/db", 9, 5)
    assert "p%40ss" not in repr(settings)


async def test_an_option_that_libpq_would_refuse_is_a_bad_url() -> None:
    store = open_sql("postgresql://h/db?sslmode=perhaps")

    with pytest.raises(BadStoreURL, match="sslmode"):
        await store.check()
