"""The queue server has no memory left: what it holds is drained all the same, and then it takes records again."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.testing.system import System


@pytest.mark.parametrize("when", ["before the worker starts", "while the worker runs"])
async def test_a_full_server_is_drained_and_goes_on(tmp_path: Path, when: str) -> None:
    with EmbeddedQueue(tmp_path / "queue") as server, server.client() as client:
        system = System(tmp_path, server)
        try:
            async with system.producer() as producer:
                if when == "while the worker runs":
                    system.start_worker()
                    await system.workers_alive(1)
                for number in range(2_000):
                    producer.message(session_id=f"s{number % 40}", role="user", content=str(number))
                await producer.flush(until="queued", timeout=10)
                client.config_set("maxmemory", "1")
                if when == "before the worker starts":
                    system.start_worker()

                await system.drained(timeout_s=30)
                assert sum(map(len, system.contents().values())) == 2_000
                client.config_set("maxmemory", "0")
                await producer.message(session_id="s0", role="user", content="after").stored(timeout=20)
        finally:
            system.stop()

        assert system.contents()["s0"][-1] == "after"
        assert system.workers[0].returncode == 0
        assert (await system.counts()).balanced
