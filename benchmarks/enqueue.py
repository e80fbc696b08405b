"""Into the queue from one process: records a second, processor time and memory, beside ready frames.

python -m benchmarks.enqueue [--records 200000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack
import redis
import redis.asyncio
import uuid_utils

from benchmarks.measuring import CONTENT, median, system, table
from penstock.producer import Producer, ProducerSettings
from penstock.wire import building
from penstock.wire.entries import Push
from penstock.wire.frames import Frame, encode, frames_of
from penstock.wire.ids import RisingClock
from penstock.wire.keys import Partition, partition_of
from penstock.wire.queue import DEFAULT_PARTITIONS, Queue
from penstock.wire.records import Record

CALLS_AT_ONCE = 1_000
"""After so many calls the agent gives the sender its turn."""

_FRAMES_AT_ONCE = 24
_CAP = 10**8
_STEADY_RATE, _STEADY_S = 10_000, 3.0
_ALONE = 2_000

Given = tuple[str, str]
"""What one call is given: an ordering key and a text."""

_GIVEN: list[Given] = [(f"session-{number % 50}", f"{number:04}{CONTENT[4:]}") for number in range(CALLS_AT_ONCE)]


class Load(NamedTuple):
    """Records of one kind."""

    name: str
    lane: str
    hand_over: Callable[[Producer, Sequence[Given]], None]
    build: Callable[[RisingClock, Given], Record]
    """The same record, made beforehand."""


def hand_over_messages(producer: Producer, given: Sequence[Given] = _GIVEN) -> None:
    """A call for each."""
    for session, text in given:
        producer.message(session_id=session, role="user", content=text)


def _hand_over_logs(producer: Producer, given: Sequence[Given]) -> None:
    for agent, text in given:
        producer.log(level="info", event="tool_called", message=text[:40], agent_id=agent)


def _message(clock: RisingClock, given: Given) -> Record:
    return building.message(clock, session_id=given[0], role="user", content=given[1])


def _log_event(clock: RisingClock, given: Given) -> Record:
    return building.log_event(clock, level="info", event="tool_called", message=given[1][:40], agent_id=given[0])


MESSAGES = Load("messages of 290 characters", "messages", hand_over_messages, _message)
LOADS = (MESSAGES, Load("log events of 40 characters", "logs", _hand_over_logs, _log_event))


class Cost(NamedTuple):
    """What one way into the queue came to."""

    rate: float
    """Records a second, from the first call until the server has the last."""
    producer_us: float
    """Microseconds of a core for each record."""
    server_us: float
    """The same of the queue server."""


class Held(NamedTuple):
    """What the queue server keeps of one load."""

    name: str
    records: int
    frames: int
    payload_bytes: int
    """The encoded records."""
    memory_bytes: int


class Meter:
    """Wall time, processor time and memory of this process and its queue server, finer than in clock ticks."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._begun = time.perf_counter(), time.process_time(), self._server_s()
        self._memory = self._dataset()

    def cost(self, records: int) -> Cost:
        """Since it was made."""
        now = time.perf_counter(), time.process_time(), self._server_s()
        wall_s, own_s, server_s = (after - before for before, after in zip(self._begun, now, strict=True))
        return Cost(records / wall_s, own_s / records * 1e6, server_s / records * 1e6)

    def memory(self) -> int:
        """Bytes that came into the server's data since it was made; buffers of connections and of its log are none."""
        return self._dataset() - self._memory

    def _server_s(self) -> float:
        used: Any = self._client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def _dataset(self) -> int:
        held: Any = self._client.info("memory")
        return int(held["used_memory_dataset"])


def settings_of(url: str) -> ProducerSettings:
    """Those of a producer that nothing holds up."""
    return ProducerSettings(
        redis_url=url, namespace="bench", buffer_records=10**7, buffer_bytes=2**33, backlog_records=_CAP
    )


