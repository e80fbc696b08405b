"""Dead letters as lines of JSON: a header, one letter a line, and an end that tells how many there were.

    {"kind":"dead_letter","lane":"messages","partition":3,"id":"019b…","records":1,"entry":"1750…-0",
     "envelope":{"kind":"rejected","reason":"…",…},"record":"<base64 of the record as it was sent>"}

Every letter comes back whole, byte for byte. It holds what the agent sent, secrets too.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Unpack

import msgpack
import orjson

from penstock.dlq.letters import DeadLetter, selected
from penstock.dlq.placing import place_of
from penstock.dlq.selection import Selection, Which
from penstock.wire.entries import DeadEntry, Letter, position
from penstock.wire.errors import PenstockError
from penstock.wire.ids import format_id, parse_id
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import LANES

FORMAT = 1
"""Of the file. A reader takes every lower one."""

HEADER = "penstock_dead_letters"
KIND = "dead_letter"
END = "end"

_MOST_RECORDS = 10**9
"""A letter counts for: a larger number is no count of ours, and would break the counters of its partition."""

_AT_ONCE = 200
_BYTES_AT_ONCE = 4 * 1024 * 1024


class BadLine(ValueError):
    """A line is no letter. The message says what is wrong with it."""


class NoLetters(PenstockError):
    """What was given is no export of dead letters, or one of a newer release."""


@dataclass(slots=True)
class Imported:
    """What came of an import."""

    letters: int = 0
    """Those that were new here."""
    records: int = 0
    """The accepted records that these count for."""
    known: int = 0
    """Letters that were here already."""
    faults: list[tuple[int, str]] = field(default_factory=list)
    """The number of a line that is no letter, and why."""


async def export_letters(queue: Queue, **which: Unpack[Which]) -> AsyncIterator[bytes]:
    """The lines of a file with the letters that are meant; they stay where they are.

    Raises:
        UnknownLane: The lane is none.
        QueueUnavailable: No answer; what was written lacks its end.
    """
    yield _line({HEADER: FORMAT, "release": version("penstock"), "partitions": queue.partitions})
    letters = 0
    async for letter in selected(queue, Selection(**which)):
        yield _line(_told(letter))
        letters += 1
    yield _line({"kind": END, "letters": letters})


async def import_letters(queue: Queue, lines: Iterable[bytes]) -> Imported:
    """Take in the letters of a file, each that is not here. They count as accepted and as dead.

    A letter goes to the partition that its record belongs to here. One that was replayed or purged since it was
    exported comes back. The call may be repeated, and run by several at once: each letter is taken in once.

    Raises:
        NoLetters: *lines* does not begin as an export does, or its format is newer.
        QueueUnavailable: No answer; letters up to this one are taken in.
        QueueFull: The server has no memory left; the same.
    """
    done = Imported()
    reading = _Reading(queue.partitions)
    piece: list[DeadEntry] = []
    size = 0
    for number, line in enumerate(lines, 1):
        try:
            entry = reading.entry_of(line)
        except BadLine as exc:
            done.faults.append((number, str(exc)))
            continue
        if entry is not None:
            piece.append(entry)
            size += len(line)
        if len(piece) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
            await _take_in(queue, piece, done)
            piece, size = [], 0
    await _take_in(queue, piece, done)
    done.faults.extend(reading.end())
    return done


async def _take_in(queue: Queue, piece: Sequence[DeadEntry], done: Imported) -> None:
    if not piece:
        return
    for entry, reply in zip(piece, await queue.take_in(piece), strict=True):
        if isinstance(reply, Exception):
            raise reply
        if reply:
            done.letters += 1
            done.records += entry.letter.records
        else:
            done.known += 1


class _Reading:
    """What of a file has been read so far."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._before: int | None = None
        """Partitions where the letters come from; None until the header has been read."""
        self._lines = 0
        self._letters = 0
        self._is_whole = False

    def entry_of(self, line: bytes) -> DeadEntry | None:
        """The letter of *line*; None where it is none of the file's letters.

        Raises:
            NoLetters: See `import_letters`.
            BadLine: The line is no letter.
        """
        self._lines += 1
        if self._before is None or line.startswith(b'{"%s":' % HEADER.encode()):
            self._before = _partitions_of(line)
            return None
        if not line.strip():
            return None
        if line.startswith(b'{"kind":"%s"' % END.encode()):
            self._close(_loaded(line))
            return None
        self._is_whole = False
        self._letters += 1
        return _entry(_loaded(line), self._before, self._partitions)

    def _close(self, end: dict[str, Any]) -> None:
        letters, self._letters, self._is_whole = self._letters, 0, True
        if end.get("letters") != letters:
            raise BadLine(f"{end.get('letters')} letters were written, {letters} are here")

    def end(self) -> list[tuple[int, str]]:
        """What is wrong with the file as a whole.

        Raises:
            NoLetters: It is empty.
        """
        if self._before is None:
            raise NoLetters("there is nothing in it; `penstock dlq export` writes such a file")
        return [] if self._is_whole else [(self._lines + 1, "the file ends before its last line; it is cut off")]


