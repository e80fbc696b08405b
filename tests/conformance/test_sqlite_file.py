"""What only SQLite has: a file, other processes on it, a disk that fills, plans that use its indexes."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from penstock.stores import BadStoreURL, Fence, StoreRejected, StoreUnavailable
from penstock.stores.rows import LogQuery, MessageQuery, Position, SessionQuery
from penstock.stores.sqlite import SqliteStore, open_sql, questions
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.stores.sqlite.questions import Question
from penstock.stores.sqlite.settings import parse
from penstock.wire.records import Record
from tests.conformance.sql_contract import START_US, counted, embedding, log, message
from tests.conformance.sqlite_file import locked_by_a_stranger, rows, session_counts, stored_messages

HASTE = "?busy_timeout_ms=20"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = open_sql(f"sqlite:///{path}{HASTE}")
    await store.setup()
    yield store
    await store.close()


# Errors


async def test_a_strangers_lock_is_unavailable_and_passes(store: SqliteStore, path: Path) -> None:
    release = locked_by_a_stranger(path)
    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        await store.write([message(0)])
    release()

    assert await store.write([message(0)]) == 1


async def test_a_full_disk_is_unavailable_and_leaves_nothing(path: Path) -> None:
    store = open_sql(f"sqlite:///{path}?max_size_mb=1")
    await store.setup()
    await store.write([message(0)])

    with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
        await store.write([message(1), message(2)._replace(content="x" * 2_000_000)])

    assert stored_messages(path) == [message(0)]
    assert await store.write([message(1)]) == 1
    await store.close()


async def test_a_trigger_that_aborts_is_a_refusal(store: SqliteStore, path: Path) -> None:
    _execute(
        path, "CREATE TRIGGER no_x BEFORE INSERT ON messages WHEN new.role = 'x' BEGIN SELECT RAISE(ABORT, 'no x'); END"
    )

    with pytest.raises(StoreRejected, match="no x"):
        await store.write([message(0), message(1)._replace(role="x")])

    assert stored_messages(path) == []


@pytest.mark.parametrize(
    "bad",
    [
        message(9)._replace(content="secret \ud800"),
        message(9)._replace(created_at_us=2**63),
        message(9)._replace(metadata=b"{secret"),
        message(9)._replace(role=None),  # type: ignore[arg-type] # what a broken producer may send
        message(9)._replace(content=["secret"]),  # type: ignore[arg-type] # as above
        message(9)._replace(id=b"short"),
        message(9)._replace(session_id=["secret"]),  # type: ignore[arg-type] # as above
        message(9)._replace(state="secret"),
        log(9)._replace(data=b"[secret"),
    ],
)
async def test_a_row_that_cannot_be_is_refused_alone_and_not_quoted(
    store: SqliteStore, path: Path, bad: Record
) -> None:
    batch: list[Record] = [message(0), bad]

    with pytest.raises(StoreRejected) as caught:
        await store.write(batch)

    assert "secret" not in str(caught.value)
    assert stored_messages(path) == []
    assert await store.write([message(0)]) == 1


async def test_batches_that_wait_together_share_a_commit_and_not_a_fate(store: SqliteStore, path: Path) -> None:
    release = locked_by_a_stranger(path)
    patient = open_sql(f"sqlite:///{path}")
    first = asyncio.create_task(patient.write([message(0)]))
    await _until(lambda: patient._writer._jobs.empty() and patient._writer._thread is not None)
    batches: list[list[Record]] = [[message(1)], [message(2), embedding()], [message(3, "t")], [message(4, "t")]]
    waiting = [asyncio.create_task(patient.write(batch, Fence("a", n))) for n, batch in enumerate(batches)]
    await asyncio.sleep(0)
    release()

    outcomes = await asyncio.gather(first, *waiting, return_exceptions=True)
    await patient.close()

    assert [*outcomes[:2], *outcomes[3:]] == [1, 1, 1, 1]
    assert isinstance(outcomes[2], StoreRejected)
    assert session_counts(path) == counted([message(0), message(1), message(3, "t"), message(4, "t")])


async def test_callers_that_fail_together_get_an_error_each(store: SqliteStore, path: Path) -> None:
    release = locked_by_a_stranger(path)
    outcomes = await asyncio.gather(*(store.write([message(n)]) for n in range(3)), return_exceptions=True)
    release()

    assert [type(each) for each in outcomes] == [StoreUnavailable] * 3
    assert len({id(each) for each in outcomes}) == 3


async def test_a_bug_reaches_its_caller_and_the_store_goes_on(store: SqliteStore, path: Path) -> None:
    class Broken(list[Record]):
        def __iter__(self) -> Iterator[Record]:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await store.write(Broken([message(0)]))

    assert await store.write([message(0)]) == 1


async def test_more_sessions_than_are_remembered_keep_their_numbers(store: SqliteStore, path: Path) -> None:
    numbers = SessionNumbers(remembered=2)
    await store.write([message(number, f"s{number}") for number in range(5)])

    with closing(sqlite3.connect(path)) as connection:
        numbers.begin(connection)
        found = [numbers.of(connection, sessions) for sessions in (["s0", "s1"], ["s2", "s3", "s4"])]
        numbers.commit()

        assert [*found[0].values(), *found[1].values()] == [1, 2, 3, 4, 5]
        assert list(numbers._known) == ["s3", "s4"]
        assert numbers.of(connection, ["s0", "s4"]) == {"s0": 1, "s4": 5}


async def test_a_cancelled_writer_disturbs_no_loop(store: SqliteStore, path: Path) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    write = asyncio.create_task(store.write([message(0)]))
    await asyncio.sleep(0)
    write.cancel()
    await store.write([message(1)])

    assert len(stored_messages(path)) == 2
    assert complaints == []


async def test_questions_that_come_together_open_one_connection(store: SqliteStore) -> None:
    before = threading.active_count()

    await asyncio.gather(*(store.check() for _ in range(5)))

    assert threading.active_count() == before + 1


async def test_a_session_of_a_refused_batch_leaves_no_number_behind(store: SqliteStore, path: Path) -> None:
    """Its number goes to the next session; the writer must not remember it."""
    with pytest.raises(StoreRejected):
        await store.write([message(0, "refused"), message(1)._replace(id=b"short")])

    await store.write([message(2, "next")])
    await store.write([message(3, "refused")])

    assert session_counts(path) == counted([message(2, "next"), message(3, "refused")])
    assert [each.session_id for each in stored_messages(path)] == ["next", "refused"]


# The file


async def test_a_file_that_was_moved_away_is_missed_and_not_written(store: SqliteStore, path: Path) -> None:
    await store.write([message(0)])
    path.rename(path.with_name("away.db"))

    with pytest.raises(StoreUnavailable, match="not there"):
        await store.write([message(1)])

    assert not path.exists()


async def test_a_file_that_came_back_is_written_again(store: SqliteStore, path: Path) -> None:
    await store.write([message(0)])
    away = path.with_name("away.db")
    path.rename(away)
    with pytest.raises(StoreUnavailable):
        await store.write([message(1)])
    away.rename(path)

    assert await store.write([message(1)]) == 1


async def test_a_file_that_was_replaced_is_written_with_its_own_session_numbers(store: SqliteStore, path: Path) -> None:
    await store.write([message(0, "a"), message(1, "b")])
    path.rename(path.with_name("away.db"))
    path.with_name("p.db-wal").unlink()
    path.with_name("p.db-shm").unlink()
    other = open_sql(f"sqlite:///{path}")
    await other.setup()
    await other.write([message(2, "b"), message(3, "a")])
    await other.close()

    await store.write([message(4, "a")])

    assert [each.session_id for each in stored_messages(path)] == ["b", "a", "a"]


async def test_a_new_file_has_large_pages_and_a_log(store: SqliteStore, path: Path) -> None:
    assert rows(path, "PRAGMA page_size") == [(8192,)]
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]


async def test_setup_makes_the_folder(tmp_path: Path) -> None:
    store = open_sql(f"sqlite:///{tmp_path}/a/b/p.db")

    await store.setup()
    await store.close()

    assert (tmp_path / "a/b/p.db").exists()


async def test_reading_creates_no_file(path: Path) -> None:
    store = open_sql(f"sqlite:///{path}")

    with pytest.raises(StoreUnavailable, match="has a worker stored anything yet"):
        await store.messages(MessageQuery())

    assert list(path.parent.iterdir()) == []
    await store.close()


async def test_a_file_without_our_tables_is_told_apart(path: Path) -> None:
    _execute(path, "CREATE TABLE other (a)")
    store = open_sql(f"sqlite:///{path}")

    with pytest.raises(StoreUnavailable, match="no Penstock tables"):
        await store.check()
    with pytest.raises(StoreUnavailable, match="setup"):
        await store.write([message(0)])
    await store.close()


async def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be read as one" * 50)
    store = open_sql(f"sqlite:///{path}{HASTE}")

    with pytest.raises(StoreUnavailable, match="NOTADB"):
        await store.setup()
    with pytest.raises(StoreUnavailable, match="NOTADB"):
        await store.check()
    await store.close()


async def test_the_view_shows_ids_and_times_readably(store: SqliteStore, path: Path) -> None:
    await store.write([message(7)])

    shown = await store.message(message(7).id)

    assert shown is not None
    assert rows(path, "SELECT id, created_at, session_id, content, state FROM message_text") == [
        (shown.id, "2025-06-15T15:06:40.000007Z", "s", "text 7", "complete")
    ]


# Several processes


async def test_two_processes_write_one_file_and_count_right(store: SqliteStore, path: Path) -> None:
    code = (
        "import asyncio, sys; from penstock.stores.sqlite import open_sql;"
        "from tests.conformance.sql_contract import message\n"
        "async def main():\n"
        "    store = open_sql('sqlite:///' + sys.argv[1]); await store.setup()\n"
        "    for at in range(0, 300, 10):\n"
        "        await store.write([message(n, f's{n % 7}') for n in range(at, at + 20)])\n"
        "    await store.close()\n"
        "asyncio.run(main())"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(path), cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL
    )
    patient = open_sql(f"sqlite:///{path}")
    for at in range(400, 0, -10):
        await patient.write([message(n, f"s{n % 7}") for n in range(at - 20, at)])
    await patient.close()

    assert await other.wait() == 0
    assert session_counts(path) == counted([message(n, f"s{n % 7}") for n in range(-10, 400)])


async def test_a_reader_in_another_process_sees_what_is_committed(store: SqliteStore, path: Path) -> None:
    await store.write([message(number) for number in range(700)])
    code = (
        "import asyncio, sys; from penstock.query import Reader\n"
        "async def main():\n"
        "    async with Reader.open(sql='sqlite:///' + sys.argv[1]) as reader:\n"
        "        print(len([each async for each in reader.all_messages('s')]), await reader.count_messages('s'))\n"
        "asyncio.run(main())"
    )
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path), stdout=subprocess.PIPE)
    while reader.returncode is None:
        await store.write([message(999, "other")])
        await asyncio.wait([asyncio.create_task(reader.wait())], timeout=0.001)
    shown = await reader.communicate()

    assert shown[0].split() == [b"700", b"700"]


async def test_what_a_killed_writer_left_is_read(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """The log is still there and the index of the log is not, as after a power loss."""
    await store.write([message(0)])
    left = tmp_path / "left.db"
    left.write_bytes(path.read_bytes())
    left.with_name("left.db-wal").write_bytes(path.with_name("p.db-wal").read_bytes())
    before = left.read_bytes()
    reader = open_sql(f"sqlite:///{left}")

    found = await reader.message(message(0).id)
    await reader.close()

    assert found is not None
    assert left.read_bytes() == before  # a reader does not checkpoint, not even when it closes last
    assert await _stored_by_a_new_store(left, message(1)) == 1


def test_processes_that_race_to_set_up_all_succeed(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_set_up, args=(str(path),)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    assert rows(path, "SELECT number, name FROM schema_migrations") == [(1, "initial")]


def _set_up(path: str) -> None:
    async def main() -> None:
        store = open_sql(f"sqlite:///{path}")
        await store.setup()
        await store.close()

    asyncio.run(main())


async def test_a_second_writer_is_warned_of_where_sqlite_is_old(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    second = open_sql(f"sqlite:///{path}")
    with capture_logs() as old:
        await second.write([message(0)])
    await second.close()
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    third = open_sql(f"sqlite:///{path}")
    with capture_logs() as new:
        await third.write([message(1)])
    await third.close()

    assert [each["event"] for each in old] == ["sqlite_has_two_writers"]
    assert new == []


async def test_the_second_writer_checkpoints_only_when_the_first_is_gone(path: Path) -> None:
    first, second = (open_sql(f"sqlite:///{path}?wal_autocheckpoint=1") for _ in range(2))
    await first.setup()
    await first.write([message(1)])
    # More than the 1,000 pages after which SQLite would checkpoint by itself.
    await second.write([message(2), message(4)._replace(content="x" * 9_000_000)])
    beside_the_first = path.read_bytes()
    await first.close()
    await second.write([message(3)])

    assert (b"text 1" in beside_the_first, b"text 2" in beside_the_first) == (True, False)
    assert b"text 2" in path.read_bytes()
    await second.close()


async def test_another_process_that_made_the_session_anew_is_noticed(store: SqliteStore, path: Path) -> None:
    """Remembered session numbers are void once another connection has written."""
    await store.write([message(0), message(1, "t")])
    _execute(path, "DELETE FROM messages", "DELETE FROM sessions", "UPDATE fences SET epoch = 0")

    await store.write([message(2, "t")])

    assert [(each.session_id, each.content) for each in stored_messages(path)] == [("t", "text 2")]


async def test_closing_the_last_connection_leaves_one_file(path: Path) -> None:
    store = open_sql(f"sqlite:///{path}")
    await store.setup()
    await store.write([message(0)])
    await store.check()
    await store.close()

    assert sorted(each.name for each in path.parent.iterdir()) == ["p.db", "p.db-writer"]


# Schema


async def test_a_newer_schema_is_refused_with_both_numbers(store: SqliteStore, path: Path) -> None:
    _execute(path, "INSERT INTO schema_migrations VALUES (9, 'later', 'x', 0)")
    fresh = open_sql(f"sqlite:///{path}")

    for call in (fresh.setup(), fresh.check()):
        with pytest.raises(StoreRejected, match=r"version 9.* up to 1"):
            await call
    await fresh.close()


async def test_a_migration_that_was_edited_is_refused(store: SqliteStore, path: Path) -> None:
    _execute(path, "UPDATE schema_migrations SET checksum = 'other'")

    with pytest.raises(StoreRejected, match="migration 1"):
        await store.setup()


# Plans


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


# URLs


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


async def _stored_by_a_new_store(path: Path, record: Record) -> int:
    store = open_sql(f"sqlite:///{path}")
    try:
        return await store.write([record])
    finally:
        await store.close()


def _execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