async def fill(url: str, load: Load, records: int, meter: Callable[[], Meter]) -> Cost:
    """Call after call, as fast as they go."""
    async with Producer(settings=settings_of(url)) as producer:
        metering = meter()
        for _ in range(records // CALLS_AT_ONCE):
            load.hand_over(producer, _GIVEN)
            await asyncio.sleep(0)
        await producer.flush()
        return metering.cost(records)


def ready(load: Load, records: int) -> dict[int, list[Frame]]:
    """The same records in full frames, by partition."""
    clock = RisingClock()
    packed: dict[int, list[bytes]] = {}
    for number in range(records):
        given = _GIVEN[number % len(_GIVEN)]
        where = partition_of(given[0], DEFAULT_PARTITIONS)
        packed.setdefault(where, []).append(encode(load.build(clock, given)))
    return {where: frames_of(each) for where, each in packed.items()}


async def fill_raw(url: str, load: Load, records: int, meter: Callable[[], Meter]) -> Cost:
    """Ready frames by pipelined XADD, with the fields that ours have."""
    frames = [(where, frame) for where, of_one in ready(load, records).items() for frame in of_one]
    async with redis.asyncio.Redis.from_url(url, protocol=2) as client:
        metering = meter()
        for start in range(0, len(frames), _FRAMES_AT_ONCE):
            async with client.pipeline(transaction=False) as pipe:
                for where, frame in frames[start : start + _FRAMES_AT_ONCE]:
                    pipe.xadd(f"raw:{where}", {"f": frame.body, "n": frame.records})
                await pipe.execute()
        return metering.cost(records)


async def fill_by_script(url: str, load: Load, records: int, meter: Callable[[], Meter]) -> Cost:
    """Ready frames by the script that producers push with, a few frames of each partition in a round trip."""
    frames = ready(load, records)
    at_once = max(1, _FRAMES_AT_ONCE // len(frames))
    async with Queue(url, "bench") as queue:
        metering = meter()
        for number, start in enumerate(range(0, max(map(len, frames.values())), at_once), 1):
            pushes = [
                Push(Partition(load.lane, where), "ready", number, part)
                for where, of_one in frames.items()
                if (part := of_one[start : start + at_once])
            ]
            for reply in await queue.push(pushes, _CAP):
                if isinstance(reply, Exception):
                    raise reply
        return metering.cost(records)


WAYS = {
    "Penstock: calls and sending": fill,
    "ready frames, the push script": fill_by_script,
    "ready frames, raw pipelined XADD": fill_raw,
}


async def rates(url: str, client: redis.Redis, records: int, rounds: int) -> None:
    """Print the table of the ways in, taken in turns."""
    rows: list[Sequence[object]] = []
    for load in LOADS:
        found: dict[str, list[Cost]] = {name: [] for name in WAYS}
        for _ in range(rounds):
            for name, way in WAYS.items():
                client.flushall()
                found[name].append(await way(url, load, records, lambda: Meter(client)))
        costs = {name: Cost(*map(median, zip(*each, strict=True))) for name, each in found.items()}
        raw = costs["ready frames, raw pipelined XADD"].rate
        rows += (
            (
                load.name,
                name,
                f"{cost.rate:,.0f}",
                f"{cost.rate / raw:.2f}",
                f"{cost.producer_us:.2f}",
                f"{cost.server_us:.2f}",
            )
            for name, cost in costs.items()
        )
    head = ("records", "into the queue, one process", "records/s", "against raw", "producer CPU, us", "server CPU, us")
    table(head, rows)


# -- what Python takes ------------------------------------------------------------------------------


class _Kept:
    """The least that a caller could be given: an id that may be asked what became of its record."""

    __slots__ = ("fate", "packed", "record_id")

    fate: object
    packed: bytes
    record_id: bytes


def least(records: int) -> list[tuple[str, float]]:
    """Microseconds of a core of the cheapest call that Python can make for a record, growing step by step."""
    kept: list[object] = []
    found = []
    for name, step in steps(kept).items():
        found.append((name, median([taken_us(step, records, kept) for _ in range(5)])))
    return found


def steps(kept: list[object]) -> dict[str, Callable[..., object]]:
    """Calls with the keywords of a message, each doing more than the one before; what they make is *kept*."""
    pack = msgpack.Packer(autoreset=True, use_bin_type=True).pack
    append, uuid7, now_ns, make = kept.append, uuid_utils.uuid7, time.time_ns, object.__new__

    def nothing(*, session_id: str, role: str, content: str) -> None: ...

    def packing(*, session_id: str, role: str, content: str) -> None:
        append(pack((1, _ID, 1, session_id, role, content)))

    def identified(*, session_id: str, role: str, content: str) -> None:
        append(pack((1, uuid7().bytes, now_ns() // 1000, session_id, role, content)))

    def receipted(*, session_id: str, role: str, content: str) -> object:
        record_id = uuid7().bytes
        one: _Kept = make(_Kept)
        one.record_id, one.fate = record_id, None
        one.packed = pack((1, record_id, now_ns() // 1000, session_id, role, content))
        append(one)
        return one

    return {
        "a call with three keywords that does nothing": nothing,
        "+ one MessagePack array, kept in a list": packing,
        "+ a UUIDv7 and the time": identified,
        "+ an object for the caller": receipted,
    }


def taken_us(step: Callable[..., object], records: int, kept: list[object]) -> float:
    """Microseconds of a core for each of *records* calls of *step*, no more of them *kept* than are in flight."""
    kept.clear()
    begun = time.process_time()
    for _ in range(records // len(_GIVEN)):
        for session, text in _GIVEN:
            step(session_id=session, role="user", content=text)
        if len(kept) >= _IN_FLIGHT:
            kept.clear()
    taken = (time.process_time() - begun) / records * 1e6
    kept.clear()
    return taken


_ID = bytes(16)
_IN_FLIGHT = 10_000
"""About what is handed over while a round trip of the sender lasts."""

# -- memory -----------------------------------------------------------------------------------------


async def burst(producer: Producer) -> int:
    """All at once."""
    for _ in range(50):
        hand_over_messages(producer)
        await asyncio.sleep(0)
    return 50 * CALLS_AT_ONCE


async def steady(producer: Producer) -> int:
    """A usual load: as many as come in a millisecond, then the next."""
    sent, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < _STEADY_S:
        due = int(elapsed * _STEADY_RATE) - sent
        hand_over_messages(producer, [_GIVEN[(sent + at) % len(_GIVEN)] for at in range(due)])
        sent += due
        await asyncio.sleep(0.001)
    return sent


async def trickle(producer: Producer) -> int:
    """Each record travels alone."""
    for at in range(_ALONE):
        hand_over_messages(producer, _GIVEN[at % len(_GIVEN) :][:1])
        await producer.flush()
    return _ALONE


async def memory(url: str, client: redis.Redis) -> None:
    """Print the table of what the queue server keeps."""
    loads: dict[str, Callable[[Producer], Any]] = {
        "a burst": burst,
        f"{_STEADY_RATE:,} a second": steady,
        "a trickle, each record sent alone": trickle,
    }
    rows = []
    for name, load in loads.items():
        client.flushall()
        async with Producer(settings=settings_of(url)) as producer:
            await producer.message(session_id="warm", role="user", content="up").queued()
            meter = Meter(client)
            records = await load(producer)
            await producer.flush()
        held = await _held(url, name, records, meter.memory())
        rows.append(
            (
                held.name,
                f"{held.records / held.frames:,.1f}",
                f"{held.payload_bytes / held.records:,.0f}",
                f"{held.memory_bytes / held.records:,.0f}",
                f"{held.memory_bytes / held.payload_bytes:.2f}",
            )
        )
    table(("load", "records a frame", "payload, B a record", "queue memory, B a record", "ratio"), rows)


async def _held(url: str, name: str, records: int, memory_bytes: int) -> Held:
    """*memory_bytes*, and what lies in the logs of it: a frame's header is no payload."""
    frames = payload = 0
    async with Queue(url, "bench") as queue:
        for where in queue.all_partitions():
            after = "0-0"
            while entries := await queue.read(where, 100, after):
                after = entries[-1].id
                frames += len(entries)
                payload += sum(len(entry.frame) - (2 if entry.records < 16 else 4) for entry in entries)
    return Held(name, records, frames, payload, memory_bytes)


# -- all of it --------------------------------------------------------------------------------------


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=200_000, help="records of each round; thousands")
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    with system() as (_, environment):
        url = environment["PENSTOCK_REDIS_URL"]
        with redis.Redis.from_url(url) as client:
            print("AOF everysec. CPU is that of one record.\n")
            asyncio.run(rates(url, client, given.records, given.rounds))
            print("What a record costs Python at the least:\n")
            table(("messages of 290 characters", "CPU, us"), [(name, f"{us:.2f}") for name, us in least(given.records)])
            print("Payload is the encoded records; memory what the server's data grew by.\n")
            asyncio.run(memory(url, client))


if __name__ == "__main__":
    main()
