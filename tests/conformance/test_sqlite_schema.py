"""A SQLite file's schema, the plans of every question, and the URLs that name files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from penstock.stores import BadStoreURL, StoreRejected, filters
from penstock.stores.queries import KeyValueQuery, LogQuery, MessageQuery, Position
from penstock.stores.questions import Query
from penstock.stores.sqlite import SqliteStore, open_sql
from penstock.stores.sqlite.reading import _bound
from penstock.stores.sqlite.settings import parse
from penstock.testing.conformance.records import START_US, log, message
from penstock.testing.conformance.state_records import key_value
from tests.conformance.questions_asked import asked, searched
from tests.conformance.sqlite_file import execute


async def test_a_newer_schema_is_refused_with_both_numbers(store: SqliteStore, path: Path) -> None:
    execute(path, "INSERT INTO schema_migrations VALUES (9, 'later', 'x', 0)")
    fresh = open_sql(f"sqlite:///{path}")

    for call in (fresh.setup(), fresh.check()):
        with pytest.raises(StoreRejected, match=r"version 9.* up to 3"):
            await call
    await fresh.close()


async def test_a_migration_that_was_edited_is_refused(store: SqliteStore, path: Path) -> None:
    execute(path, "UPDATE schema_migrations SET checksum = 'other'")

    with pytest.raises(StoreRejected, match="migration 1"):
        await store.setup()


async def test_every_question_is_answered_through_an_index(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        plans = {
            question.sql: [
                row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", _bound(question.values))
            ]
            for question in asked(store._questions, START_US)
        }

    assert {sql: steps for sql, steps in plans.items() if any(map(_is_a_walk_through_a_table, steps))} == {}


async def test_a_search_looks_at_what_has_the_words_and_at_nothing_else(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        plans = [
            [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", _bound(question.values))]
            for question in searched(store._questions, START_US)
        ]

    assert len(plans) == 16
    for steps in plans:
        words, *rest = [step for step in steps if step != "USE TEMP B-TREE FOR ORDER BY"]
        assert words.startswith("SCAN w VIRTUAL TABLE INDEX 0:M")
        assert [step for step in rest if _is_a_walk_through_a_table(step)] == []


def _is_a_walk_through_a_table(step: str) -> bool:
    # Rows of one microsecond are sorted by id, which is the right part of an order; a whole page never is.
    if step == "USE TEMP B-TREE FOR ORDER BY":
        return True
    words = step.split()
    return (
        words[0] == "SCAN"
        and "USING" not in words
        and words[1] not in ("wanted", "json_each", "item", "CONSTANT", "ROW")
    )


_MIDDLE = Position(START_US + 901, b"")


@pytest.mark.parametrize(
    ("subject", "query"),
    [
        ("message", MessageQuery(session_id="s1", limit=10, after=_MIDDLE)),
        ("message", MessageQuery(where=filters.parse({"odd": True}), limit=10, after=_MIDDLE)),
        ("log", LogQuery(min_level=30, limit=10)),
        ("log", LogQuery(level=40, ascending=False, limit=10)),
        ("key_value", KeyValueQuery(now_us=START_US, namespace="n", prefix="key 1", limit=2_000)),
    ],
    ids=str,
)
async def test_a_page_reads_an_index_only_as_far_as_needed(
    store: SqliteStore, path: Path, subject: str, query: Query
) -> None:
    await store.write(
        [message(n, f"s{n % 2}", metadata=b'{"odd":%s}' % (b"true" if n % 2 else b"false")) for n in range(2_000)]
    )
    await store.write([log(n, level=40 if 1_000 <= n < 1_010 else 20) for n in range(2_000)])
    await store.write([key_value(n, f"key {n % 2} {n}" if n < 20 else f"later {n}") for n in range(2_000)])
    question = store._questions.page(subject, query)

    with closing(sqlite3.connect(path)) as connection:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection.set_progress_handler(count, 100)
        found = connection.execute(question.sql, _bound(question.values)).fetchall()

    assert len(found) == 10
    assert steps < 25


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqlite://penstock.db", "names a host"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///p.db?sync=OFF", "known are synchronous, busy_timeout_ms"),
        ("sqlite:///p.db?synchronous=OFF", "FULL, NORMAL or EXTRA"),
        ("sqlite:///p.db?busy_timeout_ms=soon", "a whole number"),
        ("sqlite:///p.db?cache_kib=-1", "0 to"),
    ],
)
def test_a_url_that_makes_no_sense_says_why(url: str, complaint: str) -> None:
    with pytest.raises(BadStoreURL, match=complaint):
        parse(url)


def test_a_url_names_a_file_here_or_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert parse("sqlite:///./p.db").path == tmp_path / "p.db"
    assert parse("sqlite+aiosqlite:////var/p%20q.db").path == Path("/var/p q.db")
    assert parse("sqlite:///p.db?synchronous=normal&max_size_mb=5").synchronous == "NORMAL"


async def test_a_path_may_hold_what_a_uri_may_not(tmp_path: Path) -> None:
    store = open_sql(f"sqlite:///{tmp_path}/a%3Fb %23c.db")
    await store.setup()
    await store.write([message(0)])

    assert (await store.message(message(0).id)) is not None
    assert (tmp_path / "a?b #c.db").exists()
    await store.close()
