"""One dbm file and several processes, some of which are killed: what was acknowledged stays, and the file opens."""

from __future__ import annotations

import asyncio
import dbm
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.direct import open_key_values
from penstock.stores.dbm import DbmKeyValues
from penstock.stores.dbm import file as dbm_file
from penstock.stores.dbm import open_key_values as open_dbm
from penstock.stores.dbm.journal import Journal
from penstock.stores.dbm.locking import FileLock
from penstock.stores.dbm.settings import parse
from penstock.stores.dbm.table import Table
from penstock.stores.errors import StoreUnavailable
from penstock.testing.conformance.key_value_records import NOW_US, deleted, key_value, keys_under, value_of

WRITER = """
import asyncio, sys
from penstock.direct import open_key_values
from penstock.stores.dbm import file
file._LEAST_FOLDED = 2_000  # so that a kill often meets a file that is made anew

async def main(url, name):
    async with open_key_values(url) as values:
        number = 0
        while True:
            number += 1
            await values.set(f"{name}:{number % 50}", number)
            await values.set_if_absent(f"claim:{number}", name)
            print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""

NEARLY_FULL = """
import asyncio, resource, sys
from pathlib import Path
from penstock.direct import open_key_values
from penstock.stores.errors import StoreUnavailable

async def main(url, journal):
    async with open_key_values(url) as values:
        await values.set("whole", 1)
        room = Path(journal).stat().st_size + 100
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        try:
            await values.set("cut off", "x" * 1_000)
            print("acknowledged")
        except StoreUnavailable:
            print("refused")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await values.set("after", 2)

