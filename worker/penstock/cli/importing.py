"""`penstock import`: conversations through the queue, everything else straight into the store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from penstock.cli.bars import Bars
from penstock.cli.connection import ask, sql_at, vectors_at
from penstock.cli.conversations import NotAConversation, Turn, pieces_of, turns_of
from penstock.cli.display import complain, console, print_json, say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import (
    NAMESPACE,
    REDIS_URL,
    SQL_URL,
    VECTOR_URL,
    Json,
    Namespace,
    RedisUrl,
    SqlUrl,
    VectorUrl,
)
from penstock.wire.errors import InvalidRecord
from penstock.wire.queue import Queue
from penstock.wire.settings import from_mapping

if TYPE_CHECKING:
    from penstock.moving.loading import Loaded
    from penstock.moving.sources import Source
    from penstock.producer import Producer
    from penstock.stores.contract import SqlStore
    from penstock.stores.vector_contract import VectorStore


@dataclass(slots=True)
class Tally:
    """What an import did."""

    conversations: int = 0
    messages: int = 0
    refused: int = 0
    """Lines and messages that were skipped."""


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise Stop(f"{name!r} is no time zone; Europe/Berlin, for example, is one", Code.USAGE) from None


def import_(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Files and folders; - is standard input."),
    ],
    stream: Annotated[bool, typer.Option("--stream", help="Send assistants' texts as streams of chunks.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="End when the store holds everything.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Give up after so many seconds at the end.")] = None,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Of times that name none.")] = "UTC",
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
    sql_url: SqlUrl = SQL_URL,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Import conversations, exports, events, tasks and text logs, each known by what it holds.

    Through the queue: conversations as JSONL, {"session_id": ..., "messages": [OpenAI chat messages]} a line.

    Straight into the SQL store: what penstock export wrote; events as JSONL with a type; *.json files of tasks; *.log
    and *.txt files, a log event a line; folders of all these.

    Straight into the vector store: what penstock export --vectors wrote.

    Each may be in gzip. Importing twice adds nothing. A broken line is told with its number and skipped; the exit code
    is 1 then. Ends when the queue holds the conversations, with --wait when the store does.
    """
    zone, sources = _zone(timezone), _sources(files)
    conversations = [each for each in sources if each.is_conversations]
    vectors = [each for each in sources if each.is_vectors]
    direct = [each for each in sources if not each.is_conversations and not each.is_vectors]
    folders = [each for each in files if each.is_dir()]
    way = _Way(redis_url=redis_url, namespace=namespace, stream=stream, until="stored" if wait else "queued")
    if conversations:
        _tell_of_no_worker(way)
    refused = 0
    if direct or folders:
        refused += _shown(asyncio.run(_load(sql_at(sql_url), "records", direct, folders, zone)), json=json)
    if vectors:
        refused += _shown(asyncio.run(_load(vectors_at(vector_url), "vectors", vectors, [], zone)), json=json)
    if conversations:
        tally = asyncio.run(_import(conversations, way, timeout))
        _show(tally, _sentence(tally, wait), json=json)
        refused += tally.refused
    if refused:
        raise SystemExit(Code.NO)


def _tell_of_no_worker(way: _Way) -> None:
    workers = ask(way.redis_url, way.namespace, Queue.workers)
    if way.until == "stored" and not workers:
        say(f"No worker runs in the namespace {way.namespace}; --wait waits for one: penstock worker", "yellow")


def _shown(loaded: Loaded, *, json: bool) -> int:
    """How many lines were refused."""
    skipped = f"; {loaded.refused:,} refused" if loaded.refused else ""
    _show(loaded, f"{loaded.records:,} records, {loaded.new:,} of them new: the store holds them{skipped}.", json=json)
    return loaded.refused


def _show(done: Tally | Loaded, sentence: str, *, json: bool) -> None:
    if json:
        print_json(asdict(done))
    else:
        say(sentence)


def _sources(files: Sequence[Path]) -> list[Source]:
    from penstock.moving.sources import Shape, look_at  # noqa: PLC0415 - see `app`

    try:
        sources = [look_at(file) for file in files if not file.is_dir()]
    except OSError as exc:
        raise Stop(f"{exc.filename} cannot be read: {exc.strerror}", Code.USAGE) from exc
    for source in sources:
        if source.shape is Shape.DATABASE:
            remedy = f"penstock copy --from sqlite:///{source.path.absolute()} --to URL"
            raise Stop(f"{source.path} is a SQLite database; copy it with: {remedy}", Code.USAGE)
    return sources


async def _load(
    opened: AbstractAsyncContextManager[SqlStore | VectorStore],
    what: str,
    sources: Sequence[Source],
    folders: Sequence[Path],
    zone: ZoneInfo,
) -> Loaded:
    """Straight into the store that is *opened*, which is set up; *what* it gets is told meanwhile."""
    from penstock.moving import Loader, load, load_folder  # noqa: PLC0415 - see `app`

    async with opened as store:
        await store.setup()
        with Bars() as bars:
            loader = Loader(store, bars.complain, lambda done: bars.tell(what, done))
            for source in sources:
                await load(source, loader, zone)
            for folder in folders:
                for source in await load_folder(folder, loader, zone):
                    loader.refuse(str(source.path), "conversations go through the queue; import this file by its name")
            await loader.flush()
    return loader.loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How the conversations go."""

    redis_url: str
    namespace: str
    stream: bool
    until: Literal["queued", "stored"]


async def _import(files: Sequence[Source], way: _Way, timeout_s: float | None) -> Tally:
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

    async def carry(self, source: Source) -> None:
        """Send what *source* holds; what cannot be sent is told and skipped."""
        from penstock.moving.sources import DAMAGE  # noqa: PLC0415 - see `app`

        file = source.path
        bar, number = self._progress.add_task(file.name), 0
        try:
            raw, lines = source.open()
            with raw:
                seekable = raw.seekable()  # a pipe has no size and no place in it
                self._progress.update(bar, total=os.fstat(raw.fileno()).st_size if seekable else None)
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        await self._line(f"{file}:{number}", line)
                    if seekable:
                        self._progress.update(bar, completed=raw.tell())
        except DAMAGE as exc:
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


def _sentence(tally: Tally, waited: bool) -> str:
    done = "the store holds them" if waited else "the queue holds them"
    skipped = f"; {tally.refused:,} refused" if tally.refused else ""
    messages = f"{tally.messages:,} message{'' if tally.messages == 1 else 's'}"
    conversations = f"{tally.conversations:,} conversation{'' if tally.conversations == 1 else 's'}"
    return f"{messages} of {conversations}: {done}{skipped}."
