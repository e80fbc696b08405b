"""What is said of a queue server, by what it tells of itself."""

from __future__ import annotations

import pytest

from penstock.wire.durability import fault_of
from penstock.wire.server_check import ServerFacts, verdict_on

GOOD = ServerFacts(version=(7, 2), maxmemory=10**9, policy="noeviction", aof=True, appendfsync="everysec", save="")


def facts(**changes: object) -> ServerFacts:
    return ServerFacts(**{**{name: getattr(GOOD, name) for name in GOOD.__slots__}, **changes})


def test_a_server_that_logs_and_does_not_evict_is_well() -> None:
    assert verdict_on(GOOD) == ([], [])


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_server_that_evicts_is_faulty_with_its_limit_and_the_remedy(policy: str) -> None:
    (fault,), cautions = verdict_on(facts(policy=policy))

    assert fault.startswith(f"it evicts: maxmemory is 1,000,000,000 bytes and maxmemory-policy is {policy}")
    assert fault.endswith("set maxmemory-policy to noeviction")
    assert cautions == []


def test_an_evicting_policy_without_a_limit_is_a_caution() -> None:
    faults, (caution,) = verdict_on(facts(policy="allkeys-lru", maxmemory=0))

    assert faults == []
    assert "before anybody sets maxmemory" in caution


def test_a_server_that_keeps_nothing_on_disk_is_faulty() -> None:
    (fault,), _ = verdict_on(facts(aof=False))

    assert "appendonly is no and save is empty" in fault
    assert fault.endswith("set appendonly to yes")


def test_snapshots_alone_are_a_caution() -> None:
    faults, (caution,) = verdict_on(facts(aof=False, save="3600 1 300 100"))

    assert faults == []
    assert "save is '3600 1 300 100'" in caution


def test_what_cannot_be_asked_is_said_to_be_unknown() -> None:
    """Managed servers forbid CONFIG."""
    faults, (caution,) = verdict_on(facts(aof=False, save=None, appendfsync=None))

    assert faults == []
    assert "whether it takes snapshots is not known" in caution


def test_a_server_that_tells_nothing_is_let_in() -> None:
    assert verdict_on(ServerFacts()) == ([], [])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"version": (8, 2), "appendfsync": None}, ""),
        ({"version": (7, 0)}, "is 7.0; Redis 7.2 or any Valkey is needed"),
        ({"aof": False}, "has appendonly no; set it to yes"),
        ({"appendfsync": "no"}, "set it to everysec or always"),
        ({"no_appendfsync_on_rewrite": "yes"}, "does not sync while it rewrites its log; set it to no"),
    ],
)
def test_a_server_that_cannot_sync_is_told_with_the_remedy(changes: dict[str, object], fault: str) -> None:
    found = fault_of(facts(**changes))

    assert found.endswith(fault)
    assert bool(found) is bool(fault)
