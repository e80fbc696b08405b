"""What only SQLite has, in one process: refusals, a disk that fills, a file that moves away."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.stores import Fence, StoreRejected, StoreUnavailable
from penstock.stores.queries import MessageQuery
from penstock.stores.sqlite import SqliteStore, open_sql
from penstock.stores.sqlite.batch import Batch
from penstock.stores.sqlite.connection import WritingConnection
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.stores.sqlite.settings import parse
from penstock.testing.conformance.records import counted, embedding, log, message
from penstock.wire.records import Record
from tests.conformance.sqlite_file import execute, locked_by_a_stranger, rows, session_counts, stored_messages


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
    execute(
        path, "CREATE TRIGGER no_x BEFORE INSERT ON messages WHEN new.role = 'x' BEGIN SELECT RAISE(ABORT, 'no x'); END"
    )

    with pytest.raises(StoreRejected, match="a trigger refuses the row"):
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
    await other.write([message(2, "b")])
    await other.write([message(3, "a")])
    await other.close()

    await store.write([message(4, "a")])

    assert [each.session_id for each in stored_messages(path)] == ["b", "a", "a"]


async def test_a_file_put_in_place_of_the_open_one_gets_none_of_its_log(store: SqliteStore, path: Path) -> None:
    """What was stored goes with the file that was moved away; the log left behind would be read into the new one."""
    await store.write([message(0)])
    copy = path.with_name("copy.db")
    await store.back_up(copy, lambda *_: None)
    await store.write([message(1)])
    path.rename(path.with_name("away.db"))
    copy.rename(path)

    assert await store.write([message(0), message(2)]) == 1

    assert stored_messages(path) == [message(0), message(2)]
    assert stored_messages(path.with_name("away.db")) == [message(0), message(1)]


async def test_a_log_is_not_taken_from_those_who_read_a_file_that_was_replaced(store: SqliteStore, path: Path) -> None:
    await store.write([message(0)])
    copy = path.with_name("copy.db")
    await store.back_up(copy, lambda *_: None)
    async with store.snapshot():
        path.rename(path.with_name("away.db"))
        copy.rename(path)
        with pytest.raises(StoreUnavailable, match="while others read from it"):
            await store.write([message(1)])

    assert await store.write([message(1)]) == 1


@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "not noticed"])
async def test_two_writers_go_on_in_a_file_that_was_away_for_a_moment(
    store: SqliteStore, path: Path, *, is_noticed: bool
) -> None:
    other = open_sql(f"sqlite:///{path}")
    await store.write([message(0)])
    await other.write([message(1)])
    path.rename(path.with_name("away.db"))
    if is_noticed:
        with pytest.raises(StoreUnavailable, match="not there"):
            await store.write([message(2)])
    path.with_name("away.db").rename(path)

    assert [await each.write([message(number)]) for number, each in ((2, other), (3, store), (4, other))] == [1, 1, 1]
    await other.close()
    assert stored_messages(path) == [message(number) for number in range(5)]


async def replace_by_a_copy(store: SqliteStore, path: Path) -> None:
    """Put a copy of the file in its place, and the file away. Its log keeps its name."""
    copy = path.with_name("copy.db")
    await store.back_up(copy, lambda *_: None)
    path.rename(path.with_name("away.db"))
    copy.rename(path)


async def test_the_second_writer_of_a_replaced_file_waits_for_the_first(store: SqliteStore, path: Path) -> None:
    other = open_sql(f"sqlite:///{path}")
    await store.write([message(0)])
    await other.write([message(1)])
    await replace_by_a_copy(store, path)

    with pytest.raises(StoreUnavailable, match="another writer"):
        await other.write([message(2)])
    assert await store.write([message(2)]) == 1
    assert await other.write([message(3)]) == 1

    await other.close()
    assert stored_messages(path) == [message(number) for number in range(4)]


async def test_a_reader_waits_for_the_first_writer_of_a_replaced_file(store: SqliteStore, path: Path) -> None:
    """With the index of the old log in its process, its writer would ruin the new file."""
    other = open_sql(f"sqlite:///{path}")
    await store.write([message(0)])
    await other.write([message(1)])
    await other.messages(MessageQuery())
    await replace_by_a_copy(store, path)

    with pytest.raises(StoreUnavailable, match="another writer"):
        await other.messages(MessageQuery())
    await store.write([message(2)])

    assert len(await other.messages(MessageQuery())) == 3
    await other.close()


async def test_one_that_only_reads_waits_for_no_writer_of_a_replaced_file(store: SqliteStore, path: Path) -> None:
    reader = open_sql(f"sqlite:///{path}")
    await store.write([message(0)])
    await reader.messages(MessageQuery())
    await replace_by_a_copy(store, path)

    assert len(await reader.messages(MessageQuery())) == 1
    await reader.close()


async def test_a_reader_of_a_replaced_file_needs_no_write_where_nobody_else_writes(
    store: SqliteStore, path: Path
) -> None:
    await store.write([message(0)])
    copy = path.with_name("copy.db")
    await store.back_up(copy, lambda *_: None)
    await store.write([message(1)])
    before = len(await store.messages(MessageQuery()))
    path.rename(path.with_name("away.db"))
    copy.rename(path)

    assert (before, len(await store.messages(MessageQuery()))) == (2, 1)
    assert stored_messages(path.with_name("away.db")) == [message(0), message(1)]


def test_a_log_goes_after_its_index(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (WritingConnection(parse(f"sqlite:///{path}")) for _ in range(2))
    first.setup()
    second.write([Batch.of([message(0)])])
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(path.with_name("copy.db"))) as target:
        source.backup(target)
    path.rename(path.with_name("away.db"))
    path.with_name("copy.db").rename(path)
    unlinked = []
    unlink = Path.unlink

    def watched(file: Path, *, missing_ok: bool = False) -> None:
        unlink(file, missing_ok=missing_ok)
        unlinked.append(file.name)
        if len(unlinked) == 1:
            with pytest.raises(StoreUnavailable, match="another writer"):
                second.write([Batch.of([message(2)])])

    monkeypatch.setattr(Path, "unlink", watched)

    assert first.write([Batch.of([message(1)])]) == [1]
    assert second.write([Batch.of([message(2)])]) == [1]
    assert unlinked == [f"{path.name}-shm", f"{path.name}-wal"]
    assert stored_messages(path) == [message(number) for number in range(3)]
    for each in (first, second):
        each.close()


async def test_a_reader_follows_the_name(store: SqliteStore, path: Path) -> None:
    await store.write([message(0)])
    copy = path.with_name("copy.db")
    await store.back_up(copy, lambda *_: None)
    await store.write([message(1)])
    before = len(await store.messages(MessageQuery()))
    path.rename(path.with_name("away.db"))
    copy.rename(path)
    await store.write([message(0)])

    assert (before, len(await store.messages(MessageQuery()))) == (2, 1)


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
    execute(path, "CREATE TABLE other (a)")
    store = open_sql(f"sqlite:///{path}")

    with pytest.raises(StoreUnavailable, match="no Penstock tables"):
        await store.check()
    with pytest.raises(StoreUnavailable, match="setup"):
        await store.write([message(0)])
    await store.close()


async def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be read as one" * 50)
    store = open_sql(f"sqlite:///{path}?busy_timeout_ms=20")

    with pytest.raises(StoreUnavailable, match="NOTADB"):
        await store.setup()
    with pytest.raises(StoreUnavailable, match="NOTADB"):
        await store.check()
    await store.close()


async def test_a_file_that_cannot_be_looked_for_is_unavailable(tmp_path: Path) -> None:
    store = open_sql(f"sqlite:///{tmp_path}/{'x' * 300}.db")

    with pytest.raises(StoreUnavailable, match=r"no database can be opened at .*: File name too long"):
        await store.count_messages(MessageQuery())
    await store.close()


async def test_a_file_that_cannot_be_opened_is_told_with_what_to_look_at(tmp_path: Path) -> None:
    store = open_sql(f"sqlite:///{tmp_path}")

    with pytest.raises(StoreUnavailable, match=r"SQLITE_CANTOPEN.*; is its folder there"):
        await store.setup()
    await store.close()


async def test_the_view_shows_ids_and_times_readably(store: SqliteStore, path: Path) -> None:
    await store.write([message(7)])

    shown = await store.message(message(7).id)

    assert shown is not None
    assert rows(path, "SELECT id, created_at, session_id, content, state FROM message_text") == [
        (shown.id, "2025-06-15T15:06:40.000007Z", "s", "text 7", "complete")
    ]


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
