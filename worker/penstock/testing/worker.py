"""A worker that fails where it is told to: `python -m penstock.testing.worker --die-at after-store:3`.

It is set up by its environment, as `penstock worker` is.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from penstock.testing import clock
from penstock.wire.errors import PenstockError
from penstock.wire.settings import from_mapping
from penstock.worker import WorkerConfig
from penstock.worker.steps import Step

T = TypeVar("T")


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
    return Appointment(_known(step), _number(time or "1", int), die)


def _pause(text: str) -> Appointment:
    step, _, rest = text.partition(":")
    seconds, _, time = rest.partition(":")
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} does not say for how long; STEP:SECONDS is needed")
    return Appointment(_known(step), _number(time or "1", int), functools.partial(pause, _number(seconds, float)))


def _known(step: str) -> str:
    if step not in list(Step):
        raise argparse.ArgumentTypeError(f"{step!r} is no step; one of {', '.join(Step)} is needed")
    return step


def _number(text: str, sort: Callable[[str], T]) -> T:
    try:
        return sort(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def main(arguments: Sequence[str]) -> None:
    """Run until a signal, or an appointment."""
    parser = argparse.ArgumentParser(prog="python -m penstock.testing.worker", description=__doc__)
    parser.add_argument(
        "--die-at", action="append", default=[], type=_death, metavar="STEP[:N]", help="SIGKILL at the N-th time"
    )
    parser.add_argument(
        "--pause-at",
        action="append",
        default=[],
        type=_pause,
        metavar="STEP:SECONDS[:N]",
        help="SIGSTOP at the N-th time",
    )
    clock.add_option(parser)
    given = parser.parse_args(arguments)
    clock.shift(given.clock)
    from penstock.worker import run_worker  # noqa: PLC0415 - arq takes `time.time` by its name

    try:
        run_worker(from_mapping(WorkerConfig, os.environ), reached=Fated([*given.die_at, *given.pause_at]))
    except PenstockError as exc:
        sys.exit(f"error: {exc}")  # foreseen: a traceback in a worker's log is a fault that chaos tells of


if __name__ == "__main__":
    main(sys.argv[1:])
