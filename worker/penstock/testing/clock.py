"""A wall clock that is wrong, in this process alone."""

from __future__ import annotations

import argparse
import time

_NS = 1_000_000_000


def add_option(parser: argparse.ArgumentParser) -> None:
    """Offer `--clock`, for `shift`."""
    parser.add_argument(
        "--clock",
        default="0",
        metavar="SECONDS[:AFTER]",
        help="set the wall clock by so many seconds, -3600 say, at the start or so many seconds after it",
    )


def shift(setting: str) -> None:
    """Have `time.time` and `time.time_ns` go wrong by *setting*, `SECONDS[:AFTER]`.

    Comes before everything that imports one of them by name. What does not go through them, as `datetime.now`, is right
    still; Penstock's own times all go through them.
    """
    by, _, after = setting.partition(":")
    offset_ns, begins = int(float(by) * _NS), time.monotonic() + float(after or 0)
    if not offset_ns:
        return
    right_ns = time.time_ns

    def wrong_ns() -> int:
        return right_ns() + (offset_ns if time.monotonic() >= begins else 0)

    def wrong() -> float:
        return wrong_ns() / _NS

    time.time_ns, time.time = wrong_ns, wrong
