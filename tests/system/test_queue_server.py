"""The server itself: away, closed, too old, read-only; each says what to do, and never shows a password."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from penstock.embedded import EmbeddedQueue, free_port
from penstock.wire.errors import ConfigMismatch, PasswordRefused, QueueUnavailable
from penstock.wire.keys import Partition
from penstock.wire.queue import DEFAULT_PARTITIONS, MAX_PARTITIONS, Queue
from penstock.wire.records import LANES
from penstock.wire.scripts import hide_password
from tests.system.queue_support import TTL_MS, WHERE, Sender, owned, settling


async def test_first_process_fixes_the_partitions(redis_url: str, namespace: str) -> None:
    first = Queue(redis_url, namespace)
    await first.open(3)
    async with Queue(redis_url, namespace) as second:
        assert (first.partitions, second.partitions) == (3, 3)
        assert first.all_partitions() == [Partition(lane, number) for lane in LANES for number in range(3)]
    await first.close()


async def test_other_number_of_partitions_is_refused_with_both(redis_url: str, queue: Queue) -> None:
    other = Queue(redis_url, queue.keys.namespace)

    with pytest.raises(ConfigMismatch, match=rf"partitions is 5 here, but .* created with {DEFAULT_PARTITIONS}; use"):
        await other.open(5)
    await other.close()


@pytest.mark.parametrize("partitions", [0, -1, MAX_PARTITIONS + 1])
async def test_impossible_number_of_partitions_is_refused(redis_url: str, namespace: str, partitions: int) -> None:
    queue = Queue(redis_url, namespace)

    with pytest.raises(ConfigMismatch, match=f"partitions is {partitions}; 1 to {MAX_PARTITIONS}"):
        await queue.open(partitions)
    await queue.close()


async def test_namespaces_do_not_see_each_other(redis_url: str, queue: Queue) -> None:
    await Sender(queue).push(1)
    async with Queue(redis_url, f"{queue.keys.namespace}-other") as other:
        assert await other.read(WHERE, 10) == []
        assert sum(each.accepted for each in (await other.counts()).values()) == 0
        assert await other.needing(other.all_partitions(), 0) == []


async def test_workers_are_counted_while_their_heart_beats(queue: Queue) -> None:
    assert await queue.heartbeat("one", TTL_MS) == 1
    assert await queue.heartbeat("two", TTL_MS) == 2
    assert sorted(await queue.workers()) == ["one", "two"]

    assert await queue.heartbeat("one", 0) == 1
    assert await queue.workers() == ["two"]


async def test_worker_that_died_is_counted_no_more(queue: Queue) -> None:
    await queue.client.zadd(queue.keys.workers(), {"dead": 1})

    assert await queue.workers() == []
    assert await queue.heartbeat("one", TTL_MS) == 1


async def test_a_turn_is_one_workers_alone_and_says_nothing_of_other_work(queue: Queue) -> None:
    assert await queue.claim_sweep("one", TTL_MS)
    assert not await queue.claim_sweep("two", TTL_MS)

    assert await queue.claim_upkeep("two", TTL_MS)
    assert not await queue.claim_upkeep("one", TTL_MS)


async def test_server_that_is_away_is_named() -> None:
    port = free_port()
    queue = Queue(f"redis://user:s3cret@127.0.0.1:{port}/0")

    with pytest.raises(QueueUnavailable, match=rf"redis://user:\*\*\*@127.0.0.1:{port}/0 did not answer") as caught:
        await queue.open()

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is not None
    await queue.close()


async def test_wrong_password_is_told_without_showing_it(own_server: Queue) -> None:
    await own_server.client.config_set("requirepass", "right")
    url = own_server.scripts.url.replace("redis://", "redis://:wr0ng@")

    for tried in (url, own_server.scripts.url):
        queue = Queue(tried)
        with pytest.raises(PasswordRefused, match="refused the password; check PENSTOCK_REDIS_URL") as caught:
            await queue.open()
        assert "wr0ng" not in str(caught.value)
        await queue.close()


async def test_server_that_became_a_replica_is_waited_for(own_server: Queue) -> None:
    """As in a failover: the address will serve again."""
    sender = Sender(own_server)
    await sender.push(1)
    lease = await owned(own_server)
    await own_server.client.replicaof("127.0.0.1", free_port())

    with pytest.raises(QueueUnavailable, match="read only replica"):
        await sender.push(1)
    with pytest.raises(QueueUnavailable, match="read only replica"):
        await own_server.commit(settling(lease, await own_server.read(WHERE, 1)))


async def test_server_killed_and_started_again_has_everything(
    tmp_path_factory: pytest.TempPathFactory, namespace: str
) -> None:
    """What was written to its file is there. While an fsync lags the server holds writes back, up to 2 s."""
    folder = tmp_path_factory.mktemp("killed")
    with EmbeddedQueue(folder) as server:
        async with Queue(server.url, namespace) as queue:
            sender = Sender(queue)
            await sender.push(2)
            before = await queue.read(WHERE, 10)
            await queue.client.execute_command("WAITAOF", 1, 0, 10_000)
            server.kill()
            with pytest.raises(QueueUnavailable):
                await sender.push(1)

            server.start()

            await sender.again(1)
            assert (await queue.read(WHERE, 10))[:1] == before
            assert (await queue.counts())[WHERE].accepted == 3


@contextlib.asynccontextmanager
async def server_of_version(version: str) -> AsyncIterator[str]:
    """The URL of something that says it is Redis *version*, and knows nothing else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                await reader.readline()
                words.append((await reader.readline()).strip())
            info = f"# Server\r\nredis_version:{version}\r\n".encode()
            writer.write(b"$%d\r\n%s\r\n" % (len(info), info) if words[0] == b"INFO" else b"+OK\r\n")
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


@pytest.mark.parametrize("version", ["5.0.14", "6.0.16"])
async def test_server_that_is_too_old_is_refused_with_both_versions(version: str) -> None:
    async with server_of_version(version) as url:
        queue = Queue(url)

        with pytest.raises(ConfigMismatch, match=rf"is {version}; Redis 6\.2 or any Valkey is needed"):
            await queue.open()
        await queue.close()


@pytest.mark.parametrize(("version", "flagged"), [("6.2.0", False), ("7.0.5", True), ("8.0.0", True)])
async def test_scripts_ask_to_run_on_a_full_server_where_that_is_known(version: str, flagged: bool) -> None:
    """Redis 6.2 takes the shebang for a syntax error."""
    async with server_of_version(version) as url:
        queue = Queue(url)
        await queue.scripts.open()

        assert queue.scripts._allow_oom is flagged
        await queue.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user@localhost", "redis://user@localhost"),
        ("redis://:s3cret@localhost", "redis://:***@localhost"),
        ("rediss://user:s3cret@[::1]:6379/0?ssl_cert_reqs=none", "rediss://user:***@[::1]:6379/0?ssl_cert_reqs=none"),
        ("redis://:s3cret/with@signs#and?more@localhost/0", "redis://:***@localhost/0"),
        ("redis://localhost/0?password=s3cret&db=1", "redis://localhost/0?password=***&db=1"),
        ("unix:///run/valkey.sock?db=0&password=s3cret", "unix:///run/valkey.sock?db=0&password=***"),
        ("postgresql://h/db?sslpassword=s3cret&API_KEY=s3cret", "postgresql://h/db?sslpassword=***&API_KEY=***"),
        ("unix://user:s3cret@/run/valkey.sock", "unix://user:***@/run/valkey.sock"),
        ("not a url", "not a url"),
    ],
)
def test_password_is_never_shown(url: str, shown: str) -> None:
    assert hide_password(url) == shown
