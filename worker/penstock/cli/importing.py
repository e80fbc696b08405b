"""`penstock import`: conversations from files, through the queue."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from penstock.cli.connection import ask, reachable
from penstock.cli.conversations import NotAConversation, Turn, pieces_of, turns_of
from penstock.cli.display import complain, console, print_json, say
from penstock.cli.exits import Code
from penstock.cli.options import NAMESPACE, REDIS_URL, Json, Namespace, RedisUrl
from penstock.wire.errors import InvalidRecord
from penstock.wire.settings import from_mapping

if TYPE_CHECKING:
    from penstock.producer import Producer

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(slots=True)
class Tally:
    """What an import did."""

    conversations: int = 0
    messages: int = 0
    refused: int = 0
    """Lines and messages that were skipped."""


def import_(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="JSONL, or JSONL in gzip."),
    ],
    stream: Annotated[bool, typer.Option("--stream", help="Send assistants' texts as streams of chunks.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="End when the store holds everything.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Give up after so many seconds at the end.")] = None,
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Import conversations from JSONL files.

    Each line is {"session_id": ..., "messages": [OpenAI chat messages]}. Importing twice adds nothing. A broken
    line is told with its number and skipped; the exit code is 1 then. Ends when the queue holds everything; with
    --wait, when the store does.
    """
    ask(redis_url, namespace, reachable)
    way = _Way(redis_url=redis_url, namespace=namespace, stream=stream, until="stored" if wait else "queued")
    tally = asyncio.run(_import(files, way, timeout))
    if json:
        print_json(asdict(tally))
    else:
        say(_sentence(tally, wait))
    if tally.refused:
        raise SystemExit(Code.NO)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How the conversations go."""

    redis_url: str
    namespace: str
    stream: bool
    until: Literal["queued", "stored"]


async def _import(files: Sequence[Path], way: _Way, timeout_s: float | None) -> Tally:
    from penstock.producer import Producer, ProducerSettings  # noqa: PLC0415 - see `app`

    settings = from_mapping(ProducerSettings, os.environ)
    async with Producer(way.redis_url, namespace=way.namespace, settings=settings) as producer:
        with _progress() as progress:
            carrier = _Carrier(producer, progress, way.stream)
            for file in files:
                await carrier.carry(file)
        await producer.flush(until=way.until, timeout=timeout_s)
    return carrier.tally


class _Carrier:
    """Takes files to a producer, line by line, no faster than it has room."""

    def __init__(self, producer: Producer, progress: Progress, stream: bool) -> None:
        self.tally = Tally()
        self._producer = producer
        self._progress = progress
        self._stream = stream

    async def carry(self, file: Path) -> None:
        """Send what *file* holds; what it cannot be sent is told and skipped."""
        bar, number = self._progress.add_task(file.name), 0
        try:
            with file.open("rb") as raw, _unpacked(raw) as lines:
                seekable = raw.seekable()  # a pipe has no size and no place in it
                self._progress.update(bar, total=os.fstat(raw.fileno()).st_size if seekable else None)
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        await self._line(f"{file}:{number}", line)
                    if seekable:
                        self._progress.update(bar, completed=raw.tell())
        except (OSError, EOFError, zlib.error) as exc:
            self._refuse(f"{file}:{number + 1}", f"the file cannot be read on: {exc}")

    async def _line(self, place: str, line: bytes) -> None:
        try:
            turns = turns_of(line)
        except NotAConversation as exc:
            self._refuse(place, str(exc))
            return
        self.tally.conversations += 1
        for index, turn in enumerate(turns):
            await self._producer.ready()
            try:
                await self._send(turn)
            except InvalidRecord as exc:
                self._refuse(place, f"messages[{index}]: {exc}")
            else:
                self.tally.messages += 1

    async def _send(self, turn: Turn) -> None:
        fields: dict[str, Any] = {
            "session_id": turn.session_id,
            "role": turn.role,
            "metadata": turn.metadata,
            "id": turn.id,
        }
        if not self._stream or turn.role != "assistant" or not turn.content:
            self._producer.message(content=turn.content, **fields)
            return
        async with self._producer.stream(**fields) as stream:
            for piece in pieces_of(turn.content):
                await self._producer.ready()
                stream.write(piece)

    def _refuse(self, place: str, reason: str) -> None:
        self.tally.refused += 1
        complain(f"{place}: {reason}; skipped", self._progress.console)


def _progress() -> Progress:
    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=shown, disable=not shown.is_terminal, transient=True)


@contextmanager
def _unpacked(raw: BufferedReader) -> Iterator[Iterable[bytes]]:
    if raw.peek(2)[:2] != _GZIP_MAGIC:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw) as lines:
        yield lines


def _sentence(tally: Tally, waited: bool) -> str:
    done = "the store holds them" if waited else "the queue holds them"
    skipped = f"; {tally.refused:,} refused" if tally.refused else ""
    return f"{tally.messages:,} messages of {tally.conversations:,} conversations: {done}{skipped}."
