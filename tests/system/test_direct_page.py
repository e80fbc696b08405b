"""The examples of `docs/direct-use.md` run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/direct-use.md"


def shown_by(example: int, folder: Path, **environ: str) -> list[str]:
    """What the example of that number prints."""
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[example]],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stderr == ""
    return shown.stdout.splitlines()


def test_the_first_example_stores_and_reads_back(tmp_path: Path) -> None:
    assert shown_by(0, tmp_path) == [
        "user Where does the water go?",
        "assistant Through the penstock.",
        "t-1 is completed",
        "well: True ['answers', 'schema', 'writable', 'disk', 'log']",
        "messages: 2",
    ]


def test_values_are_set_claimed_read_and_deleted(tmp_path: Path) -> None:
    assert shown_by(1, tmp_path) == [
        "{\"dark\": 1} [{'of': 'guide'}, None]",
        "[True, False]",
        "{'theme': '{\"dark\": 1}', 'token': {'of': 'guide'}, 'turn': 'guide'}",
        "True False 2",
    ]


def test_a_value_set_behind_is_read_at_once(tmp_path: Path, redis_url: str, namespace: str) -> None:
    told = shown_by(2, tmp_path, PENSTOCK_REDIS_URL=redis_url, PENSTOCK_NAMESPACE=namespace)

    assert told == ["not stored yet, and there: dark"]
