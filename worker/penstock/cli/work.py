"""`penstock worker`: one worker in this process."""

from __future__ import annotations

import os
import signal
import threading
from typing import Annotated

import typer

from penstock.cli.connection import ask, reachable
from penstock.cli.options import (
    NAMESPACE,
    REDIS_URL,
    SQL_URL,
    VECTOR_URL,
    Namespace,
    RedisUrl,
    SqlUrl,
    VectorUrl,
    environment,
)
from penstock.wire.settings import from_mapping


def worker(
    *,
    burst: Annotated[bool, typer.Option("--burst", help="End when the queue is empty.")] = False,
    tied: Annotated[bool, typer.Option("--tied", hidden=True, help="End when standard input is closed.")] = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
    sql_url: SqlUrl = SQL_URL,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Move records from the queue to their stores.

    Runs until SIGTERM or Ctrl-C; several workers share the work. Every other setting is an environment variable
    PENSTOCK_<NAME>; docs/operating.md lists them.
    """
    from penstock.worker import WorkerConfig, run_worker  # noqa: PLC0415 - arq is slow to load

    if tied:
        threading.Thread(target=_end_with_input, daemon=True).start()
    given = environment(redis_url, namespace, sql_url, vector_url)
    config = from_mapping(WorkerConfig, {**os.environ, **given})
    ask(redis_url, namespace, reachable)  # arq would try for five seconds, and then not say which server is away
    run_worker(config, burst=burst)


def _end_with_input() -> None:
    """Hand over once nobody holds the other end of standard input: who started this worker has ended, or was killed."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
