"""Whether a queue server keeps what it is given, by what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

ServerCheck = Literal["refuse", "warn", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server tells of itself. None is what it does not tell: where CONFIG is forbidden, on managed servers."""

    version: tuple[int, ...] = (0,)
    """As Redis counts; a Valkey tells the Redis that it can stand for."""
    maxmemory: int = 0
    """Bytes; 0 is no limit."""
    policy: str | None = None
    """What happens at the limit."""
    aof: bool | None = None
    """Whether it logs every write to disk."""
    appendfsync: str | None = None
    """When it syncs that log: `always`, `everysec` or `no`."""
    no_appendfsync_on_rewrite: str | None = None
    """Whether it leaves that out while it rewrites the log: `yes` or `no`."""
    save: str | None = None
    """When it takes snapshots; empty for never."""


class Verdict(NamedTuple):
    """What is to be said of a server."""

    faults: list[str]
    """It throws records away, or forgets them."""
    cautions: list[str]
    """It may."""


def verdict_on(facts: ServerFacts) -> Verdict:
    """What may cost records on such a server, each with the value and the remedy."""
    verdict = Verdict([], [])
    _weigh_eviction(facts, verdict)
    _weigh_persistence(facts, verdict)
    return verdict


def _weigh_eviction(facts: ServerFacts, verdict: Verdict) -> None:
    if facts.policy in (None, "noeviction"):
        return
    remedy = "set maxmemory-policy to noeviction"
    if facts.maxmemory:
        verdict.faults.append(
            f"it evicts: maxmemory is {facts.maxmemory:,} bytes and maxmemory-policy is {facts.policy}, so a full "
            f"server throws records away; {remedy}"
        )
    else:
        verdict.cautions.append(f"maxmemory-policy is {facts.policy}; {remedy}, before anybody sets maxmemory")


def _weigh_persistence(facts: ServerFacts, verdict: Verdict) -> None:
    if facts.aof is not False:
        return
    remedy = "set appendonly to yes"
    if facts.save:
        verdict.cautions.append(
            f"appendonly is no and save is {facts.save!r}: a crash loses what came after the last snapshot; {remedy}"
        )
    elif facts.save == "":
        verdict.faults.append(
            f"it keeps nothing on disk: appendonly is no and save is empty, so its restart loses every record that is "
            f"not stored yet; {remedy}"
        )
    else:
        verdict.cautions.append(
            f"appendonly is no, and CONFIG is not allowed: whether it takes snapshots is not known; {remedy}"
        )
