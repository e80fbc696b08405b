"""`penstock bench`: what this machine, this queue server and this store make of Penstock, in less than a minute."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.bench_levers import Medians, Setup, levers
from penstock.cli.connection import ask, reachable
from penstock.cli.demo_figures import percentile
from penstock.cli.display import console, print_json, print_table, say
from penstock.cli.options import REDIS_URL, Json
from penstock.cli.processes import ending_cleanly
from penstock.wire.errors import QueueUnavailable
from penstock.wire.queue import Queue
from penstock.wire.scripts import hide_password
from penstock.wire.settings import from_mapping

if TYPE_CHECKING:
    from penstock.cli.bench_run import Figures
    from penstock.producer import ProducerSettings

_OwnRedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis-url",
        envvar=["PENSTOCK_REDIS_URL", "REDIS_URL"],
        help="The queue server; without one that answers, one is started.",
        rich_help_panel="Where",
    ),
]


def bench(
    *,
    records: Annotated[int, typer.Option(min=1_000, max=1_000_000, help="Messages of a round.")] = 30_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds; the figures are their medians.")] = 3,
    embedded: Annotated[bool, typer.Option("--embedded", help="Start a queue server for the run in any case.")] = False,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Measure this store: a file beside a SQLite file, a schema of a database."),
    ] = None,
    json: Json = False,
    redis_url: _OwnRedisUrl = None,
) -> None:
    """Measure calls, queue, drain and latency here, with your settings, beside the limits of queue server and driver.

    Your queue server is used under a namespace of its own, which is deleted at the end, and is busy meanwhile. Records
    end in a temporary SQLite file, or beside what --store names. Nothing of yours is read or changed.
    """
    from penstock.cli.bench_run import Bench, own_namespace  # noqa: PLC0415 - see `app`
    from penstock.cli.bench_stores import place_of  # noqa: PLC0415
    from penstock.producer import ProducerSettings  # noqa: PLC0415
    from penstock.worker import WorkerConfig  # noqa: PLC0415 - arq is slow to load

    producer, worker = from_mapping(ProducerSettings, os.environ), from_mapping(WorkerConfig, os.environ)
    with ending_cleanly(), tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        place = place_of(store, folder)
        with (
            _server(None if embedded else redis_url, folder, embedded=embedded) as url,
            own_namespace(url) as namespace,
        ):
            say(f"Queue server {hide_password(url)}, store {place}, {rounds} rounds of {records:,} messages.")
            settings = _ours(producer, url, namespace)
            run = Bench(settings, place, folder, records, worker.batch_records)
            figures = run.run(rounds, say)
            appendfsync = ask(url, namespace, _appendfsync)
    has_uvloop = importlib.util.find_spec("uvloop") is not None
    setup = Setup(producer, worker, appendfsync, has_uvloop, place.is_parallel)
    found = _medians(figures)
    _show(found, levers(found, setup), {"records": records, "rounds": rounds, "store": str(place)}, json=json)


def _ours(settings: ProducerSettings, url: str, namespace: str) -> ProducerSettings:
    """The user's settings, with everything that could leave the run or its namespace taken out."""
    return replace(settings, redis_url=url, namespace=namespace, spool_dir="", overflow="block", strategy="default")


@contextlib.contextmanager
def _server(redis_url: str | None, folder: Path, *, embedded: bool) -> Iterator[str]:
    """The URL of the queue server that is asked for, or of one of our own where none is and none is there."""
    if not embedded:
        try:
            ask(redis_url or REDIS_URL, "bench", reachable)
        except QueueUnavailable:
            if redis_url is not None:
                raise
        else:
            yield redis_url or REDIS_URL
            return
    from penstock.embedded import EmbeddedQueue  # noqa: PLC0415 - see `app`

    with EmbeddedQueue(folder / "queue") as server:
        yield server.url


async def _appendfsync(queue: Queue) -> str | None:
    from penstock.wire.server import facts_of  # noqa: PLC0415 - see `app`

    return (await facts_of(queue.scripts)).appendfsync


def _medians(figures: Figures) -> Medians:
    return Medians(
        call_us=percentile(figures.call_us, 0.5),
        call_p99_us=percentile(figures.call_us, 0.99),
        into=percentile(figures.into, 0.5),
        into_limit=percentile(figures.into_limit, 0.5),
        drained=percentile(figures.drained, 0.5),
        drained_limit=percentile(figures.drained_limit, 0.5),
        stored_ms=percentile(figures.stored_ms, 0.5),
        stored_p99_ms=percentile(figures.stored_ms, 0.99),
        round_trip_ms=percentile(figures.round_trip_ms, 0.5),
    )


def _show(found: Medians, pulled: Sequence[str], about: dict[str, Any], *, json: bool) -> None:
    ratios = {"into_ratio": found.into / found.into_limit, "drained_ratio": found.drained / found.drained_limit}
    if json:
        print_json({**about, **found._asdict(), **ratios, "levers": list(pulled)})
        return
    rows = [
        ["message(), median", f"{found.call_us:.1f} us", "", ""],
        ["message(), p99", f"{found.call_p99_us:.1f} us", "", ""],
        _against("into the queue", found.into, found.into_limit, "XADD of ready frames"),
        _against("out of it into the store", found.drained, found.drained_limit, "the driver alone"),
        ["call to stored, idle, p50", f"{found.stored_ms:.0f} ms", "", ""],
        ["call to stored, idle, p99", f"{found.stored_p99_ms:.0f} ms", "", ""],
        ["round trip to the queue server", f"{found.round_trip_ms:.2f} ms", "", ""],
    ]
    print_table(["measured", "here", "of the limit", "limit"], rows, ["here", "of the limit"])
    out = console()
    for line in pulled or ["No setting stands out; docs/performance.md tells what each of them does."]:
        out.print(line, soft_wrap=True)


def _against(what: str, rate: float, limit: float, name: str) -> list[str]:
    return [what, f"{rate:,.0f} /s", f"{rate / limit:.0%}", f"{limit:,.0f} /s, {name}"]
