"""Which log entry brought a record: by this its receipt finds the letter that it may become."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence

from penstock.wire.entries import Entry
from penstock.wire.ids import format_id
from penstock.wire.inquiry import trace_of, trace_of_stream
from penstock.wire.records import Record


class Traces:
    """The traces of the letters of one batch. Made only where there are any, and asked in the batch's order."""

    def __init__(self, brought: Sequence[tuple[Entry, Sequence[Record]]], streams: Collection[bytes]) -> None:
        self._streams = streams
        self._as_read: dict[int, str] = {}
        self._by_call: defaultdict[tuple[bytes, int], deque[str]] = defaultdict(deque)
        for entry, records in brought:
            for record in records:
                trace = _trace_of(record, entry)
                self._as_read[id(record)] = trace
                self._by_call[record.id, record.created_at_us].append(trace)

    def of(self, record: Record) -> str:
        """The trace of *record*, or of what the strategy has made of it, which keeps id and time. '' for none."""
        if record.id in self._streams:
            return trace_of_stream(record.created_at_us, format_id(record.id))
        if as_read := self._as_read.get(id(record)):
            return as_read
        traces = self._by_call.get((record.id, record.created_at_us))
        return traces.popleft() if traces else ""


def _trace_of(record: Record, entry: Entry) -> str:
    if entry.trace.endswith(":"):  # of a whole entry, which could not be decoded before its replay
        return entry.trace + format_id(record.id)
    return entry.trace or trace_of(entry.id, format_id(record.id))


def trace_of_entry(entry: Entry) -> str:
    """The trace of everything that *entry* holds."""
    return entry.trace or trace_of(entry.id)
