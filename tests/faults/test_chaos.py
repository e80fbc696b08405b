"""A short run of chaos, of a fixed seed: with a spool, and a server that syncs each second. `make chaos` for more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SEED = 35
SECONDS = 8


@pytest.mark.timeout(300)  # 20 s, where nothing else runs
def test_under_random_faults_nothing_is_lost_nothing_twice_nothing_out_of_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "penstock.testing.chaos", f"--seconds={SECONDS}", f"--seed={SEED}"]
    done = subprocess.run([*command, f"--folder={tmp_path}/chaos"], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nsound: nothing lost, nothing twice, nothing out of order" in done.stdout
