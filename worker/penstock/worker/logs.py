"""How a worker writes its log: structlog, as JSON or for people, with the libraries' lines in the same shape."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from penstock.worker.settings import WorkerConfig


def configure(config: WorkerConfig) -> None:
    """Send every log line of this process to standard error, one shape for all. For the process's own entry point."""
    for_people = config.log_format == "console" or (config.log_format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if for_people:
        renderer: list[Any] = [structlog.dev.ConsoleRenderer()]
    else:
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[strip, *renderer]))
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    quiet = logging.getLogger("arq")  # it says a line for every job
    quiet.handlers.clear()
    quiet.setLevel(max(level, logging.WARNING))
    # A traceback for each try to keep a connection open to a server that is away, of which the lane's line tells.
    logging.getLogger("asyncpg.pool").setLevel(max(level, logging.ERROR))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
