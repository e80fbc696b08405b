"""A worker that fails where it is told to: `python -m penstock.testing.worker --die-at after-store:3`.

It is set up by its environment, as `penstock worker` is.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.testing import clock


@dataclass(frozen=True, slots=True)
class Appointment:
    """What happens when a step is reached for the *time*-th time."""

    step: str
    time: int
    act: Callable[[], None]


class Fated:
    """Told of every step, keeps its appointments."""

    def __init__(self, appointments: Sequence[Appointment]) -> None:
        self._appointments = appointments
        self._reached: Counter[str] = Counter()

    def __call__(self, step: str) -> None:
        """See `penstock.worker.steps.Reached`."""
        self._reached[step] += 1
        for each in self._appointments:
            if (each.step, each.time) == (step, self._reached[step]):
                each.act()


def die() -> None:
    """End this process without a chance to do anything."""
    os.kill(os.getpid(), signal.SIGKILL)


def pause(seconds: float) -> None:
    """Stop this process, all of its threads, for so long. A child of its own wakes it."""
    wake = f"sleep {seconds}; kill -CONT {os.getpid()}"
    subprocess.Popen(["/bin/sh", "-c", wake], start_new_session=True, stdin=subprocess.DEVNULL)
    os.kill(os.getpid(), signal.SIGSTOP)


def _death(text: str) -> Appointment:
    step, _, time = text.partition(":")
    return Appointment(_known(step), int(time or 1), die)


def _pause(text: str) -> Appointment:
    step, seconds, *time = text.split(":")
    return Appointment(_known(step), int(time[0] if time else 1), lambda: pause(float(seconds)))


def _known(step: str) -> str:
    from penstock.worker.steps import Step  # noqa: PLC0415 - not before the clock is set

    return Step(step)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal, or an appointment."""
    parser = argparse.ArgumentParser(prog="python -m penstock.testing.worker", description=__doc__)
    parser.add_argument("--die-at", action="append", default=[], metavar="STEP[:N]", help="SIGKILL at the N-th time")
    parser.add_argument(
        "--pause-at", action="append", default=[], metavar="STEP:SECONDS[:N]", help="SIGSTOP at the N-th time"
    )
    clock.add_option(parser)
    given = parser.parse_args(arguments)
    clock.shift(given.clock)
    from penstock.wire.settings import from_mapping  # noqa: PLC0415 - not before the clock is set
    from penstock.worker import WorkerConfig, run_worker  # noqa: PLC0415

    fated = Fated([*map(_death, given.die_at), *map(_pause, given.pause_at)])
    run_worker(from_mapping(WorkerConfig, os.environ), reached=fated)


if __name__ == "__main__":
    main(sys.argv[1:])
