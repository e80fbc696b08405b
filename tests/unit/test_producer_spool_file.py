"""One file of a spool, its lock and its folder."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from penstock.producer.spool_file import UNCUT, Draft, SpoolFailed, SpoolFile, look
from penstock.producer.spool_folder import SpoolFolder
from penstock.producer.spool_lock import FileLock
from penstock.wire.frames import decode_frame, encode
from penstock.wire.ids import new_id
from penstock.wire.keys import Partition, partition_of
from penstock.wire.levels import FAST
from penstock.wire.records import KeyValue, Message

SESSIONS = [f"s{number}" for number in range(12)]


def packed(session: str, content: str) -> bytes:
    return encode(Message(new_id(), 1, session, "user", content))


def uncut(contents: range) -> Draft:
    """Records of all sessions, in turn."""
    items: list[str | bytes] = []
    for content in contents:
        for session in SESSIONS:
            items += [session, packed(session, str(content))]
    return Draft(Partition("messages", UNCUT), "", 0, len(items) // 2, 1, FAST, items)


def sent(file: SpoolFile, partitions: int) -> dict[str, list[str]]:
    """What each session would get, run by run."""
    found: dict[str, list[str]] = {session: [] for session in SESSIONS}
    for number in range(partitions):
        after = 0
        while (run := file.next(Partition("messages", number), after, partitions)) is not None:
            after = run.seq
            for record in (record for frame in run.push.frames for record in decode_frame(frame.body)):
                assert isinstance(record, Message)
                assert partition_of(record.session_id, partitions) == number
                found[record.session_id].append(record.content or "")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    return SpoolFolder(tmp_path / "spool", "test")


@contextlib.contextmanager
def made(folder: SpoolFolder) -> Iterator[SpoolFile]:
    file = folder.make()
    try:
        yield file
    finally:
        file.close()


def test_records_are_cut_for_any_number_of_partitions_in_their_order(folder: SpoolFolder) -> None:
    expected = {session: [str(number) for number in range(30)] for session in SESSIONS}
    with made(folder) as file:
        file.put([uncut(range(10)), uncut(range(10, 20))], 0)
        file.put([uncut(range(20, 30))], 0)
        for partitions in (3, 8, 2):
            while file.cut(partitions):
                pass
            assert sent(file, partitions) == expected
            assert file.totals(partitions)[0].total() == 30 * len(SESSIONS)


def test_what_is_cut_in_memory_is_what_would_be_cut_on_disk(folder: SpoolFolder) -> None:
    """So that it may be sent either way, in two tries, and count once."""
    with made(folder) as file:
        file.put([uncut(range(5)), uncut(range(5, 9))], 0)
        in_memory = [*file.uncut(4, 0), *file.uncut(4, 1)]
        assert file.uncut(4, 2) == []
        while file.cut(4):
            pass
        on_disk = [file.next(run.push.partition, run.seq - 1, 4) for run in in_memory]

    assert on_disk == in_memory
    assert {run.push.number for run in in_memory} == {1, 2}


def test_a_push_of_state_has_its_marks(folder: SpoolFolder) -> None:
    record = encode(KeyValue(bytes(16), 1, bytes(16), "default", "k", b"1"))
    where = Partition("state", 0)
    with made(folder) as file:
        file.put([Draft(where, "p", 7, 1, 1, FAST, ["default:k", record])], 8)
        run = file.next(where, 0, 8)

    assert run is not None
    assert [mark.key for mark in run.push.marks] == ["k"]
    assert (run.push.producer_id, run.push.number) == ("p", 7)


def test_a_file_can_be_looked_at_beside_its_user(folder: SpoolFolder) -> None:
    with made(folder) as file:
        assert look(file.path).records == 0
        file.put([uncut(range(2))], 0)

        assert look(file.path).records == folder.spooled().records == 24
        assert folder.take_left() == []


def test_a_file_that_is_left_is_taken_once_and_an_empty_one_removed(folder: SpoolFolder) -> None:
    with made(folder) as first, made(folder):
        first.put([uncut(range(1))], 0)

    (taken,) = folder.take_left()
    assert folder.take_left() == []
    assert taken.path.name == "test.0.spool"
    taken.delete()
    assert list(folder.path.iterdir()) == []


def test_others_may_not_read_a_file(folder: SpoolFolder) -> None:
    with made(folder) as file:
        file.put([uncut(range(1))], 0)

        assert {path.stat().st_mode & 0o077 for path in [folder.path, *folder.path.iterdir()]} == {0}


def test_a_lock_is_of_one_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    program = (
        "import sys, pathlib; from penstock.producer.spool_lock import FileLock; "
        "print(FileLock.take(pathlib.Path(sys.argv[1])) is not None)"
    )

    def elsewhere() -> str:
        command = [sys.executable, "-c", program, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert elsewhere() == "True"  # and it ended without letting go
    lock = FileLock.take(path)
    assert lock is not None
    assert FileLock.take(path) is None
    assert elsewhere() == "False"
    lock.release()
    assert not path.exists()


def test_a_file_of_a_newer_release_is_left_alone(folder: SpoolFolder) -> None:
    with made(folder) as file:
        file.put([uncut(range(1))], 0)
    with contextlib.closing(sqlite3.connect(file.path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with capture_logs() as lines:
        assert folder.take_left() == []
    assert "upgrade penstock" in lines[0]["reason"]
    assert file.path.exists()


@pytest.mark.parametrize("foreign", ["database", "namespace"])
def test_a_file_that_is_none_of_ours_is_set_aside(folder: SpoolFolder, foreign: str) -> None:
    if foreign == "database":
        folder.path.mkdir()
        with contextlib.closing(sqlite3.connect(folder.path / "test.0.spool")) as connection:
            connection.execute("CREATE TABLE theirs (x)")
    else:
        other = SpoolFolder(folder.path, "other")
        with made(other) as file:
            file.put([uncut(range(1))], 0)
        file.path.rename(folder.path / "test.0.spool")

    with capture_logs() as lines:
        assert folder.take_left() == []
    assert [path.name for path in folder.spooled().unreadable] == ["test.0.spool.damaged-1"]
    assert lines[0]["kept_as"] == str(folder.path / "test.0.spool.damaged-1")


def test_a_folder_that_cannot_be_made_is_said_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SpoolFailed, match="set spool_dir to another"):
        SpoolFolder(tmp_path / "file" / "spool", "test").take_left()


def test_a_file_in_the_place_of_the_folder_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SpoolFailed, match="it is a file"):
        SpoolFolder(tmp_path / "file", "test").take_left()


def test_a_folder_may_begin_with_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert SpoolFolder(Path("~/spool"), "test").path == tmp_path / "spool"


def test_importing_the_producer_does_not_import_sqlite() -> None:
    code = "import sys, penstock.producer; penstock.producer.Producer(); print('sqlite3' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "False"
