"""A worker that is told where to fail: at that step, that time, and nowhere else. And a clock that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from penstock.testing.worker import Appointment, Fated


def test_an_appointment_is_kept_at_its_time_and_only_then() -> None:
    happened: list[str] = []
    fated = Fated([Appointment("merge", 2, lambda: happened.append("merge"))])

    told = []
    for step in ("merge", "after-store", "merge", "merge"):
        fated(step)
        told.append(list(happened))

    assert told == [[], [], ["merge"], ["merge"]]


@pytest.mark.parametrize(
    ("option", "named"),
    [("--die-at=nowhere", "nowhere"), ("--pause-at=merge", "STEP:SECONDS"), ("--die-at=merge:x", "x")],
)
def test_an_appointment_that_cannot_be_kept_is_refused(option: str, named: str) -> None:
    command = [sys.executable, "-m", "penstock.testing.worker", option]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 2
    assert named in done.stderr.splitlines()[-1]


def test_a_worker_whose_setting_cannot_be_used_says_so_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock.testing.worker"],
        env={**os.environ, "PENSTOCK_SQL_URL": "mongodb://nowhere"},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("setting", "hours"), [("-3600", -1), ("7200:0", 2), ("-3600:1000", 0), ("0", 0)])
def test_a_shifted_clock_is_wrong_by_that_much_from_then_on(setting: str, hours: int) -> None:
    code = (
        "import time; from penstock.testing import clock; right = time.time_ns(); clock.shift(sys.argv[1]); "
        "from penstock.wire.ids import wall_clock_us; "
        "print(round((time.time_ns() - right) / 3.6e12), round((wall_clock_us() - right / 1000) / 3.6e9), "
        "round((time.time() - right / 1e9) / 3600))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}", setting], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == [str(hours)] * 3