asyncio.run(main(*sys.argv[1:]))
"""


class Killed(Exception):
    """What stands for SIGKILL where a step is to be met exactly."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"dbm:///{tmp_path}/values"


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the file made anew after every few writes."""
    monkeypatch.setattr(dbm_file, "_LEAST_FOLDED", 500)


def writers(url: str, *names: str) -> Iterator[subprocess.Popen[str]]:
    for name in names:
        yield subprocess.Popen(
            [sys.executable, "-c", WRITER, url, name], stdout=subprocess.PIPE, text=True, bufsize=1, env=os.environ
        )


def acknowledged(writer: subprocess.Popen[str], upto: int) -> int:
    """The last number that *writer* has told, once that is at least *upto*; then it is killed."""
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= upto:
            break
    writer.kill()
    told = [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    return max([upto, *told])


def kill(store: DbmKeyValues) -> None:
    """Let go of its files, and do nothing else."""
    store._file._forget()
    store._file._lock.close()
    assert store._thread is not None
    store._thread.shutdown()


async def test_writers_that_are_killed_in_the_middle_lose_nothing_that_they_acknowledged(url: str) -> None:
    for round_ in range(3):
        pair = list(writers(url, "a", "b"))
        told = [await asyncio.to_thread(acknowledged, writer, 40 + 15 * round_) for writer in pair]
        for writer in pair:
            writer.stdout.close()  # type: ignore[union-attr]

        async with open_key_values(url) as values:
            for name, last in zip(("a", "b"), told, strict=True):
                numbers = range(last - 39, last + 1)
                stored = await values.get_many([f"{name}:{number % 50}" for number in numbers])
                # A later one may be there, which was under way.
                assert all(found >= number for found, number in zip(stored, numbers, strict=True))
            claims = await values.get_prefix("claim:")
            assert len(claims) >= max(told)
            assert set(claims.values()) <= {"a", "b"}


async def test_two_that_are_open_see_what_the_other_one_writes(url: str, small_files: None) -> None:
    async with open_key_values(url) as one, open_key_values(url) as two:
        for number in range(60):
            await one.set(f"k{number}", number)
            await two.set(f"k{number}", await two.get(f"k{number}") + 1)
            assert await one.get(f"k{number}") == number + 1

        assert await two.get_prefix("") == {f"k{number}": number + 1 for number in range(60)}


@pytest.mark.parametrize("cut", [1, 4, 9, 30])
async def test_an_entry_that_is_cut_off_is_written_over(url: str, tmp_path: Path, cut: int) -> None:
    store = open_dbm(url)
    await store.setup()
    await store.write([key_value(1, "whole")])
    journal = tmp_path / "values.journal"
    size = journal.stat().st_size
    await store.write([key_value(2, "cut off")])
    kill(store)
    with journal.open("r+b") as file:
        file.truncate(min(size + cut, journal.stat().st_size - 1))

    other = open_dbm(url)
    assert await keys_under(other, "") == ["whole"]
    await other.write([key_value(3, "after")])
    assert await keys_under(other, "") == ["after", "whole"]
    await other.close()


async def test_zeros_at_the_end_are_what_a_power_loss_leaves(url: str, tmp_path: Path) -> None:
    store = open_dbm(url)
    await store.setup()
    await store.write([key_value(1)])
    kill(store)
    with (tmp_path / "values.journal").open("ab") as file:
        file.write(bytes(100))

    other = open_dbm(url)
    await other.write([key_value(2)])

    assert await value_of(other) == 2
    await other.close()


async def test_damage_before_whole_entries_is_told_and_nothing_is_written(url: str, tmp_path: Path) -> None:
    store = open_dbm(url)
    await store.setup()
    await store.write([key_value(1, "x")])
    await store.write([key_value(1, "y")])
    kill(store)
    journal = tmp_path / "values.journal"
    data = bytearray(journal.read_bytes())
    data[60] ^= 1
    journal.write_bytes(data)

    other = open_dbm(url)
    with pytest.raises(StoreUnavailable, match="damaged at byte"):
        await other.write([key_value(2)])
    assert journal.read_bytes() == data
    await other.close()


STEPS: dict[str, tuple[Any, str]] = {
    "the old one is read": (Table, "draft"),
    "parts are moved": (Path, "replace"),
    "the new one is to be moved": (Table, "move"),
    "the journal is to begin anew": (Journal, "begin"),
    "it is done": (Table, "forget_plan"),
}


@pytest.mark.parametrize("when", range(1, 4))
@pytest.mark.parametrize("step", STEPS)
async def test_a_death_at_any_step_of_making_the_file_anew_loses_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: int
) -> None:
    async with open_key_values(url):
        pass
    store, reader = open_dbm(url), open_dbm(url)
    await store.write([key_value(9_000, "old"), key_value(9_000, "new"), deleted(9_000, "gone")])
    assert await value_of(reader, "old") == 9_000
    monkeypatch.setattr(dbm_file, "_LEAST_FOLDED", 0)
    monkeypatch.setattr(*STEPS[step], _dying(*STEPS[step], when))

    with pytest.raises(Killed):
        await write_on(store)
    monkeypatch.undo()

    assert await value_of(reader, "old") == await value_of(reader, "new") == 9_000
    later = open_dbm(url)
    assert await keys_under(later, "") == await keys_under(reader, "")
    assert await later.write([key_value(1, "gone")]) == 0
    for each in (later, reader):
        await each.close()
    with dbm.open(str(tmp_path / "values")) as file:
        assert b"1:n:new" in file.keys()  # noqa: SIM118 - it is no mapping


async def write_on(store: DbmKeyValues) -> None:
    for number in range(200):
        await store.write([key_value(number, "more")])


def _dying(owner: Any, name: str, when: int) -> Callable[..., Any]:
    """The function of that name, which dies at its call number *when*."""
    real, calls = getattr(owner, name), 0

    def call(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == when:
            raise Killed
        return real(*args)

    return call


async def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    with dbm.open(str(tmp_path / "values"), "n") as file:
        file["theirs"] = "1"
    store = open_dbm(f"dbm:///{tmp_path}/values")

    with pytest.raises(StoreUnavailable, match="none of Penstock's"):
        await store.setup()

    await store.close()
    with dbm.open(str(tmp_path / "values")) as file:
        assert file["theirs"] == b"1"


async def test_what_only_shares_its_name_with_others_leaves_them_alone(tmp_path: Path, small_files: None) -> None:
    others = [tmp_path / f"values{suffix}" for suffix in (".db", ".bak")]
    for other in others:
        other.write_text("theirs")

    async with open_key_values(f"dbm:///{tmp_path}/values") as values:
        for number in range(30):
            await values.set(f"k{number}", "v" * 100)

    assert [other.read_text() for other in others] == ["theirs"] * 2


@pytest.mark.parametrize("suffix", [".dat", ".dir"])
async def test_half_a_file_is_neither_taken_for_an_empty_one_nor_overwritten(tmp_path: Path, suffix: str) -> None:
    half = tmp_path / f"values{suffix}"
    half.write_text("theirs")
    store = open_dbm(f"dbm:///{tmp_path}/values")

    with pytest.raises(StoreUnavailable, match="choose another name"):
        await store.setup()

    await store.close()
    assert half.read_text() == "theirs"


async def test_a_file_that_could_not_be_opened_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "values.journal").write_text("theirs")
    store = open_dbm(f"dbm:///{tmp_path}/values")

    with pytest.raises(StoreUnavailable, match="no journal"):
        await store.setup()

    assert store._file._lock._handle is None
    (tmp_path / "values.journal").unlink()
    await store.setup()
    await store.close()


async def test_a_disk_that_takes_a_part_of_a_write_acknowledges_nothing_of_it(url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", NEARLY_FULL, url, str(tmp_path / "values.journal")]

    told = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, check=True)

    assert told.stdout.split() == ["refused"]
    async with open_key_values(url) as values:
        assert await values.get_prefix("") == {"after": 2, "whole": 1}


def test_a_new_file_that_finds_no_room_leaves_none_behind(tmp_path: Path) -> None:
    table = Table(parse(f"dbm:///{tmp_path}/values"))

    def rows() -> Iterator[tuple[bytes, bytes]]:
        yield b"1:n:k", b"row"
        raise OSError(errno.ENOSPC, "no space left")

    with pytest.raises(OSError, match="no space"):
        table.draft(rows(), 2)

    assert list(tmp_path.iterdir()) == []


async def test_reading_where_nothing_was_stored_makes_no_file(tmp_path: Path) -> None:
    store = open_dbm(f"dbm:///{tmp_path}/values")

    with pytest.raises(StoreUnavailable, match="no such file"):
        await store.key_value("n", "k", NOW_US)

    await store.close()
    assert not (tmp_path / "values.dat").exists()


async def test_who_holds_the_lock_too_long_is_waited_for_no_longer(url: str) -> None:
    settings = parse(url)
    store, other = open_dbm(url), open_dbm(f"{url}?timeout=0.05")
    await store.setup()
    await other.check()

    with FileLock(settings.beside("lock"), 1).held(), pytest.raises(StoreUnavailable, match="fuser"):
        await other.write([key_value(1)])

    assert await other.write([key_value(1)]) == 1
    await store.close()
    await other.close()


async def test_a_file_that_cannot_be_folded_at_the_end_is_closed_all_the_same(url: str) -> None:
    store = open_dbm(f"{url}?timeout=0.05")
    await store.setup()
    await store.write([key_value(1)])

    with FileLock(parse(url).beside("lock"), 1).held(), capture_logs() as lines:
        await store.close()

    assert [line["event"] for line in lines if "not folded" in line["event"]]
    other = open_dbm(url)
    assert await keys_under(other, "") == [key_value(1).key]
    await other.close()


async def test_what_is_over_goes_when_the_file_is_made_anew(tmp_path: Path, small_files: None) -> None:
    store = open_dbm(f"dbm:///{tmp_path}/values?grace=1")
    await store.setup()
    long_ago = key_value(1, "old")._replace(created_at_us=1, expires_at_us=2)
    await store.write([long_ago, deleted(1, "x")._replace(deleted_at_us=3), key_value(1, "kept")])
    for number in range(20):
        await store.write([key_value(number, "filler")])
    await store.close()

    with dbm.open(str(tmp_path / "values")) as file:
        assert sorted(file.keys()) == [b"1:n:filler", b"1:n:kept", b"penstock"]
