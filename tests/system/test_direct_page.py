"""The example of `docs/direct-use.md` runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/direct-use.md"


def test_the_example_of_the_page_stores_and_reads_back(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)

    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert shown.stdout.splitlines() == [
        "user Where does the water go?",
        "assistant Through the penstock.",
        "t-1 is completed",
        "well: True ['answers', 'schema', 'writable', 'disk', 'log']",
        "messages: 2",
    ]
    assert shown.stderr == ""
