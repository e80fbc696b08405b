"""The examples of `docs/embedding.md` run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from penstock.testing.system import System

PAGE = Path(__file__).parents[2] / "docs/embedding.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(code: str, folder: Path, environment: dict[str, str]) -> list[str]:
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout.splitlines()


def test_texts_are_sent_embedded_and_found(tmp_path: Path) -> None:
    (embedder,) = re.findall(r"PENSTOCK_EMBEDDER=(\S+)", PAGE.read_text())
    with System.alone(tmp_path) as system:
        system.settings["PENSTOCK_EMBEDDER"] = embedder
        system.start_worker()
        shown = run(EXAMPLES[0], tmp_path, system.environment)

    assert [line.partition(" ")[2] for line in shown[:3]] == [
        "The pump of turbine four is broken.",
        "Who mends the pump?",
        "To change the pump, close the gate.",
    ]
    assert shown[3] == "To change the pump, close the gate."


def test_texts_are_kept_without_a_queue(tmp_path: Path) -> None:
    assert run(EXAMPLES[1], tmp_path, dict(os.environ)) == ["mon It rained all day."]
