"""What a worker loads at its start, what it leaves until there is work for it, and what it tells before."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from penstock.cli.exits import Code
from penstock.embedded import EmbeddedQueue
from penstock.testing.system import System
from tests.system.command import Ran, process

DRIVERS = ["lancedb", "numpy", "pandas", "pyarrow"]
"""Of vectors. The first takes more time and memory to load than all else of a worker."""

OTHERS = ["penstock.cli.demo", "penstock.cli.dead_letters", "penstock.query", "penstock.moving"]
"""What only other commands need."""

_RUN = f"""
import json, sys
from penstock.cli import main
try:
    main(["worker", "--burst"])
except SystemExit as exc:
    code = exc.code
print(json.dumps([name for name in {DRIVERS} + {OTHERS} if name in sys.modules]))
sys.exit(code)
"""


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> System:
    return System(tmp_path, queue_server)


async def run(system: System, *missing: str, **settings: str) -> Ran:
    """A worker until the queue is empty, as if the modules *missing* were not installed."""
    hidden = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in missing)
    program = (sys.executable, "-c", hidden + _RUN)
    return await process(program=program, env={**system.environment, **settings})


async def test_a_worker_without_vectors_loads_no_driver_of_theirs_and_no_other_command(system: System) -> None:
    async with system.producer() as producer:
        producer.message(session_id="s", role="user", content="hello")
        producer.log(level="info", event="sent", agent_id="a")
        producer.task(task_id="t")

    ran = await run(system)

    assert (ran.code, ran.json()) == (0, []), ran.err
    assert (await system.counts()).stored == 3


async def test_the_first_vector_has_its_driver_loaded_and_is_stored(system: System) -> None:
    async with system.producer() as producer:
        producer.message(session_id="s", role="user", content="hello")
        producer.embedding(collection="docs", id="a", vector=[1.0, 2.0])

    ran = await run(system)

    assert (ran.code, "lancedb" in ran.json()) == (0, True), ran.err
    assert not [line for line in map(json.loads, ran.err.splitlines()) if line["level"] in ("warning", "error")]
    assert (await system.counts()).stored == 2


@pytest.mark.parametrize("missing", DRIVERS[:2])
async def test_a_driver_that_is_not_installed_is_told_at_the_start(system: System, missing: str) -> None:
    """Though no vector is there that it would be needed for."""
    ran = await run(system, missing)

    assert ran.code == Code.SETUP
    assert ran.err == f"error: lancedb:// needs {missing}; install it with: pip install 'penstock[lancedb]'\n"


async def test_a_url_of_vectors_that_makes_no_sense_is_told_at_the_start(system: System) -> None:
    ran = await run(system, PENSTOCK_VECTOR_URL="lancedb://host/folder")

    assert ran.code == Code.SETUP
    assert "lancedb:// needs a folder and no host" in ran.err
    assert "Traceback" not in ran.err
