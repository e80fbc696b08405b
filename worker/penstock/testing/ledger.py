"""What a producer notes for itself, outside Penstock: what it handed over, and what was accepted.

A line of the file is one fact, JSON, given to the operating system before the call returns: it outlives SIGKILL. A fact
is noted before the call that it tells of, so whatever Penstock stores is in the ledger.
"""

from __future__ import annotations

import itertools
import json
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

DEFAULT_NAMESPACE = "default"
"""Of key-values, as the producer's calls have it."""


class Ledger:
    """The ledger of one writer. Several writers have a file each; several threads may share one."""

    def __init__(self, path: Path) -> None:
        """Begin a ledger. An existing file is another writer's.

        Raises:
            FileExistsError: *path* is there already.
        """
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def message(self, *, id: str, session: str, content: str, poison: bool = False) -> int:  # noqa: A002 - the field's name
        """Note a message that is handed over next; returns its number, for `accepted`.

        *poison* says that its store will refuse it, and that a dead letter is what is expected.
        """
        return self._note("message", id=id, session=session, content=content, poison=poison)

    def stream(self, *, id: str, session: str, poison: bool = False) -> int:  # noqa: A002
        """Note a stream that is opened next."""
        return self._note("stream", id=id, session=session, poison=poison)

    def chunk(self, stream: int, text: str) -> None:
        """Note a chunk of the stream with that number."""
        self._note("chunk", of=stream, text=text)

    def end(self, stream: int, state: str = "complete") -> None:
        """Note that the stream ends next, as `complete` or `interrupted`."""
        self._note("end", of=stream, state=state)

    def log(self, *, id: str, event: str, message: str | None = None, poison: bool = False) -> int:  # noqa: A002
        """Note a log event."""
        return self._note("log", id=id, event=event, message=message, poison=poison)

    def embedding(self, *, collection: str, key: str, vector: Iterable[float], poison: bool = False) -> int:
        """Note a vector. The last one of its key is the one to be found."""
        return self._note("embedding", collection=collection, key=key, vector=list(vector), poison=poison)

    def key_value(
        self, *, key: str, value: Any, namespace: str = DEFAULT_NAMESPACE, deleted: bool = False, poison: bool = False
    ) -> int:
        """Note a value; *deleted* notes that the key is deleted next."""
        return self._note("key_value", namespace=namespace, key=key, value=value, deleted=deleted, poison=poison)

    def deletion(self, message_id: str) -> int:
        """Note that a message of this ledger is marked as deleted next."""
        return self._note("deletion", id=message_id)

    def accepted(self, number: int) -> None:
        """Note that the queue has it: the receipt's `queued()` returned."""
        self._note("accepted", of=number)

    def refused(self, number: int) -> None:
        """Note that the call raised, so that nothing was handed over."""
        self._note("refused", of=number)

    def _note(self, kind: str, **fact: Any) -> int:
        number = next(self._numbers)
        said = {name: value for name, value in fact.items() if value is not None and value is not False}
        os.write(self._file, json.dumps({"n": number, "kind": kind, **said}).encode() + b"\n")
        return number


@dataclass(slots=True, kw_only=True)
class Sent:
    """One record as its writer knows it."""

    writer: str
    number: int
    """Its place among all that the writer did."""
    accepted: bool = False
    poison: bool = False


@dataclass(slots=True, kw_only=True)
class SentMessage(Sent):
    """A message."""

    id: str
    session: str
    content: str
    deletions: list[SentDeletion] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class SentStream(Sent):
    """A message that came in chunks."""

    id: str
    session: str
    parts: list[str] = field(default_factory=list)
    state: str | None = None
    """How it was ended; None when its writer did not get to that."""
    deletions: list[SentDeletion] = field(default_factory=list)

    @property
    def content(self) -> str:
        """All that was written."""
        return "".join(self.parts)


@dataclass(slots=True, kw_only=True)
class SentLog(Sent):
    """A log event."""

    id: str
    event: str
    message: str | None = None


@dataclass(slots=True, kw_only=True)
class SentVector(Sent):
    """A vector under its key."""

    collection: str
    key: str
    vector: bytes
    """Float32, as it is kept."""


@dataclass(slots=True, kw_only=True)
class SentValue(Sent):
    """A value under its key, or its deletion."""

    namespace: str
    key: str
    value: Any = None
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class SentDeletion(Sent):
    """A message's deletion."""

    id: str


AnySent: TypeAlias = SentMessage | SentStream | SentLog | SentVector | SentValue | SentDeletion


def read(path: Path) -> list[AnySent]:
    """All that the writer of *path* handed over, in order; what its calls refused is left out.

    A last line without an end was never handed over: its writer died while noting it.
    """
    sent: dict[int, AnySent] = {}
    for fact in _facts(path):
        kind, number = fact.pop("kind"), fact.pop("n")
        if kind in _MAKE:
            sent[number] = _MAKE[kind](writer=str(path), number=number, **fact)
        else:
            _apply(kind, fact, sent)
    for each in sent.values():
        target = _deleted_by(each, sent)
        if target is not None:
            target.deletions.append(each)  # type: ignore[arg-type] # `_deleted_by` found a deletion
    return list(sent.values())


def _facts(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _apply(kind: str, fact: dict[str, Any], sent: dict[int, AnySent]) -> None:
    """What a fact says of an earlier one."""
    of = sent.get(fact["of"])
    if kind == "refused":
        sent.pop(fact["of"], None)
    elif kind == "accepted" and of is not None:
        of.accepted = True
    elif isinstance(of, SentStream):
        if kind == "chunk":
            of.parts.append(fact["text"])
        else:
            of.state = fact["state"]


def _deleted_by(each: AnySent, sent: dict[int, AnySent]) -> SentMessage | SentStream | None:
    if not isinstance(each, SentDeletion):
        return None
    found = (one for one in sent.values() if isinstance(one, SentMessage | SentStream) and one.id == each.id)
    return next(found, None)


def _vector(**fact: Any) -> SentVector:
    return SentVector(**{**fact, "vector": array("f", fact["vector"]).tobytes()})


_MAKE: dict[str, Any] = {
    "message": SentMessage,
    "stream": SentStream,
    "log": SentLog,
    "embedding": _vector,
    "key_value": SentValue,
    "deletion": SentDeletion,
}
