"""`penstock lanes`: which lanes stand still and why, and letting them go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from penstock.cli.connection import ask
from penstock.cli.display import age, print_json, print_table, say
from penstock.cli.exits import Code, Stop
from penstock.cli.lane_states import LaneState, states_of
from penstock.cli.options import NAMESPACE, REDIS_URL, Json, Namespace, RedisUrl
from penstock.wire.ids import wall_clock_us
from penstock.wire.pauses import HAND, Halt, Pauses
from penstock.wire.queue import Queue
from penstock.wire.records import LANES

app = typer.Typer(help="Lanes: which stand still, and why; halt one, and let it go on.", invoke_without_command=True)

LaneName = Annotated[str, typer.Argument(metavar="LANE", help="messages, logs, state or embeddings.")]


@app.callback()
def lanes(
    context: typer.Context, json: Json = False, redis_url: RedisUrl = REDIS_URL, namespace: Namespace = NAMESPACE
) -> None:
    """Show each lane: open, paused because its store is away, or halted until you resume it."""
    if context.invoked_subcommand:
        sources = (context.get_parameter_source(name) for name in context.params)
        if any(source and source.name == "COMMANDLINE" for source in sources):
            raise Stop(f"options of {context.invoked_subcommand} stand behind it", Code.USAGE)
        return
    states = ask(redis_url, namespace, states_of)
    if json:
        print_json({"lanes": {lane: state.as_json() for lane, state in states.items()}})
    else:
        _print(states)


def _print(states: Mapping[str, LaneState]) -> None:
    print_table(["lane", "state", "for", "at", "why"], [_row(state) for state in states.values()], ["for"], whole=True)
    for state in states.values():
        if state.standing.bury:
            say(f"{state.lane}: {state.standing.bury:,} refused records may yet be buried before any count.")
    if any(state.standing.halt for state in states.values()):
        say("Once the cause is mended: penstock lanes resume LANE. Those that are paused go on by themselves.")


def _row(state: LaneState) -> list[object]:
    halt, where = state.standing.halt, None
    if halt:
        where = f"all workers, by {halt.worker} ({halt.version})" if halt.worker else "all workers"
    why = state.why()
    if state.state == "paused":
        where = ", ".join(f"{outage.worker} ({outage.version})" for outage in state.outages)
        wait_ms = min(outage.next_probe_ms for outage in state.outages) - state.at_ms
        why = f"{why} ({f'next probe in {age(wait_ms / 1000)}' if wait_ms > 0 else 'probed now'})"
    return [state.lane, state.state, None if state.lasted_s is None else age(state.lasted_s), where, why]


@app.command()
def resume(
    lane: LaneName,
    *,
    bury: Annotated[
        int, typer.Option(min=0, help="Make dead letters of the next so many refused records, without halting again.")
    ] = 0,
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Let a halted lane go on; its breakers count anew.

    Workers begin within two seconds. Exit code 3 when the lane is not halted.
    """
    _known(lane)
    halt = ask(redis_url, namespace, lambda queue: Pauses(queue).resume(lane, bury))
    if halt is None:
        raise Stop(f"{lane} is not halted; one that is paused goes on by itself when its store is back", Code.NOT_FOUND)
    if json:
        print_json({"lane": lane, "resumed": True, "bury": bury})
    else:
        but = f"; up to {bury:,} refused records become dead letters" if bury else ""
        say(f"{lane} goes on{but}.")


@app.command()
def pause(
    lane: LaneName,
    *,
    reason: Annotated[str, typer.Option(help="What those who look at it should know.")],
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Halt a lane for all workers, until it is resumed.

    They stop within a second and a batch; producers go on. Exit code 1 when it is halted already.
    """
    _known(lane)
    if not reason.strip():
        raise Stop("--reason is empty; say why, for those who look at the lane", Code.USAGE)
    made = Halt(lane, HAND, reason, wall_clock_us() // 1000)
    found = ask(redis_url, namespace, lambda queue: _halted(queue, made))
    if found != made:
        raise Stop(f"{lane} is halted already, by {found.by}: {found.reason}", Code.NO)
    if json:
        print_json({"lane": lane, "halted": True, "reason": reason})
    else:
        say(f"{lane} is halted. To let it go on: penstock lanes resume {lane}")


async def _halted(queue: Queue, halt: Halt) -> Halt:
    """The halt that is there after *halt* was asked for: it, or one that came before."""
    pauses = Pauses(queue)
    await pauses.halt(halt)
    return (await pauses.standings())[halt.lane].halt or halt


def _known(lane: str) -> None:
    if lane not in LANES:
        raise Stop(f"no lane is called {lane!r}; known are {', '.join(LANES)}", Code.USAGE)
