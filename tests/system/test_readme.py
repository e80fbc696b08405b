"""The README's example runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from tests.faults.system import System

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> Iterator[System]:
    whole = System(tmp_path, queue_server)
    whole.start_worker()
    yield whole
    whole.stop()


def test_the_example_of_the_readme_stores_and_reads_back(system: System) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

    shown = subprocess.run(
        [sys.executable, "-c", example], env=system.environment, capture_output=True, text=True, check=True, timeout=60
    )

    assert shown.stdout.splitlines() == [
        "user Where does the water go?",
        "assistant Through the penstock.",
    ]
    assert shown.stderr == ""
