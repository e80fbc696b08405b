"""The queue against a plain Python model of one partition: any sequence of calls, any repeat, any death."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penstock.wire.entries import (
    APPEND,
    APPEND_ENDED,
    FORGET,
    PARK,
    Commit,
    Counts,
    DeadEntry,
    Holder,
    Lease,
    Letter,
    Pushed,
    StreamChange,
)
from penstock.wire.errors import QueueFull
from penstock.wire.frames import Frame
from penstock.wire.inquiry import Inquiry, trace_of
from penstock.wire.marks import Mark
from penstock.wire.queue import WALKED_ENTRIES, Queue
from tests.system.queue_support import TTL_MS, WHERE, Sender, expire, mark, meta, settling

T = TypeVar("T")

CAP = 12
PRODUCERS = ("p1", "p2")
STREAMS = (b"a" * 16, b"b" * 16)
NAMES = ("k1", "k2")
STAMPS = st.integers(1, 2**128 - 1)


class QueueMachine(RuleBasedStateMachine):
    """Every rule does to the server what it does to the model, and compares the answers."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.queue = Queue(self.url, f"model-{uuid.uuid4().hex[:12]}")
        self.run(self.queue.open(1))
        self.senders = {name: Sender(self.queue, producer_id=name, cap=CAP) for name in PRODUCERS}
        self.last: dict[str, tuple[tuple[int, ...], str]] = {}
        self.log: list[tuple[str, int]] = []
        self.accepted = self.stored = self.purged = 0
        self.letters: list[int] = []
        self.armed = False
        self.generation = 0
        self.epoch = 0
        self.leases: list[Lease] = []
        self.owner: Lease | None = None
        self.head = ""
        self.stall = self.fails = 0
        self.done = "0-0"
        self.open: dict[bytes, list[bytes]] = {}
        self.gaps: set[bytes] = set()
        self.stuck: set[bytes] = set()
        self.buried: list[Inquiry | None] = []
        """Of each letter, what its receipt asks; None of one from elsewhere."""
        self.replayed: dict[str, Inquiry] = {}
        """Of each replayed letter in the log."""
        self.imported: set[str] = set()
        """Ids of the letters from elsewhere that are here."""
        self.markers: dict[str, tuple[int, bool]] = {}
        """For each key the stamp of its last write, and whether it is held."""
        self.claimer = Sender(self.queue, producer_id="claims", cap=CAP)
        self.claimed: tuple[Mark, str] | None = None
        self.claimed_as = 0
        self.repeatable: Commit | None = None

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.run(self.queue.close())
        self.runner.close()

    @property
    def buffered(self) -> int:
        return sum(map(len, self.open.values()))

    @property
    def pending(self) -> int:
        return sum(size for _, size in self.log) + self.buffered

    def ring(self) -> int:
        """What a call returns that arms the partition, if it is idle."""
        if self.armed:
            return 0
        return self.next_generation()

    def next_generation(self) -> int:
        self.armed = True
        self.generation += 1
        return self.generation

    # -- producers ------------------------------------------------------------------------------

    @initialize()
    def starts_empty(self) -> None:
        assert self.run(self.queue.read(WHERE, 1)) == []

    @rule(name=st.sampled_from(PRODUCERS), sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3))
    def push(self, name: str, sizes: list[int]) -> None:
        sender = self.senders[name]
        if self.pending >= CAP:
            try:
                self.run(sender.push(*sizes))
            except QueueFull:
                sender.number -= 1
                return
            raise AssertionError("a full partition took more")
        wanted = self.ring()
        pushed = self.run(sender.push(*sizes))
        entries = self.run(self.queue.read(WHERE, 100, after=self.log[-1][0] if self.log else "0-0"))
        assert [entry.records for entry in entries] == sizes
        assert pushed == Pushed(wanted, entries[-1].id)
        milliseconds, number = _order(pushed.entry_id)
        assert [_order(entry.id) for entry in reversed(entries)] == [
            (milliseconds, number - n) for n in range(len(sizes))
        ]
        self.log += [(entry.id, entry.records) for entry in entries]
        self.accepted += sum(sizes)
        self.last[name] = (tuple(sizes), pushed.entry_id)

    @precondition(lambda self: self.last)
    @rule(data=st.data())
    def push_again_after_a_lost_answer(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.last)))
        sizes, entry_id = self.last[name]
        assert self.run(self.senders[name].again(*sizes)) == Pushed(0, entry_id)

    @rule(name=st.sampled_from(PRODUCERS), key=st.sampled_from(NAMES), stamp=STAMPS, deletes=st.booleans())
    def push_a_mark(self, name: str, key: str, stamp: int, deletes: bool) -> None:
        if self.pending >= CAP:
            return
        wanted, sender = self.ring(), self.senders[name]
        pushed = self.run(sender.push(1, marks=[mark(stamp, key, 0 if deletes else None)]))
        assert pushed.generation == wanted
        if stamp > self.markers.get(key, (0, False))[0]:
            self.markers[key] = (stamp, not deletes)
        self.appended(pushed.entry_id)
        self.last[name] = ((1,), pushed.entry_id)

    @rule(key=st.sampled_from(NAMES), stamp=STAMPS)
    def claim(self, key: str, stamp: int) -> None:
        wanted = mark(stamp, key)
        known, held = self.markers.get(key, (0, False))
        if held or known >= stamp:
            reply = self.run(self.claimer.claim(wanted))
            assert reply == Holder(mark(known).stamp, held), "whether or not there is room"
            return
        if self.pending >= CAP:
            with pytest.raises(QueueFull):
                self.run(self.claimer.claim(wanted))
            return
        generation = self.ring()
        pushed = self.run(self.claimer.claim(wanted))
        assert isinstance(pushed, Pushed)
        assert pushed.generation == generation
        self.markers[key] = (stamp, True)
        self.appended(pushed.entry_id)
        self.claimed = wanted, pushed.entry_id
        self.claimed_as = self.claimer.number

    def appended(self, entry_id: str) -> None:
        self.log.append((entry_id, 1))
        self.accepted += 1

    @precondition(lambda self: self.claimed and self.claimer.number == self.claimed_as)
    @rule()
    def claim_again_after_a_lost_answer(self) -> None:
        """Whatever happened to the key meanwhile."""
        assert self.claimed is not None
        wanted, entry_id = self.claimed
        assert self.run(self.claimer.claim_again(wanted)) == Pushed(0, entry_id)

    # -- owners ---------------------------------------------------------------------------------

    @rule(floor=st.sampled_from([0, 2**43, 2**43 + 2]))
    def acquire(self, floor: int) -> None:
        lease = self.run(self.queue.acquire(WHERE, TTL_MS, floor))
        if self.owner is not None:
            assert lease is None
            return
        head = self.log[0][0] if self.log else ""
        self.stall = self.stall + 1 if head and head == self.head else 0
        assert lease is not None
        assert lease.epoch > max(self.epoch, floor)
        self.head, self.epoch = head, lease.epoch
        assert lease == Lease(WHERE, self.epoch, self.stall, self.fails)
        self.owner = lease
        self.leases.append(lease)

    @precondition(lambda self: self.owner)
    @rule()
    def owner_dies(self) -> None:
        self.run(expire(self.queue))
        self.owner = None

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), failed=st.booleans())
    def release(self, data: st.DataObject, failed: bool) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        reply = self.run(self.queue.release(lease, failed=failed))
        if lease != self.owner:
            assert reply == (-1, 0)
            return
        self.owner, self.head, self.stall = None, "", 0
        if failed:
            self.fails += 1
            assert reply == (0, self.fails)
        elif self.log:
            assert reply == (self.next_generation(), 0)
        else:
            self.armed = False
            assert reply == (0, 0)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        entries = self.run(self.queue.read(WHERE, 4))[: data.draw(st.integers(0, 4))]
        records = sum(entry.records for entry in entries)
        dead = data.draw(st.integers(0, records))
        stream = data.draw(st.sampled_from(STREAMS))
        commit = data.draw(st.sampled_from([self.storing, self.buffering, self.parking]))(
            lease, entries, records, dead, stream
        )
        if self.run(self.queue.commit(commit)) is not (lease == self.owner):
            raise AssertionError("the lease decides whether a commit counts")
        if lease == self.owner:
            self.apply(commit)

    def storing(self, lease: Lease, entries: list[Any], records: int, dead: int, stream: bytes) -> Commit:
        held = len(self.open.get(stream, ()))
        letters = [Letter("r", dead, b"r", b"\x80")] if dead else []
        return settling(
            lease,
            entries,
            stored=records - dead + held,
            dead=dead,
            buffered=-held,
            letters=letters,
            traces=[entry.trace or trace_of(entry.id, "r") for entry in entries[: len(letters)]],
            replayed=[entry.trace for entry in entries if entry.trace],
            streams=[StreamChange(stream, FORGET)],
        )

    def buffering(self, lease: Lease, entries: list[Any], records: int, dead: int, stream: bytes) -> Commit:
        op = APPEND_ENDED if dead else APPEND
        changes = [StreamChange(stream, op, [b"%d" % at for at in range(records)])]
        replayed = [entry.trace for entry in entries if entry.trace]
        return settling(lease, entries, buffered=records, streams=changes, replayed=replayed)

    def parking(self, lease: Lease, _entries: list[Any], _records: int, _dead: int, stream: bytes) -> Commit:
        op = PARK if stream in self.open else FORGET
        return settling(lease, [], streams=[StreamChange(stream, op)])

    def apply(self, commit: Commit) -> None:
        if commit.last_id:
            self.log = [entry for entry in self.log if _order(entry[0]) > _order(commit.last_id)]
            self.done = commit.last_id
        self.head = self.log[0][0] if commit.last_id and self.log else ""
        self.stall = self.fails = 0
        self.stored += commit.stored
        self.letters += [letter.records for letter in commit.letters]
        self.buried += [Inquiry("r", trace.partition(":")[0]) for trace in commit.traces]
        self.replayed = {at: one for at, one in self.replayed.items() if any(at == entry for entry, _ in self.log)}
        for change in commit.streams:
            if change.op == FORGET:
                self.open.pop(change.stream_id, None)
                self.gaps.discard(change.stream_id)
                self.stuck.discard(change.stream_id)
                continue
            if change.op == PARK:
                self.stuck.add(change.stream_id)
                continue
            self.stuck.discard(change.stream_id)
            self.open.setdefault(change.stream_id, []).extend(change.chunks)
            if change.op == APPEND_ENDED:
                self.gaps.add(change.stream_id)
        self.repeatable = commit

    @precondition(lambda self: self.repeatable and self.repeatable.lease == self.owner)
    @rule()
    def commit_again_after_a_lost_answer(self) -> None:
        assert self.repeatable is not None
        assert self.run(self.queue.commit(self.repeatable))

    # -- the sweeper and people -----------------------------------------------------------------

    @rule(behind=st.booleans())
    def sweep(self, behind: bool) -> None:
        needing = self.run(self.queue.needing([WHERE], 0))
        assert needing == ([(WHERE, self.generation)] if self.log and self.owner is None else [])
        seen = self.generation - behind
        rung = self.run(self.queue.rearm(WHERE, seen))
        assert rung == (self.next_generation() if self.owner is None and not behind else 0)

    @precondition(lambda self: self.letters)
    @rule(data=st.data(), again=st.booleans())
    def replay_or_purge_a_letter(self, data: st.DataObject, again: bool) -> None:
        at = data.draw(st.integers(0, len(self.letters) - 1))
        entry = self.run(self.queue.dead_letters(WHERE, 100))[at]
        records, inquiry = self.letters.pop(at), self.buried.pop(at)
        self.imported.discard(entry.letter.record_id)
        if not again:
            assert self.run(self.queue.purge(entry))
            self.purged += records
            return
        assert self.run(self.queue.replay(entry, Frame(b"again", records))) == (True, self.ring())
        self.log.append((self.run(self.queue.read(WHERE, 100))[-1].id, records))
        if inquiry is not None:
            self.replayed[self.log[-1][0]] = inquiry

    @precondition(lambda self: self.letters)
    @rule(data=st.data())
    def edit_a_letter(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.letters) - 1))
        entry = self.run(self.queue.dead_letters(WHERE, 100))[at]
        assert self.run(self.queue.put_edited(entry, b"edited", entry.letter.envelope))
        assert self.run(self.queue.put_edited(entry, b"again", entry.letter.envelope)) is None
        self.letters.append(self.letters.pop(at))
        self.buried.append(self.buried.pop(at))

    @rule(number=st.integers(1, 3))
    def import_a_letter(self, number: int) -> None:
        entry = DeadEntry(WHERE, f"1-{number}", Letter(f"from elsewhere {number}", number, b"r", b"\x80"))
        is_new = entry.letter.record_id not in self.imported
        assert self.run(self.queue.take_in([entry])) == [is_new]
        if is_new:
            self.imported.add(entry.letter.record_id)
            self.accepted += number
            self.letters.append(number)
            self.buried.append(None)

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def the_log_is_the_models(self) -> None:
        entries = self.run(self.queue.read(WHERE, 100))
        assert [(entry.id, entry.records) for entry in entries] == self.log

    @invariant()
    def receipts_learn_what_is_dead_and_what_is_on_its_way_again(self) -> None:
        buried = [each for each in self.buried if each is not None]
        asked = [*buried, *self.replayed.values(), Inquiry("r", "1-0")]
        answer = self.run(self.queue.settled({WHERE: asked}))[WHERE]
        assert answer.upto == self.done
        assert set(answer.buried) == set(range(len(buried)))
        assert answer.held == set(range(len(buried), len(asked) - 1))

    @invariant()
    def the_counts_are_the_models_and_add_up(self) -> None:
        counts = self.run(self.queue.counts())[WHERE]
        assert counts.balanced
        assert counts == Counts(
            accepted=self.accepted,
            stored=self.stored,
            dead=sum(self.letters),
            purged=self.purged,
            pending=self.pending,
            buffered=self.buffered,
            entries=len(self.log),
            counted=self.pending - self.buffered if len(self.log) <= WALKED_ENTRIES else None,
            open_streams=len(self.open),
            leased=int(self.owner is not None),
            oldest_ms=_order(self.log[0][0])[0] if self.log else None,
        )

    @invariant()
    def the_markers_are_the_models(self) -> None:
        for key in NAMES:
            known, held = self.markers.get(key, (0, False))
            name = self.queue.keys.mark(WHERE, "default", key)
            assert self.run(self.queue.client.get(name)) == (mark(known).stamp if known else None)
            assert (self.run(self.queue.client.pttl(name)) == -1) is held

    @invariant()
    def the_streams_are_the_models(self) -> None:
        assert self.run(self.queue.stream_chunks(WHERE, STREAMS)) == {one: self.open.get(one, []) for one in STREAMS}
        assert self.run(self.queue.stream_states(WHERE, STREAMS)) == {
            one: (one in self.open, one in self.gaps) for one in STREAMS
        }
        due = self.run(self.queue.due_streams(WHERE, 0, 0, keep=0, limit=10))
        assert sorted(due.silent) == sorted(set(self.open) - self.stuck)
        assert sorted(due.stuck) == sorted(self.stuck)

    @invariant()
    def waiting_records_are_armed(self) -> None:
        """Whoever pushes next need not ring: somebody was rung already, or the sweeper finds it."""
        held = self.run(meta(self.queue))
        assert (held.get("armed") == "1") is self.armed
        assert self.armed or not self.log


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def test_queue_does_what_its_model_does(redis_url: str) -> None:
    class Machine(QueueMachine):
        url = redis_url

    quick = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Machine, settings=quick)
