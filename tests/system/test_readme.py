"""The README's examples run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.testing.system import System

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> Iterator[System]:
    whole = System(tmp_path, queue_server)
    whole.start_worker()
    yield whole
    whole.stop()


def test_the_examples_of_the_readme_store_and_read_back(system: System) -> None:
    chat, state = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

    shown = [
        subprocess.run(
            [sys.executable, "-c", each], env=system.environment, capture_output=True, text=True, check=True, timeout=60
        )
        for each in (chat, state)
    ]

    assert [each.stdout.splitlines() for each in shown] == [
        ["user Where does the water go?", "assistant Through the penstock."],
        ["leads: True"],
    ]
    assert [each.stderr for each in shown] == ["", ""]
