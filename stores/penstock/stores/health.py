"""Whether a store is well, check by check, and how much it holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from penstock.stores.schemas import SchemaVersion
from penstock.wire.errors import PenstockError

CHECK_TIMEOUT_S = 5.0
"""A check that takes longer has failed."""


class NotWell(Exception):
    """What a check raises with what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    healthy: bool
    latency_ms: float
    detail: str
    """What was found, or what is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All that was looked at."""

    checks: Sequence[Check]

    @property
    def healthy(self) -> bool:
        """Whether every check is."""
        return all(check.healthy for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Rows of each table. What is only marked as deleted counts until it is removed."""

    messages: int
    sessions: int
    logs: int
    tasks: int
    agent_states: int
    contexts: int
    key_values: int
    bytes: int | None = None
    """On disk, with indexes; None in memory."""
    uptime_s: float = 0.0
    """Since the store was opened in this process."""
    exact: bool = True
    """False where a large table was not counted but estimated by the database."""


Question = Callable[[], Awaitable[str]]
"""Answers with what was found; raises `NotWell` or a store error with what is wrong."""


async def examined(questions: Mapping[str, Question]) -> Health:
    """Every one of *questions* asked by itself, one after the other; none but the first where that fails.

    Raises nothing.
    """
    checks: list[Check] = []
    for name, question in questions.items():
        checks.append(await _checked(name, question))
        if not checks[0].healthy:
            break
    return Health(checks=checks)


async def _checked(name: str, question: Question) -> Check:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            healthy, detail = True, await question()
    except TimeoutError:
        healthy, detail = False, f"no answer within {CHECK_TIMEOUT_S:g} s"
    except (NotWell, PenstockError) as exc:
        healthy, detail = False, str(exc)
    except Exception as exc:  # noqa: BLE001 - a health check reports, whatever it meets
        healthy, detail = False, f"{type(exc).__name__}: {exc}"
    latency_ms = (time.perf_counter() - started) * 1000
    return Check(name=name, healthy=healthy, latency_ms=round(latency_ms, 3), detail=detail)


def schema_detail(schema: SchemaVersion) -> str:
    """What the check of the schema says. Raises `NotWell` where nothing can be stored at all."""
    if not schema.found:
        raise NotWell("there are no tables: run `penstock migrate`, or start a worker")
    if schema.pending:
        return f"version {schema.found} of {schema.newest}; run `penstock migrate`"
    return f"version {schema.found}"


def since(totals: Totals, uptime_s: float) -> Totals:
    """*totals* of a store that has been open for *uptime_s*."""
    return replace(totals, uptime_s=uptime_s)
