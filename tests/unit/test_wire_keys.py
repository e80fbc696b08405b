"""Keys: one partition shares one slot, and nothing of one namespace touches another."""

from __future__ import annotations

import inspect
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.keys import Keys, Partition, partition_of

WHERE = Partition("messages", 3)


def partition_keys(keys: Keys, where: Partition) -> dict[str, str]:
    """Every key of *where*, by the name of its method."""
    given_too = {"stream_id": bytes(16), "producer_id": "p", "namespace": "default", "key": "k"}
    made = {}
    for name, method in inspect.getmembers(keys, inspect.ismethod):
        first, *more = [*inspect.signature(method).parameters, ""]
        if first == "partition" and not name.startswith("_"):
            made[name] = method(where, *(given_too[each] for each in more if each))
    return made


def test_all_keys_of_a_partition_share_a_slot() -> None:
    made = partition_keys(Keys("ns"), WHERE)

    assert len(made) == 13
    assert {re.findall(r"\{(.*?)\}", key)[0] for key in made.values()} == {"messages:3"}


def test_no_two_keys_are_the_same() -> None:
    made = [
        key
        for namespace in ("a", "b")
        for lane in ("messages", "logs")
        for number in (1, 11)
        for key in partition_keys(Keys(namespace), Partition(lane, number)).values()
    ]
    made += [key for name in ("a", "b") for key in (Keys(name).config(), Keys(name).bell(), Keys(name).workers())]
    made += [key for name in ("a", "b") for key in (Keys(name).jobs(), Keys(name).lanes())]
    made += [Keys(name).outage(lane, "w:1") for name in ("a", "b") for lane in ("messages", "logs")]

    assert len(made) == len(set(made))


def test_key_layout_is_what_running_systems_hold() -> None:
    """Data lies under these names: a change needs a migration."""
    keys = Keys("penstock")

    assert partition_keys(keys, WHERE) == {
        "log": "penstock:{messages:3}:log",
        "lease": "penstock:{messages:3}:lease",
        "meta": "penstock:{messages:3}:meta",
        "dead": "penstock:{messages:3}:dead",
        "dead_index": "penstock:{messages:3}:deadix",
        "open": "penstock:{messages:3}:open",
        "gaps": "penstock:{messages:3}:gaps",
        "buffer": "penstock:{messages:3}:buf:00000000-0000-0000-0000-000000000000",
        "seen": "penstock:{messages:3}:seen:p",
        "mark": "penstock:{messages:3}:kv:7:default:k",
        "imported": "penstock:{messages:3}:imported",
        "replays": "penstock:{messages:3}:replays",
        "stuck": "penstock:{messages:3}:stuck",
    }
    assert (keys.config(), keys.lanes()) == ("penstock:config", "penstock:lanes")


NAMES = st.text("a1:{}", min_size=1, max_size=5)


@given(NAMES, NAMES, NAMES, NAMES)
def test_no_two_key_values_share_a_marker(namespace: str, key: str, other: str, other_key: str) -> None:
    marks = {Keys("ns").mark(WHERE, *each) for each in ((namespace, key), (other, other_key))}

    assert len(marks) == len({(namespace, key), (other, other_key)})


@given(st.text("abc:", min_size=1), st.integers(0, 255))
def test_partition_returns_from_its_text(lane: str, number: int) -> None:
    assert Partition.parse(str(Partition(lane, number))) == (lane, number)


def test_partition_of_a_key_never_changes() -> None:
    """Another hash would put a session's next message beside its last ones, out of order."""
    assert [partition_of(key, 8) for key in ("s1", "s2", "séance", "")] == [0, 2, 2, 0]


def test_sessions_spread_evenly() -> None:
    spread = Counter(partition_of(f"session-{n}", 8) for n in range(8_000))

    assert set(spread) == set(range(8))
    assert max(spread.values()) < 1.2 * 1_000
