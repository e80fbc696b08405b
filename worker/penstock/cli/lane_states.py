"""What is seen of lanes from outside: open, paused because their store is away, or halted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.cli.display import age, plain
from penstock.wire.ids import from_us
from penstock.wire.pauses import BREAKER, Halt, Outage, Pauses, Standing
from penstock.wire.queue import Queue
from penstock.wire.records import LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """One lane as it is now, by the queue server's clock."""

    lane: str
    at_ms: int
    standing: Standing
    outages: Sequence[Outage]
    """Of those workers whose store is away."""
    workers: int
    """How many live."""

    @property
    def state(self) -> str:
        """`halted` for all workers, `paused` at some or all, or `open`."""
        return "halted" if self.standing.halt else "paused" if self.outages else "open"

    @property
    def since_ms(self) -> int | None:
        """When that began; None for an open lane."""
        if self.standing.halt:
            return self.standing.halt.since_ms
        return min((outage.since_ms for outage in self.outages), default=None)

    @property
    def lasted_s(self) -> float | None:
        """How long ago that was."""
        return None if self.since_ms is None else max(0, self.at_ms - self.since_ms) / 1000

    def why(self) -> str | None:
        """The cause, on one line; None for an open lane."""
        if self.standing.halt:
            return plain(_why_halted(self.standing.halt))
        reasons = dict.fromkeys(f"the store is away: {outage.reason}" for outage in self.outages)
        return plain("; ".join(reasons)) or None

    def sentence(self) -> str | None:
        """All of it for people; None for an open lane."""
        if self.lasted_s is None:
            return None
        if self.standing.halt:
            remedy = f"penstock lanes resume {self.lane}"
            return f"{self.lane}: halted {age(self.lasted_s)}, {self.why()}. Once that is mended: {remedy}"
        few = "" if len(self.outages) >= self.workers else f" at {len(self.outages)} of {self.workers} workers"
        return f"{self.lane}: paused{few} {age(self.lasted_s)}, {self.why()}"

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        halt = self.standing.halt
        return {
            "state": self.state,
            "halt": halt and {**_without_lane(halt), "since": from_us(halt.since_ms * 1000)},
            "outages": [
                {
                    **_without_lane(outage),
                    "since": from_us(outage.since_ms * 1000),
                    "next_probe": from_us(outage.next_probe_ms * 1000),
                }
                for outage in self.outages
            ],
            "bury": self.standing.bury,
        }


async def states_of(queue: Queue) -> Mapping[str, LaneState]:
    """Every lane of an opened *queue*. Raises `QueueUnavailable`."""
    pauses = Pauses(queue)
    with queue.scripts.translated():
        seconds, microseconds = await queue.client.time()
    workers = await queue.workers()
    standings, outages = await pauses.standings(), await pauses.outages(workers)
    return {
        lane: LaneState(
            lane=lane,
            at_ms=seconds * 1000 + microseconds // 1000,
            standing=standings[lane],
            outages=[outage for outage in outages if outage.lane == lane],
            workers=len(workers),
        )
        for lane in LANES
    }


def _why_halted(halt: Halt) -> str:
    if halt.by != BREAKER:
        return f"by hand: {halt.reason}"
    part = f"{halt.refused:,} records in a row" if halt.refused == halt.seen else f"{halt.refused:,} of {halt.seen:,}"
    return f"by the breaker: {part} were refused, the first: {halt.reason}"


def _without_lane(told: Halt | Outage) -> dict[str, Any]:
    return {name: value for name, value in told._asdict().items() if name != "lane" and not name.endswith("_ms")}
