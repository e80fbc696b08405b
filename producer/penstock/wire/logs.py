"""Where the library's own log lines go: where the program sends its structlog lines, or its `logging`; never stdout."""

from __future__ import annotations

import logging
from typing import Any


def logger(name: str) -> Any:
    """A structlog logger.

    A program that has not configured structlog gets the lines through `logging`, so that they stay off its
    standard output, on which some agents speak.
    """
    import structlog  # noqa: PLC0415 - costs 50 to 100 ms, and most programs never log

    if structlog.is_configured():
        return structlog.get_logger(name)
    render = structlog.processors.KeyValueRenderer(key_order=["event"])

    def for_logging(wrapped: Any, method: str, event: Any) -> tuple[tuple[str], dict[str, Any]]:
        exc_info = event.pop("exc_info", None)  # `logging` writes the traceback below the line, if there is one
        return (render(wrapped, method, event),), {"exc_info": exc_info}

    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[for_logging],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
