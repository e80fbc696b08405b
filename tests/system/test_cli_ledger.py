"""`penstock status` and `penstock audit`: what they say of a queue, by the numbers and in words."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from penstock.cli.exits import Code
from penstock.cli.ledger import Audit, Status
from penstock.wire.entries import APPEND, Commit, Counts, Letter, Push, StreamChange
from penstock.wire.frames import Frame
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from tests.system.command import Ran, penstock

MESSAGES = Partition("messages", 0)
MORE = Partition("messages", 3)
LOGS = Partition("logs", 1)


async def accept(queue: Queue, where: Partition, records: int) -> None:
    await queue.push([Push(where, uuid.uuid4().hex, 1, [Frame(b"frame", records)])], 10**6)


async def settle(queue: Queue, where: Partition, *, stored: int, dead: int = 0, buffered: int = 0) -> None:
    """Settle everything that lies in a partition, as a worker does."""
    lease = await queue.acquire(where, 10_000)
    assert lease is not None
    streams = [StreamChange(uuid.uuid4().bytes, APPEND, [b"chunk"] * buffered)] if buffered else []
    last = (await queue.read(where, 1000))[-1]
    done = Commit(
        lease=lease,
        token=uuid.uuid4().hex,
        last_id=last.id,
        last_frame=last.frame,
        records=stored + dead + buffered,
        stored=stored,
        dead=dead,
        buffered=buffered,
        letters=[Letter(str(uuid.uuid4()), 1, b"record", b"\x80")] * dead,
        streams=streams,
    )
    assert await queue.commit(done)
    await queue.release(lease)


async def on(queue: Queue, capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    place = ("--redis-url", queue.scripts.url, "--namespace", queue.keys.namespace)
    return await penstock(capsys, *arguments, *place)


async def test_the_audit_counts_every_lane_and_adds_up(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await accept(queue, MESSAGES, 10)
    await settle(queue, MESSAGES, stored=7, dead=2, buffered=1)
    await accept(queue, MESSAGES, 5)
    await accept(queue, LOGS, 3)

    ran = await on(queue, capsys, "audit", "--json")

    nothing = {"accepted": 0, "stored": 0, "skipped": 0, "pending": 0, "dead": 0, "purged": 0}
    assert ran.code == Code.OK
    assert ran.json() == {
        "lanes": {
            "messages": {"accepted": 15, "stored": 7, "skipped": 0, "pending": 6, "dead": 2, "purged": 0},
            "logs": {**nothing, "accepted": 3, "pending": 3},
            "embeddings": nothing,
            "state": nothing,
        },
        "balanced": True,
    }


async def test_purged_letters_stay_counted_as_dead(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await accept(queue, MESSAGES, 2)
    await settle(queue, MESSAGES, stored=0, dead=2)

    purged = await on(queue, capsys, "dlq", "purge", "--yes")
    lane = (await on(queue, capsys, "audit", "--json")).json()["lanes"]["messages"]

    assert purged.code == Code.OK
    assert lane == {"accepted": 2, "stored": 0, "skipped": 0, "pending": 0, "dead": 2, "purged": 2}


async def test_an_audit_that_does_not_add_up_ends_with_1(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await accept(queue, MESSAGES, 3)
    await queue.client.hincrby(queue.keys.meta(MESSAGES), "accepted", 1)

    machine = await on(queue, capsys, "audit", "--json")
    people = await on(queue, capsys, "audit")

    assert (machine.code, people.code) == (Code.NO, Code.NO)
    assert machine.json()["balanced"] is False
    assert "messages:0: accepted 4, but 0 stored + 0 skipped + 3 pending + 0 dead = 3" in people.err


async def test_a_log_that_lost_an_entry_does_not_add_up(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await accept(queue, MESSAGES, 3)
    await queue.client.delete(queue.keys.log(MESSAGES))

    ran = await on(queue, capsys, "audit")

    assert ran.code == Code.NO
    assert "messages:0: the log holds 0 records, its counter says 3" in ran.err


async def test_errors_of_two_partitions_do_not_make_up_for_each_other(queue: Queue) -> None:
    await queue.client.hincrby(queue.keys.meta(MESSAGES), "accepted", 1)
    await queue.client.hincrby(queue.keys.meta(MORE), "stored", 1)

    assert not (await Audit.of(queue)).balanced


async def test_the_audit_for_people_says_that_it_adds_up(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await accept(queue, MESSAGES, 1234)

    ran = await on(queue, capsys, "audit")

    assert ran.code == Code.OK
    assert "1,234" in ran.out
    assert "It adds up" in ran.out


async def test_the_audit_of_nothing_says_that_there_is_nothing(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await on(queue, capsys, "audit")

    assert ran.code == Code.OK
    assert "Nothing was accepted yet" in ran.out
    assert "It adds up" not in ran.out


async def test_status_says_how_old_the_oldest_record_is(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await accept(queue, LOGS, 3)
    await queue.heartbeat("host:1", 60_000)

    seen = (await on(queue, capsys, "status", "--json")).json()

    logs = seen["lanes"]["logs"]
    assert (logs["pending"], logs["accepted"], logs["stored"], logs["dead"]) == (3, 3, 0, 0)
    assert 0 <= logs["oldest_age_s"] < 60
    assert seen["lanes"]["messages"]["oldest_age_s"] is None
    assert seen["workers"] == ["host:1"]
    behind = datetime.fromisoformat(seen["at"]) - datetime.fromisoformat(seen["stored_up_to"])
    assert behind == pytest.approx(timedelta(seconds=logs["oldest_age_s"]), abs=timedelta(seconds=0.1))


async def test_status_warns_when_records_wait_and_no_worker_lives(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    await accept(queue, LOGS, 3)

    ran = await on(queue, capsys, "status")

    assert ran.code == Code.OK
    assert "Workers alive: none. Start one: penstock worker" in ran.out


async def test_status_shows_what_was_purged_and_only_then(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    await accept(queue, LOGS, 1)
    await settle(queue, LOGS, stored=0, dead=1)

    before = await on(queue, capsys, "status")
    await on(queue, capsys, "dlq", "purge", "--yes")
    after = await on(queue, capsys, "status")

    heads = [ran.out.splitlines()[1].split() for ran in (before, after)]
    assert heads[0] == ["lane", "pending", "oldest", "accepted", "stored", "dead"]
    assert heads[1] == [*heads[0], "purged"]


async def test_the_verdict_of_the_audit_fits_a_window_of_80_columns(
    queue: Queue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    await accept(queue, LOGS, 1_000)
    await settle(queue, LOGS, stored=1_000)

    ran = await on(queue, capsys, "audit")

    assert ran.out.splitlines()[1].split()[-2:] == ["adds", "up"]
    assert ran.out.count(" yes ") == 4


async def test_status_does_not_create_the_namespace_it_looks_at(
    redis_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await penstock(capsys, "status", "--redis-url", redis_url, "--namespace", namespace)

    async with Queue(redis_url, f"{namespace}-other") as queue:
        assert not await queue.client.exists(f"{namespace}:config")


def test_the_sentence_names_what_is_not_stored() -> None:
    at_ms = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)

    def sentence(counts: Counts) -> str:
        return Status(at_ms=at_ms, workers=(), lanes={"messages": counts}).sentence()

    assert sentence(Counts()) == "Nothing was accepted yet."
    assert sentence(Counts(accepted=1, stored=1)) == "Everything up to 2026-01-31 12:00:00 UTC is stored."
    waiting = Counts(accepted=5, stored=2, dead=1, pending=2, oldest_ms=at_ms - 60_000, open_streams=2)
    assert sentence(waiting) == (
        "Everything up to 2026-01-31 11:59:00 UTC is stored, "
        "but for 1 dead letter (penstock dlq list) and 2 open streams."
    )
