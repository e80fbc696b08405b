"""What receipts ask of the queue: whether a record is settled, held back, or dead.

A dead letter is found by its *trace*, and not by its record's id alone: the same id may have been sent again,
corrected, before or after. The trace of a record is the log entry that brought it first, however often it was replayed
since, and its id; of a stream, whose message is made of many entries, when it was opened, and its id. The trace of what
could not be decoded is the entry alone. Calls with one id in one frame share a trace, and are dead if one of them is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from penstock.wire.keys import Keys, Partition
from penstock.wire.scripts import Call, Scripts, text_of


def trace_of(entry_id: str, record_id: str = "") -> str:
    """The trace of a record; without *record_id*, of all that an entry holds."""
    return f"{entry_id}:{record_id}"


def trace_of_stream(opened_us: int, stream_id: str) -> str:
    """The trace of a stream."""
    return f"s{opened_us}:{stream_id}"


class Inquiry(NamedTuple):
    """A record, as its receipt knows it."""

    record_id: str
    entry_id: str
    opened_us: int = 0
    """Of a stream: when it was opened. 0 for all else."""


class Buried(NamedTuple):
    """The letter that holds a record."""

    letter_id: str
    """What it is replayed by: the record's id, unless it lies in something larger."""
    envelope: Mapping[str, Any]


class Answer(NamedTuple):
    """What is known of one partition, and of the records that were asked for there."""

    upto: str
    """The last entry that was settled."""
    buried: Mapping[int, Buried]
    """By the inquiry's number."""
    held: frozenset[int]
    """Numbers of inquiries whose record left the log and is not settled: a stream that ended with chunks missing,
    a letter that is on its way again."""


def _asked(one: Inquiry) -> tuple[str, str]:
    # The script makes the trace of it: a third less to send and to build.
    return one.record_id, f"{one.entry_id} {one.opened_us}" if one.opened_us else one.entry_id


async def ask_upto(scripts: Scripts, keys: Keys, partitions: Sequence[Partition]) -> dict[Partition, str]:
    """See `Queue.settled_upto`."""
    with scripts.translated():
        async with scripts.client.pipeline(transaction=False) as pipe:
            for where in partitions:
                pipe.hget(keys.meta(where), "done")
            found = await pipe.execute()
    return {where: text_of(done or "0-0") for where, done in zip(partitions, found, strict=True)}


async def ask(scripts: Scripts, keys: Keys, wanted: Mapping[Partition, Sequence[Inquiry]]) -> dict[Partition, Answer]:
    """See `Queue.settled`."""
    calls = []
    for where, inquiries in wanted.items():
        names = [keys.meta(where), keys.dead(where), keys.dead_index(where), keys.gaps(where)]
        args = [part for one in inquiries for part in _asked(one)]
        calls.append(Call("settled", names, args))
    answers = {}
    for where, reply in zip(wanted, await scripts.run_all(calls), strict=True):
        if isinstance(reply, Exception):
            raise reply
        upto, dead, held = reply
        buried = {
            number: Buried(text_of(letter_id), msgpack.unpackb(envelope))
            for number, letter_id, envelope in zip(dead[::3], dead[1::3], dead[2::3], strict=True)
        }
        answers[where] = Answer(text_of(upto), buried, frozenset(held))
    return answers
