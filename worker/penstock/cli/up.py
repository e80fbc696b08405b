"""`penstock up`: the queue server, the stores and a worker on one machine."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.display import say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import NAMESPACE, Namespace, environment
from penstock.cli.processes import WorkerProcess, ended_after_us, ending_cleanly
from penstock.embedded import EmbeddedQueue

if TYPE_CHECKING:
    from penstock.stores.contract import SqlStore
    from penstock.stores.vector_contract import VectorStore

DEFAULT_PORT = 7379
"""Not Redis's own 6379, which may be taken; fixed, so that producers keep their setting."""

_WATCH_S = 0.5
_SHORT_LIFE_S = 10.0
"""A worker that ends sooner by itself is not started again: the next one would end, too."""
_SHORT_LIVES = 5
"""So many in a row, each ended by a signal, are enough. A record that kills its worker is found after two."""


def up(
    *,
    data_dir: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path("penstock-data"),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the queue server.")] = DEFAULT_PORT,
    namespace: Namespace = NAMESPACE,
    sql_url: Annotated[str | None, typer.Option(help="Another store of messages, logs and state.")] = None,
    vector_url: Annotated[str | None, typer.Option(help="Another store of embeddings.")] = None,
) -> None:
    """Run queue server, stores and a worker on this machine.

    Ctrl-C stops it; what it holds stays. Prints the settings for producers and readers as lines for a shell.
    """
    folder = data_dir.resolve()
    server = EmbeddedQueue(folder / "queue", port)
    sql = sql_url or f"sqlite:///{folder / 'penstock.db'}"
    vectors = vector_url or f"lancedb:///{folder / 'vectors'}"
    stores = _stores(sql, vectors)  # before anything is made: a wrong URL leaves nothing behind
    settings = environment(server.url, namespace, sql, vectors)
    try:
        with ending_cleanly(), server, ended_after_us(server) as pipe:
            asyncio.run(_set_up(stores))
            with WorkerProcess(settings, holds=[pipe]) as worker:
                asyncio.run(worker.wait_until_alive())
                _print_settings(settings, folder)
                watch(server, worker)
    except KeyboardInterrupt:
        say("Stopped. What was accepted is kept; the same command goes on with it.")


def _stores(sql_url: str, vector_url: str) -> tuple[SqlStore, VectorStore]:
    from penstock.stores.registry import sql_store, vector_store  # noqa: PLC0415 - drivers are slow to load

    return sql_store(sql_url), vector_store(vector_url)


async def _set_up(stores: tuple[SqlStore, VectorStore]) -> None:
    for store in stores:
        try:
            await store.setup()
        finally:
            await store.close()


def _print_settings(settings: Mapping[str, str], folder: Path) -> None:
    for name, value in settings.items():
        if (name, value) != ("PENSTOCK_NAMESPACE", NAMESPACE):
            typer.echo(f"export {name}={shlex.quote(value)}")
    sys.stdout.flush()
    say(f"Up, with everything in {folder}. Producers and readers take the lines above. Ctrl-C stops it.", "green")


def watch(server: EmbeddedQueue, worker: WorkerProcess) -> None:
    """Keep a worker running until Ctrl-C.

    Raises:
        Stop: The queue server has ended, or one worker after the other as soon as it had started.
    """
    short_lives = 0
    while True:
        time.sleep(_WATCH_S)
        if not server.running:
            raise Stop(f"the queue server has ended; see {server.folder / 'valkey.log'}", Code.AWAY)
        code = worker.ended()
        if code is not None:
            short_lives = short_lives + 1 if worker.age_s() < _SHORT_LIFE_S else 0
            if short_lives and (code >= 0 or short_lives == _SHORT_LIVES):
                raise Stop(f"the worker has ended with code {code}; its own lines above say why", Code.NO)
            say(f"The worker has ended with code {code}; starting another.", "yellow")
            worker.start()
