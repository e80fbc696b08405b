"""A SQLite file's schema, the plans of every question, and the URLs that name files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.stores import BadStoreURL, StoreRejected
from penstock.stores.rows import LogQuery, MessageQuery, Position, SessionQuery
from penstock.stores.sqlite import SqliteStore, open_sql, questions
from penstock.stores.sqlite.questions import Question
from penstock.stores.sqlite.settings import parse
from tests.conformance.sql_records import START_US, message
from tests.conformance.sqlite_file import execute


async def test_a_newer_schema_is_refused_with_both_numbers(store: SqliteStore, path: Path) -> None:
    execute(path, "INSERT INTO schema_migrations VALUES (9, 'later', 'x', 0)")
    fresh = open_sql(f"sqlite:///{path}")

    for call in (fresh.setup(), fresh.check()):
        with pytest.raises(StoreRejected, match=r"version 9.* up to 1"):
            await call
    await fresh.close()


async def test_a_migration_that_was_edited_is_refused(store: SqliteStore, path: Path) -> None:
    execute(path, "UPDATE schema_migrations SET checksum = 'other'")

    with pytest.raises(StoreRejected, match="migration 1"):
        await store.setup()


def _questions() -> Iterator[Question]:
    after = Position(START_US, b"0" * 16)
    for ascending in (True, False):
        for place in (None, after):
            for asked in (
                {}, {"session_id": "s"}, {"user_id": "u"}, {"engine_session_id": "e"}, {"provider_session_id": "p"},
                {"session_id": "s", "since_us": 1, "until_us": 2, "message_types": ["a"]}, {"since_us": 1},
                {"session_id": "s", "user_id": "u", "role": "r", "include_deleted": True}, {"platform": "p"},
            ):  # fmt: skip
                yield questions.messages(MessageQuery(**asked, ascending=ascending, after=place))
            for what in ({}, {"agent_id": "a"}, {"task_id": "t"}, {"event": "e"}, {"min_level": 40}, {"since_us": 1}):
                yield questions.logs(LogQuery(**what, ascending=ascending, after=place))
    for user in (None, "u"):
        yield questions.sessions(SessionQuery(user_id=user))
        yield questions.sessions(SessionQuery(user_id=user, after=Position(1, "s")))
    yield questions.message(b"0" * 16)
    yield questions.session("s")
    yield questions.partials([b"0" * 16, b"1" * 16])
    yield questions.message_count(MessageQuery(session_id="s"))
    yield questions.message_count(MessageQuery(user_id="u", until_us=9))
    yield questions.message_count(MessageQuery())
    yield questions.log_count(LogQuery(event="e"))


async def test_every_question_is_answered_through_an_index(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        plans = {
            question.sql: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question.sql}", question.values)]
            for question in _questions()
        }

    assert {sql: steps for sql, steps in plans.items() if any(map(_is_a_walk_through_a_table, steps))} == {}


def _is_a_walk_through_a_table(step: str) -> bool:
    # Rows of one microsecond are sorted by id, which is the right part of an order; a whole page never is.
    if step == "USE TEMP B-TREE FOR ORDER BY":
        return True
    words = step.split()
    return words[0] == "SCAN" and "USING" not in words and words[1] not in ("wanted", "json_each", "CONSTANT", "ROW")


async def test_pages_of_a_session_read_its_index_only_as_far_as_needed(store: SqliteStore, path: Path) -> None:
    await store.write([message(number, f"s{number % 2}") for number in range(2_000)])
    question = questions.messages(MessageQuery(session_id="s1", limit=10, after=Position(START_US + 901, b"")))

    with closing(sqlite3.connect(path)) as connection:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection.set_progress_handler(count, 100)
        found = connection.execute(question.sql, question.values).fetchall()

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
