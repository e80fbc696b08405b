"""A short run of chaos, of a fixed seed: with a spool, and a server that syncs each second. `make chaos` for more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SEED = 35
SECONDS = 8


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock.testing.chaos", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.timeout(300)  # 20 s, where nothing else runs
def test_under_random_faults_nothing_is_lost_nothing_twice_nothing_out_of_order(tmp_path: Path) -> None:
    done = chaos(f"--seconds={SECONDS}", f"--seed={SEED}", f"--folder={tmp_path}/chaos")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nsound: nothing lost, nothing twice, nothing out of order" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--sql-url=mysql://127.0.0.1/x", "error: no sql backend is called 'mysql'"),
        ("--seconds=0", "more than 0 is needed"),
    ],
)
def test_what_it_cannot_run_with_is_said_without_a_traceback(given: str, said: str, tmp_path: Path) -> None:
    done = chaos(f"--folder={tmp_path}/chaos", given)

    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
