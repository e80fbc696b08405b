"""A queue server dies before it has synced what it took, and the producer puts that and what follows into its spool."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.testing.system import System
from penstock.wire.frames import decode_frame
from penstock.wire.keys import Partition, partition_of
from penstock.wire.queue import Queue
from penstock.wire.records import Message

WHERE = Partition("messages", partition_of("s", 8))


async def logged(queue: Queue) -> list[str | None]:
    """What the queue has of the session's messages."""
    entries = await queue.read(WHERE, 10_000)
    return [one.content for entry in entries for one in decode_frame(entry.frame) if isinstance(one, Message)]


async def test_what_lies_in_the_spool_behind_what_was_sent_is_sent_as_well(tmp_path: Path) -> None:
    with System.alone(tmp_path, appendfsync="everysec") as system:
        spool = {"PENSTOCK_SPOOL_DIR": str(tmp_path / "spool"), "PENSTOCK_SPOOL_AFTER_MS": "50"}
        system.settings |= {"PENSTOCK_DURABILITY": "fsync", **spool}
        async with (
            asyncio.timeout(60),
            system.producer() as producer,
            Queue(system.server.url, system.namespace) as queue,
        ):
            await producer.message(session_id="s", role="user", content="0").queued()
            for number in range(1, 50):
                producer.message(session_id="s", role="user", content=str(number))
            while len(await logged(queue)) < 50:
                await asyncio.sleep(0)
            system.server.kill()
            last = [producer.message(session_id="s", role="user", content=str(number)) for number in range(50, 60)][-1]
            while "in the spool" not in repr(last):
                await asyncio.sleep(0.01)
            system.server.start()
            await producer.flush("queued")

            assert await logged(queue) == [str(number) for number in range(60)]
