"""`penstock export`, `import`, `copy` and `backup`, on every SQL backend."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from penstock.cli.exits import Code
from penstock.moving import Loader, back_up, export, load
from penstock.moving.sources import look_at
from penstock.stores.contract import SqlStore
from penstock.stores.memory.sql import open_sql
from penstock.stores.queries import LogQuery, TaskQuery
from penstock.stores.walking import TABLES
from penstock.testing.conformance.records import START_US, log, message
from penstock.testing.conformance.state_records import forgotten, hidden, key_value, task, task_status
from penstock.testing.conformance.walking import fill, walked
from tests.conformance.moving_support import Command, assert_prefix, opened, runner, started, writing
from tests.conformance.postgres_server import Postgres
from tests.conformance.sqlite_file import execute, rows
from tests.system.command import COMMAND

BACKENDS = ["sqlite", "postgres"]
PAIRS = [(one, other) for one in BACKENDS for other in BACKENDS]
UTC = ZoneInfo("UTC")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return runner(capsys)


@pytest.fixture
def new(tmp_path: Path, postgres: Postgres) -> Iterator[Callable[[str], str]]:
    """The URL of an empty store of a backend."""
    numbers = iter(range(100))
    with ExitStack() as schemas:

        def url(backend: str) -> str:
            if backend == "sqlite":
                return f"sqlite:///{tmp_path}/store{next(numbers)}.db"
            partitioned = "&level=2" if backend == "partitions" else ""
            return schemas.enter_context(postgres.schema()).url + partitioned

        yield url


New = Callable[[str], str]


async def exported(store: SqlStore) -> bytes:
    file = io.BytesIO()
    await export(store, file, list(TABLES), lambda *_: None)
    return file.getvalue()


async def filled(url: str) -> bytes:
    """What the store at *url*, filled with rows of every make, exports."""
    async with opened(url) as store:
        await fill(store)
        return await exported(store)


# Export and import


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_an_export_that_was_imported_is_exported_byte_for_byte(
    one: str, other: str, run: Command, new: New, tmp_path: Path
) -> None:
    file, again = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source, target = new(one), new(other)
    expected = await filled(source)

    assert (await run("export", file, "--sql", source)).code == Code.OK
    assert file.read_bytes() == expected
    for new_records in (expected.count(b"\n") - 2, 0):
        ran = await run("import", file, "--sql-url", target, "--json")
        assert (ran.code, ran.json()["new"], ran.json()["refused"]) == (Code.OK, new_records, 0)
    assert (await run("export", again, "--sql", target)).code == Code.OK
    assert again.read_bytes() == expected


async def test_memory_imports_what_others_export(new: New, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(await filled(new("sqlite")))
    store, complaints = open_sql("memory://"), list[str]()
    loader = Loader(store, complaints.append)

    await load(look_at(file), loader, UTC)
    await loader.flush()

    assert complaints == []
    assert await exported(store) == file.read_bytes()


async def test_a_store_goes_through_a_pipe_and_through_gzip(run: Command, new: New, tmp_path: Path) -> None:
    source, target = new("sqlite"), new("sqlite")
    expected = await filled(source)

    shown = await run("export", "--sql", source)
    packed = tmp_path / "e.jsonl.gz"
    assert (await run("export", packed, "--sql", source)).code == Code.OK
    importing = await started("import", "-", "--sql", target)
    _, complaints = await importing.communicate(shown.out.encode())

    assert shown.out.encode() == expected == gzip.decompress(packed.read_bytes())
    assert importing.returncode == Code.OK, complaints
    assert (await run("import", packed, "--sql", target, "--json")).json()["new"] == 0


async def test_some_tables_can_be_exported_alone(run: Command, new: New) -> None:
    url = new("sqlite")
    await filled(url)

    ran = await run("export", "--table", "logs", "--table", "deletions", "--sql", url)
    kinds = [line["kind"] for line in ran.lines()[1:]]

    assert ran.lines()[0]["tables"] == ["deletions", "logs"]
    assert list(dict.fromkeys(kinds)) == ["message_deletion", "log_event", "end"]
    assert (await run("export", "--table", "vectors", "--sql", url)).code == Code.USAGE


async def test_a_broken_line_costs_only_itself(run: Command, new: New, tmp_path: Path) -> None:
    lines = (await filled(new("sqlite"))).splitlines(keepends=True)
    file = tmp_path / "e.jsonl"
    lines[3] = lines[3][:-9] + b"\n"
    file.write_bytes(b"".join(lines))

    ran = await run("import", file, "--sql", new("sqlite"), "--json")

    assert ran.code == Code.NO
    assert f"{file}:4: no JSON" in ran.err
    assert ran.json()["records"] == len(lines) - 3


async def test_a_file_that_is_cut_off_or_lacks_lines_is_told(run: Command, new: New, tmp_path: Path) -> None:
    lines = (await filled(new("sqlite"))).splitlines(keepends=True)
    cut, lacking = tmp_path / "cut.jsonl", tmp_path / "lacking.jsonl"
    cut.write_bytes(b"".join(lines[:-1]))
    lacking.write_bytes(b"".join([*lines[:3], *lines[4:]]))

    first, second = [await run("import", file, "--sql", new("sqlite")) for file in (cut, lacking)]

    assert (first.code, second.code) == (Code.NO, Code.NO)
    assert f"{cut}:{len(lines)}: the file ends before its last line" in first.err
    assert "deletions: 4 records were written, 3 are here" in second.err


async def test_an_export_of_a_newer_format_is_refused_whole(run: Command, new: New, tmp_path: Path) -> None:
    file = tmp_path / "e.jsonl"
    file.write_bytes((await filled(new("sqlite"))).replace(b'{"penstock_export":1', b'{"penstock_export":2', 1))

    ran = await run("import", file, "--sql", new("sqlite"))

    assert ran.code == Code.NO
    assert "has format 2, this release reads up to 1; upgrade penstock" in ran.err


async def test_a_file_that_cannot_be_written_stays_what_it_was(run: Command, new: New, tmp_path: Path) -> None:
    url = new("sqlite")
    await filled(url)
    kept = tmp_path / "kept.jsonl"
    kept.write_text("before")

    nowhere = await run("export", tmp_path / "absent" / "e.jsonl", "--sql", url)
    absent = await run("export", kept, "--sql", f"sqlite:///{tmp_path}/absent.db")

    assert (nowhere.code, absent.code) == (Code.SETUP, Code.AWAY)
    assert kept.read_text() == "before"
    assert [each.name for each in tmp_path.glob(".*")] == []


async def test_an_export_whose_reader_has_seen_enough_ends_quietly(new: New) -> None:
    url = new("sqlite")
    async with opened(url) as store:
        await store.write([message(number)._replace(content="x" * 10_000) for number in range(100)])

    ours, theirs = os.pipe()
    exporting = await asyncio.create_subprocess_exec(
        *COMMAND, "export", "--sql", url, stdout=theirs, stderr=asyncio.subprocess.PIPE
    )
    os.close(theirs)
    first = await asyncio.to_thread(os.read, ours, 20)
    os.close(ours)
    _, complaints = await exporting.communicate()

    assert first == b'{"penstock_export":1'
    assert (exporting.returncode, complaints) == (Code.NO, b"")


async def test_what_is_no_file_is_written_to_as_it_is(run: Command, new: New, tmp_path: Path) -> None:
    url = new("sqlite")
    expected = await filled(url)
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "file")

    reading = asyncio.create_task(asyncio.to_thread(pipe.read_bytes))
    assert (await run("export", pipe, "--sql", url)).code == Code.OK
    assert (await run("export", link, "--sql", url)).code == Code.OK

    assert await reading == expected
    assert link.is_symlink()
    assert (tmp_path / "file").read_bytes() == expected


@pytest.mark.parametrize("command", ["export", "backup"])
async def test_a_store_is_not_written_over_itself(command: str, run: Command, new: New) -> None:
    url = new("sqlite")
    expected = await filled(url)

    ran = await run(command, url.removeprefix("sqlite:///"), "--sql", url)

    assert ran.code == Code.USAGE
    assert "is the store itself; give another name" in ran.err
    async with opened(url) as store:
        assert await exported(store) == expected


# What others wrote


async def test_events_are_imported_once_and_bad_lines_are_told(run: Command, new: New, tmp_path: Path) -> None:
    url, file = new("sqlite"), tmp_path / "events.jsonl"
    told = [{"type": "tick", "agent_id": "a", "severity": "error", "timestamp": 1_769_860_800 + n} for n in range(5)]
    file.write_text("".join(json.dumps(each) + "\n" for each in told) + "{broken\n\n{}\n" + '{"type":"last"}\n')

    first, second = [await run("import", file, "--sql", url, "--json") for _ in range(2)]

    assert (first.code, first.json()) == (Code.NO, {"records": 6, "new": 6, "refused": 2})
    assert (second.code, second.json()) == (Code.NO, {"records": 6, "new": 0, "refused": 2})
    assert f"{file}:6: no JSON" in first.err
    assert f"{file}:8: it has no type" in first.err
    async with opened(url) as store:
        assert len(await store.logs(LogQuery(agent_id="a", min_level=40))) == 5


async def test_a_folder_of_tasks_and_logs_is_imported_once(run: Command, new: New, tmp_path: Path) -> None:
    url, folder = new("sqlite"), tmp_path / "storage"
    (folder / "tasks").mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "tasks/one.json").write_text('{"agent_name": "coder", "status": "done", "created_at": "2026-01-31"}')
    (folder / "tasks/more.json").write_text('[{"id": "two"}, {"id": "three"}, 7]')
    (folder / "logs/app.log").write_text("2026-01-31 12:00:00 - app - ERROR - broke\n  Traceback\n")
    (folder / "notes.md").write_text("not for us")

    first = await run("import", folder, "--sql", url, "--json", "--timezone", "Europe/Berlin")
    second = await run("import", folder, "--sql", url, "--json", "--timezone", "Europe/Berlin")

    assert (first.code, first.json()) == (Code.NO, {"records": 5, "new": 5, "refused": 1})
    assert second.json()["new"] == 0
    assert "more.json: task 3: a task must be an object; skipped" in first.err
    async with opened(url) as store:
        assert {each.id for each in await store.tasks(TaskQuery())} == {"one", "two", "three"}
        broke, trace = await store.logs(LogQuery())
        assert (broke.level, broke.message, broke.created_at.hour) == ("error", "broke", 11)
        assert (trace.level, trace.message) == ("info", "  Traceback")
        assert trace.created_at > broke.created_at


async def test_an_unknown_time_zone_and_a_database_are_usage_errors(run: Command, new: New, tmp_path: Path) -> None:
    url, file = new("sqlite"), tmp_path / "app.log"
    await filled(url)
    file.write_text("x\n")

    zone = await run("import", file, "--timezone", "Mars/Base", "--sql", url)
    database = await run("import", url.removeprefix("sqlite:///"), "--sql", url)

    assert (zone.code, database.code) == (Code.USAGE, Code.USAGE)
    assert "'Mars/Base' is no time zone" in zone.err
    assert "penstock copy --from sqlite:////" in database.err


# Copy


@pytest.mark.parametrize(("one", "other"), [*PAIRS, ("sqlite", "partitions"), ("partitions", "sqlite")])
async def test_a_copy_is_the_same_in_every_table(one: str, other: str, run: Command, new: New) -> None:
    source, target = new(one), new(other)
    expected = await filled(source)

    first, second = [await run("copy", "--from", source, "--to", target, "--json") for _ in range(2)]

    assert (first.code, second.code) == (Code.OK, Code.OK), first.err
    tables = first.json()
    assert [each["table"] for each in tables] == list(TABLES)
    assert all(each["records"] == each["written"] > 0 for each in tables)
    assert all(each["checksum"] == each["target_checksum"] for each in tables)
    assert {each["written"] for each in second.json()} == {0}
    async with opened(target) as store:
        assert await exported(store) == expected


async def test_a_copy_that_was_killed_goes_on(run: Command, new: New) -> None:
    source, target = new("sqlite"), new("sqlite")
    path = Path(target.removeprefix("sqlite:///"))
    async with opened(source) as store:
        for at in range(0, 30_000, 5_000):
            await store.write([message(number, f"s{number % 7}") for number in range(at, at + 5_000)])

    copying = await started("copy", "--from", source, "--to", target)
    # The first table is through; the second one is being written. There is no later sign from outside.
    while not path.exists() or not await asyncio.to_thread(_count, path):
        await asyncio.sleep(0.005)
    copying.kill()
    await copying.communicate()
    before = _count(path)
    ran = await run("copy", "--from", source, "--to", target, "--json")

    assert before > 0
    assert ran.code == Code.OK
    assert {each["table"]: (each["records"], each["written"]) for each in ran.json()}["messages"] == (
        30_000,
        30_000 - before,
    )
    assert rows(path, "SELECT count(*), sum(message_count) FROM sessions") == [(7, 30_000)]


async def test_a_copy_whose_target_was_full_goes_on_when_there_is_room(run: Command, new: New) -> None:
    source, target = new("sqlite"), new("sqlite")
    async with opened(source) as store:
        await store.write([message(number)._replace(content="x" * 1_000) for number in range(9_000)])

    full = await run("copy", "--from", source, "--to", f"{target}?max_size_mb=6")
    before = _count(Path(target.removeprefix("sqlite:///")))
    ran = await run("copy", "--from", source, "--to", target, "--json")

    assert (full.code, ran.code) == (Code.AWAY, Code.OK)
    assert 0 < before < 9_000
    assert {each["table"]: each["written"] for each in ran.json()}["messages"] == 9_000 - before


def _count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        try:
            (number,) = connection.execute("SELECT count(*) FROM messages").fetchone()
        except sqlite3.OperationalError:  # it is being set up
            return 0
    return int(number)


async def test_a_repeated_copy_brings_what_has_come_since(run: Command, new: New) -> None:
    source, target = new("sqlite"), new("postgres")
    async with opened(source) as store:
        await store.write([message(0), message(1), message(2, "gone"), message(3)._replace(version=1), task(1)])
        await run("copy", "--from", source, "--to", target)
        await store.write([hidden(9, 0), forgotten(8, "gone"), message(3)._replace(content="new", version=2)])
        await store.write([message(7, "early")._replace(created_at_us=START_US - 5), task_status(2), key_value(1)])

        ran = await run("copy", "--from", source, "--to", target)

        assert ran.code == Code.OK, ran.err
        async with opened(target) as other:
            assert await exported(other) == await exported(store)
            assert await other.session("s") == await store.session("s")


async def test_what_the_target_has_of_its_own_stays(run: Command, new: New) -> None:
    source, target = new("sqlite"), new("sqlite")
    async with opened(source) as ours, opened(target) as theirs:
        await ours.write([message(0), message(2)])
        await theirs.write([message(1), message(3), log(0)])

        ran = await run("copy", "--from", source, "--to", target)

        assert ran.code == Code.OK
        assert "messages: 2 records, 2 written" in ran.err
        assert "the target has 2 more." in ran.err
        assert await walked(theirs, "messages") == [message(number) for number in range(4)]


async def test_a_table_that_is_not_as_in_the_source_is_named(run: Command, new: New) -> None:
    source, target = new("sqlite"), new("sqlite")
    await filled(source)
    assert (await run("copy", "--from", source, "--to", target)).code == Code.OK
    path = Path(target.removeprefix("sqlite:///"))
    execute(
        path,
        "UPDATE logs SET message = 'other' WHERE level = 35",
        "CREATE TRIGGER no_more BEFORE INSERT ON contexts BEGIN SELECT raise(IGNORE); END",
        "DELETE FROM contexts WHERE id = 'e'",
    )

    ran = await run("copy", "--from", source, "--to", target)

    assert ran.code == Code.NO
    assert "logs: 4 records, 0 written" in ran.err
    assert "0 missing, 1 different in the target" in ran.err
    assert "1 missing, 0 different in the target" in ran.err
    assert ran.err.splitlines()[-1] == "error: not as in the source: logs, contexts"


async def test_a_copy_onto_itself_or_from_nowhere_is_refused(run: Command, new: New) -> None:
    url = new("sqlite")

    same = await run("copy", "--from", url, "--to", url)
    nowhere = await run("copy", "--from", url, "--to", target := new("sqlite"))

    assert (same.code, nowhere.code) == (Code.USAGE, Code.AWAY)
    assert not Path(target.removeprefix("sqlite:///")).exists()


async def test_a_store_of_the_release_before_is_migrated_before_it_is_read(
    run: Command, new: New, tmp_path: Path
) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript((Path(__file__).parents[1] / "upgrade/sqlite_0001.sql").read_text())
    url, target = f"sqlite:///{old}", new("sqlite")

    for arguments in (("export", "--sql", url), ("copy", "--from", url, "--to", target)):
        ran = await run(*arguments)
        assert (ran.code, ran.out) == (Code.SETUP, "")
        assert "the schema has version 1, 2 is needed to read all of it: run `penstock migrate`" in ran.err

    async with opened(url):
        assert (await run("copy", "--from", url, "--to", target)).code == Code.OK
        assert "0 records, verified" not in (await run("copy", "--from", url, "--to", target)).err


# Backup


async def test_a_backup_of_a_file_that_is_written_is_a_sound_beginning_of_it(
    run: Command, new: New, tmp_path: Path
) -> None:
    url, file = new("sqlite"), tmp_path / "backup.db"
    async with opened(url):
        pass

    async with writing(url) as writer:
        stored = await writer.stored(at_least=2_000)
        ran = await run("backup", file, "--sql", url)
        assert ran.code == Code.OK, ran.err
        assert await writer.stored(at_least=stored + 500) > stored
        held = assert_prefix(file, stored)
        assert (await run("backup", file, "--sql", url)).code == Code.OK
        assert assert_prefix(file, held) > held

    assert sorted(each.name for each in tmp_path.glob("*backup*")) == ["backup.db"]


async def test_a_backup_of_a_server_that_is_written_can_be_imported(run: Command, new: New, tmp_path: Path) -> None:
    url, file, restored = new("postgres"), tmp_path / "backup.jsonl.gz", new("sqlite")
    async with opened(url):
        pass

    async with writing(url) as writer:
        stored = await writer.stored(at_least=2_000)
        ran = await run("backup", file, "--sql", url)
        assert ran.code == Code.OK, ran.err
        assert await writer.stored(at_least=stored + 500) > stored

    ran = await run("import", file, "--sql", restored)
    assert ran.code == Code.OK, ran.err
    assert_prefix(Path(restored.removeprefix("sqlite:///")), stored)


async def test_a_backup_holds_everything_and_works_as_a_store(run: Command, new: New, tmp_path: Path) -> None:
    url, file = new("sqlite"), tmp_path / "backup.db"
    expected = await filled(url)

    assert (await run("backup", file, "--sql", url)).code == Code.OK

    async with opened(f"sqlite:///{file}") as store:
        assert await exported(store) == expected
        assert await store.write([message(1_000)]) == 1


async def test_a_database_in_use_is_not_taken_for_an_old_backup(run: Command, new: New) -> None:
    url, other = new("sqlite"), new("sqlite")
    await filled(url)
    async with opened(other) as store:
        await store.write([message(0)])

        ran = await run("backup", other.removeprefix("sqlite:///"), "--sql", url)

        assert ran.code == Code.USAGE
        assert "is store1.db a database that is in use?" in ran.err
        assert await walked(store, "messages") == [message(0)]


async def test_an_interrupted_backup_leaves_what_was_there(new: New, tmp_path: Path) -> None:
    url, file = new("sqlite"), tmp_path / "backup.db"
    await filled(url)
    file.write_text("before")
    reached, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        reached.set()
        assert go_on.wait(20)

    async with opened(url) as store:
        backing_up = asyncio.create_task(back_up(store, file, hold))
        assert await asyncio.to_thread(reached.wait, 20)
        backing_up.cancel()
        go_on.set()
        await asyncio.wait([backing_up])

    assert backing_up.cancelled()
    assert file.read_text() == "before"
    assert list(tmp_path.glob(".*")) == []


async def test_no_backup_is_left_of_nothing(run: Command, tmp_path: Path) -> None:
    ran = await run("backup", tmp_path / "backup.db", "--sql", f"sqlite:///{tmp_path}/absent.db")

    assert ran.code == Code.AWAY
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["backup", "export"])
async def test_a_folder_that_is_not_there_is_told_as_such(command: str, run: Command, new: New, tmp_path: Path) -> None:
    async with opened(url := new("sqlite")):
        ran = await run(command, tmp_path / "absent/backup.db", "--sql", url)

    assert ran.code == Code.SETUP
    assert ran.err == f"error: {tmp_path}/absent/backup.db cannot be written: No such file or directory\n"
