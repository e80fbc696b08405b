"""How a spool's file ends when that meets something else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from structlog.testing import capture_logs

from penstock.producer.spool import Spool
from penstock.producer.spool_file import Draft
from penstock.wire.keys import Partition
from penstock.wire.levels import FAST
from penstock.wire.tasks import end_task
from tests.unit.producer_support import ticket

WHERE = Partition("messages", 0)


def draft(number: int) -> Draft:
    return Draft(WHERE, "p", number, 1, 1, FAST, ["s", ticket().packed])


async def test_a_file_whose_last_runs_are_confirmed_while_it_is_read_is_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "test", 10**9)
    with capture_logs():
        first, second = await spool.put([draft(1), draft(2)], 2, "away")
        spool.confirmed(WHERE, first, ())
        reading = asyncio.create_task(spool.next(()))
        await asyncio.sleep(0)
        spool.confirmed(WHERE, second, ())
        await reading

        assert spool.is_spent
        await spool.next(())
        assert list(tmp_path.glob("*")) == []
        await spool.close()


async def test_what_a_cancelled_call_left_to_the_thread_is_done_though_it_had_not_begun(tmp_path: Path) -> None:
    spool, free = Spool(tmp_path, "test", 10**9), threading.Event()
    with capture_logs():
        [place] = await spool.put([draft(1)], 2, "away")
        spool.confirmed(WHERE, place, ())
        [shelf] = spool._shelves
        busy = asyncio.create_task(spool._apart(free.wait))
        removing = asyncio.create_task(spool._remove(shelf))
        await asyncio.sleep(0)
        await end_task(removing)
        free.set()
        await busy
        await spool.close()

    assert list(tmp_path.glob("*")) == []