def _partitions_of(header: bytes) -> int:
    try:
        told = orjson.loads(header)
        found, partitions = told[HEADER], told["partitions"]
    except (ValueError, TypeError, KeyError):
        raise NoLetters("that is no export of dead letters; `penstock dlq export` writes one") from None
    if not isinstance(found, int) or found > FORMAT or not isinstance(partitions, int):
        raise NoLetters(
            f"the export has format {found}, this release reads up to {FORMAT}; upgrade penstock here first"
        )
    return partitions


def _told(letter: DeadLetter) -> dict[str, Any]:
    raw = letter.entry.letter
    return {
        "kind": KIND,
        "lane": letter.lane,
        "partition": letter.partition,
        "id": letter.id,
        "records": letter.records,
        "entry": letter.entry.origin or letter.entry.entry_id,
        "envelope": msgpack.unpackb(raw.envelope),
        "record": base64.b64encode(raw.record).decode(),
    }


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _loaded(line: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(line)
    except ValueError:
        raise BadLine("no JSON") from None
    if not isinstance(told, dict):
        raise BadLine("an object is needed")
    return told


def _entry(told: dict[str, Any], before: int, partitions: int) -> DeadEntry:
    """The letter that a line tells of, in the partition that it belongs to among as many as there are here."""
    if told.get("kind") != KIND:
        raise BadLine(f"kind is {told.get('kind')!r}; {KIND} is needed")
    try:
        lane, number, records, envelope = told["lane"], told["partition"], told["records"], told["envelope"]
        record = base64.b64decode(told["record"], validate=True)
        letter = Letter(format_id(parse_id(told["id"])), records, record, msgpack.packb(envelope))
        at = position(told["entry"])
    except KeyError as exc:
        raise BadLine(f"it has no {exc.args[0]}") from None
    except (TypeError, AttributeError, ValueError) as exc:
        raise BadLine(f"a field is not what it should be: {exc}") from None
    if lane not in LANES or not isinstance(envelope, dict):
        raise BadLine(f"lane is {lane!r}; known are {', '.join(LANES)}")
    if type(number) is not int or not 0 <= number < before:
        raise BadLine(f"partition is {number!r}; a whole number below {before} is needed")
    if type(records) is not int or not 1 <= records <= _MOST_RECORDS:
        raise BadLine(f"records is {records!r}; 1 to {_MOST_RECORDS:,} are accepted")
    if not all(0 <= part < 2**64 for part in at):
        raise BadLine("entry is no place in a stream")
    entry = DeadEntry(Partition(lane, number), "{}-{}".format(*at), letter)
    _refuse_unshowable(entry)
    return entry if before == partitions else entry._replace(partition=place_of(entry, partitions))


def _refuse_unshowable(entry: DeadEntry) -> None:
    """One letter whose envelope cannot be read would stand in the way of all behind it."""
    try:
        letter = DeadLetter.of(entry)
    except (TypeError, ValueError, OverflowError) as exc:
        raise BadLine(f"the envelope is not what it should be: {exc}") from None
    told = letter.envelope
    texts = (told.record_kind, told.kind, told.reason, told.fingerprint, told.worker, told.version, told.replayed_as)
    if (
        not all(isinstance(text, str) for text in texts)
        or type(told.attempts) is not int
        or type(told.replays) is not int
    ):
        raise BadLine("the envelope is not what it should be")
