"""Messages and streams: each once, with its text, in its place, counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import TypeAlias

from penstock.testing.evidence import Evidence, StoredMessage
from penstock.testing.ledger import AnySent, SentMessage, SentStream
from penstock.testing.verdict import Verdict

Written: TypeAlias = SentMessage | SentStream


class MessageJudge:
    """Judges one set of messages."""

    def __init__(self, sent: Sequence[AnySent], evidence: Evidence, purged: Collection[str], verdict: Verdict) -> None:
        self._evidence = evidence
        self._verdict = verdict
        self._purged = purged
        self._sent: defaultdict[str, list[Written]] = defaultdict(list)
        for each in sent:
            if isinstance(each, SentMessage | SentStream):
                self._sent[each.id].append(each)

    def judge(self) -> None:
        """Name every fault."""
        self._rows()
        self._missing()
        self._order()
        self._counters()

    def _rows(self) -> None:
        contents = {(each.session, each.content): each.id for sent in self._sent.values() for each in sent}
        seen: set[str] = set()
        for row in self._evidence.messages:
            if row.id in seen:
                self._verdict.twice.append(f"message {row.id} of {row.session} has two rows")
            elif row.id in self._sent:
                self._row(row, self._sent[row.id])
            elif (row.session, row.content or "") in contents:
                of = contents[row.session, row.content or ""]
                self._verdict.twice.append(f"message {of} of {row.session} is also stored as {row.id}")
            else:
                self._verdict.strangers.append(f"message {row.id} of {row.session}")
            seen.add(row.id)

    def _row(self, row: StoredMessage, sent: Sequence[Written]) -> None:
        if row.session not in {each.session for each in sent}:
            self._verdict.texts.append(f"message {row.id} is in {row.session}, was sent to {sent[0].session}")
        if not any(_text_fits(row, each) for each in sent):
            self._verdict.texts.append(f"message {row.id} of {row.session}: {_difference(row, sent[0])}")
        elif not any(_state_fits(row, each) for each in sent):
            self._verdict.states.append(
                f"message {row.id} of {row.session} is {row.state}; {_how_it_ended(sent[0])} was handed over"
            )
        deletions = [one for each in sent for one in each.deletions]
        if row.deleted and not deletions:
            self._verdict.states.append(f"message {row.id} of {row.session} is deleted, which nobody asked for")
        if not row.deleted and any(each.accepted for each in deletions):
            self._verdict.states.append(f"message {row.id} of {row.session} is not deleted")

    def _missing(self) -> None:
        there = {row.id for row in self._evidence.messages} | {each.id for each in self._evidence.dead}
        for each_id, sent in self._sent.items():
            if any(each.accepted for each in sent) and each_id not in there and each_id not in self._purged:
                self._verdict.missing.append(f"message {each_id} of {sent[0].session} ({sent[0].writer})")

    def _order(self) -> None:
        """What one writer handed over to a session lies in the order of its calls."""
        last: dict[tuple[str, str], tuple[int, str]] = {}
        for row in self._evidence.messages:
            sent = self._sent.get(row.id, [])
            if len(sent) != 1:  # whichever of two senders came first
                continue
            at = (sent[0].writer, row.session)
            number, before = last.get(at, (-1, ""))
            if sent[0].number < number:
                self._verdict.out_of_order.append(f"message {row.id} of {row.session} lies behind {before}")
            else:
                last[at] = (sent[0].number, row.id)

    def _counters(self) -> None:
        there = Counter(row.session for row in self._evidence.messages if not row.deleted)
        counters = self._evidence.counters
        for session in sorted({*there, *counters}):
            if there[session] != counters.get(session):
                counted = counters.get(session, "nothing")
                self._verdict.counters.append(f"session {session} counts {counted}, has {there[session]}")


def _text_fits(row: StoredMessage, sent: Written) -> bool:
    text = row.content or ""
    if isinstance(sent, SentMessage) or row.state == "complete" or sent.accepted:
        return text == sent.content
    return sent.content.startswith(text)


def _state_fits(row: StoredMessage, sent: Written) -> bool:
    if isinstance(sent, SentMessage):
        return row.state == "complete"
    if row.state == "complete" or sent.accepted:
        return row.state == sent.state
    return True  # its end was not confirmed, so whatever has come of it may stand there


def _how_it_ended(sent: Written) -> str:
    return "complete" if isinstance(sent, SentMessage) else sent.state or "no end"


def _difference(row: StoredMessage, sent: Written) -> str:
    """Where they part. Lengths and places, as contents may be long."""
    text, wanted = row.content or "", sent.content
    at = next((n for n, (a, b) in enumerate(zip(text, wanted, strict=False)) if a != b), min(len(text), len(wanted)))
    return (
        f"{len(text):,} of {len(wanted):,} characters, which part at {at:,}: {text[at : at + 20]!r}, "
        f"was sent {wanted[at : at + 20]!r}"
    )
