"""The reader: one object that asks the SQL store and the vector store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast
from uuid import UUID

from penstock.embedding import Embedder, open_embedder
from penstock.embedding.cache import VectorCache
from penstock.query.barrier import PATIENCE_S, After, Awaited, receipts_of, until_stored
from penstock.query.cache_settings import CacheSettings
from penstock.query.cached_reading import CachedReading
from penstock.query.filters import LogFilters, MessageFilters, SearchFilters, SessionFilters, checked_values, words
from penstock.query.page import Course, InvalidQuery, Page, checked_limit, cursor, every_item, page_of, position
from penstock.query.search_text import parse
from penstock.query.state_reader import StateReader
from penstock.query.vector_reader import VectorReader
from penstock.stores.contract import SqlReading
from penstock.stores.key_value_contract import KeyValueReading
from penstock.stores.queries import FoundQuery, LogQuery, MessageQuery, Position, SessionQuery
from penstock.stores.registry import key_value_store, sql_store, vector_store
from penstock.stores.rows import FoundMessage, Session, StoredLog, StoredMessage
from penstock.stores.search import snippet
from penstock.stores.vector_contract import VectorReading
from penstock.wire.ids import parse_id, to_us, wall_clock_us
from penstock.wire.settings import from_mapping
from penstock.wire.text import clean_text

if TYPE_CHECKING:
    from penstock.query.cache import Cache


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSettings:
    """Where a reader looks. Every field is an environment variable `PENSTOCK_<NAME>`."""

    sql_url: str = "sqlite:///./penstock.db"
    """The SQL store; `DATABASE_URL` is accepted too."""
    vector_url: str = "lancedb:///./vectors"
    key_value_url: str = ""
    """The store of values under keys; none where the SQL store has them."""
    embedder: str | None = None
    """Makes vectors of the texts that are searched for; the workers' (`WorkerConfig.embedder`)."""
    embedder_key: str | None = None
    """`OPENAI_API_KEY` is accepted too."""


class Reader(StateReader, VectorReader):
    """Answers what was stored, while workers go on storing. Needs no queue and never writes.

    Each store is opened by its first question, so a reader of messages needs no vector store.
    Every answer is of its own moment: pages that follow one another see what was stored in between.

    The filter `where` looks into the JSON of a row: a message's metadata, the data of a log event, task or context.
    It has the language of `search`, and no index: beside another filter it looks at the rows which that one leaves,
    alone at all of them by time until the page is full. To count them, every one is looked at.

    All methods raise `InvalidQuery` for what cannot be asked, `FilterError` where *where* is malformed, and
    `StoreUnavailable` where the store does not answer or does not exist yet.
    """

    def __init__(
        self,
        sql: str | SqlReading | None,
        vectors: str | VectorReading | None,
        *,
        clock: Callable[[], int] = wall_clock_us,
        after: After | None = None,
        timeout: float | None = PATIENCE_S,
        cache: Cache | None = None,
        embedder: Embedder | None = None,
        key_values: str | KeyValueReading | None = None,
    ) -> None:
        self._cache = cache
        self._vectors_of_texts = None if embedder is None else VectorCache(embedder)
        self._receipts = receipts_of(after)
        self._patience_s = timeout
        self._sql = sql
        self._vectors = vectors
        self._key_values = key_values
        self._clock = clock
        self._opened: list[Any] = []
        self._opening_vectors = asyncio.Lock()

    @classmethod
    def open(
        cls,
        *,
        sql: str | SqlReading | None = None,
        vectors: str | VectorReading | None = None,
        clock: Callable[[], int] = wall_clock_us,
        after: After | None = None,
        timeout: float | None = PATIENCE_S,
        cache: Cache | None = None,
        embedder: Embedder | None = None,
        key_values: str | KeyValueReading | None = None,
    ) -> Self:
        """A reader of the stores at these URLs, for `async with`.

        An open store may be given in place of a URL; it stays the caller's to close, and so do *cache* and *embedder*.
        *clock* tells what has expired, in microseconds since 1970 UTC. Entered, it waits for the receipts in *after*,
        as the method `after` does. Values under keys are looked for in the SQL store, unless *key_values* is another.
        """
        return cls(
            sql,
            vectors,
            clock=clock,
            after=after,
            timeout=timeout,
            cache=cache,
            embedder=embedder,
            key_values=key_values,
        )

    @classmethod
    def from_env(
        cls,
        mapping: Mapping[str, str] | None = None,
        *,
        after: After | None = None,
        timeout: float | None = PATIENCE_S,
    ) -> Self:
        """A reader of the stores that the environment names: `PENSTOCK_SQL_URL`, `PENSTOCK_VECTOR_URL`,
        `PENSTOCK_KEY_VALUE_URL`. See `open`.

        With `PENSTOCK_CACHE=on` it keeps answers in the queue server, `PENSTOCK_REDIS_URL`. `PENSTOCK_EMBEDDER` lets it
        search for texts.
        """
        mapping = os.environ if mapping is None else mapping
        settings, caching = from_mapping(ReaderSettings, mapping), from_mapping(CacheSettings, mapping)
        embedder = open_embedder(settings.embedder, settings.embedder_key) if settings.embedder else None
        reader = cls(
            settings.sql_url,
            settings.vector_url,
            after=after,
            timeout=timeout,
            embedder=embedder,
            key_values=settings.key_value_url or None,
        )
        if embedder:
            reader._opened.append(embedder)
        if caching.cache:
            from penstock.query.cache import Cache  # noqa: PLC0415 - the client of a queue server

            reader._cache = cache = Cache(caching)
            reader._opened.append(cache)
        return reader

    async def after(self, *receipts: Awaited, timeout: float | None = PATIENCE_S) -> Self:  # noqa: ASYNC109 - as receipts
        """Return this reader once all *receipts* are stored: what is asked next sees their records.

        They may be of either producer, of any process that has them. A search for words finds a message about a
        second after that.

        Raises:
            NotStored: Not within *timeout* seconds, for all together; says what is known of the first that is not.
            DeadLettered: A store refused the record of one.
            RecordDropped: One of them never will be stored.
        """
        await until_stored(receipts, timeout)
        return self

    async def __aenter__(self) -> Self:
        return await self.after(*self._receipts, timeout=self._patience_s)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what was opened. May be repeated."""
        while self._opened:
            await self._opened.pop().close()

    async def message(self, message_id: str | UUID | bytes) -> StoredMessage | None:
        """One message, deleted or not; None when it is not there (yet)."""
        with checked_values():
            wanted = parse_id(message_id)
        return await self._sql_store().message(wanted)

    async def messages(
        self,
        session_id: str | None = None,
        *,
        ascending: bool = True,
        limit: int = 100,
        after: str | None = None,
        **filters: Unpack[MessageFilters],
    ) -> Page[StoredMessage]:
        """A page of messages by time, those of one microsecond by id. Without *session_id*, of all sessions."""
        course = Course.MESSAGES_OLDEST_FIRST if ascending else Course.MESSAGES_NEWEST_FIRST
        query = MessageQuery(
            **words(MessageFilters, filters, session_id=session_id),
            ascending=ascending,
            limit=checked_limit(limit) + 1,
            after=position(after, course),
        )
        return page_of(await self._sql_store().messages(query), limit, course, _place)

    def all_messages(
        self, session_id: str | None = None, *, ascending: bool = True, **filters: Unpack[MessageFilters]
    ) -> AsyncIterator[StoredMessage]:
        """Every message of every page, fetched as the iteration goes on."""
        return every_item(
            lambda limit, after: self.messages(session_id, ascending=ascending, limit=limit, after=after, **filters)
        )

    async def count_messages(self, session_id: str | None = None, **filters: Unpack[MessageFilters]) -> int:
        """How many messages match. For a whole session `session` knows without counting."""
        query = MessageQuery(**words(MessageFilters, filters, session_id=session_id))
        return await self._sql_store().count_messages(query)

    async def search_messages(
        self, text: str, *, limit: int = 100, after: str | None = None, **filters: Unpack[SearchFilters]
    ) -> Page[FoundMessage]:
        """A page of the messages with the words of *text*, the newest first. Deleted ones are never among them.

        All words must occur, wherever they stand, without regard to case and accents. `"In quotes"` they follow one
        another, `begin*` stands for every word that begins so, and messages with a `-word` are left out. A message is
        found about a second after it was stored: workers fill the index behind the writes.
        """
        with checked_values():
            search = parse(clean_text("text", text))
        course = Course.FOUND_NEWEST_FIRST
        query = FoundQuery(
            search=search,
            **words(SearchFilters, filters),
            limit=checked_limit(limit) + 1,
            after=position(after, course),
        )
        messages = await self._sql_store().search_messages(query)
        found = [FoundMessage(message=each, snippet=snippet(search, each.content or "")) for each in messages[:limit]]
        following = cursor(course, _place(messages[limit - 1])) if len(messages) > limit else None
        return Page(found, following)

    async def session(self, session_id: str, *, with_last_message: bool = False) -> Session | None:
        """One session; None when no message of it was stored."""
        with checked_values():
            wanted = clean_text("session_id", session_id)
        return await self._sql_store().session(wanted, with_last_message=with_last_message)

    async def sessions(
        self,
        *,
        with_last_message: bool = False,
        limit: int = 100,
        after: str | None = None,
        **filters: Unpack[SessionFilters],
    ) -> Page[Session]:
        """A page of sessions, latest message first. One that gets a message meanwhile moves to the front.

        *with_last_message* fetches the latest message of each that is not deleted, in the same question.
        """
        query = SessionQuery(
            **words(SessionFilters, filters),
            with_last_message=with_last_message,
            limit=checked_limit(limit) + 1,
            after=position(after, Course.SESSIONS_LATEST_FIRST),
        )
        found = await self._sql_store().sessions(query)
        return page_of(found, limit, Course.SESSIONS_LATEST_FIRST, _place_of_session)

    async def logs(
        self, *, ascending: bool = True, limit: int = 100, after: str | None = None, **filters: Unpack[LogFilters]
    ) -> Page[StoredLog]:
        """A page of log events by time."""
        course = Course.LOGS_OLDEST_FIRST if ascending else Course.LOGS_NEWEST_FIRST
        query = LogQuery(
            **words(LogFilters, filters),
            ascending=ascending,
            limit=checked_limit(limit) + 1,
            after=position(after, course),
        )
        return page_of(await self._sql_store().logs(query), limit, course, _place)

    def all_logs(self, *, ascending: bool = True, **filters: Unpack[LogFilters]) -> AsyncIterator[StoredLog]:
        """Every log event of every page, fetched as the iteration goes on."""
        return every_item(lambda limit, after: self.logs(ascending=ascending, limit=limit, after=after, **filters))

    async def count_logs(self, **filters: Unpack[LogFilters]) -> int:
        """How many log events match."""
        return await self._sql_store().count_logs(LogQuery(**words(LogFilters, filters)))

    def _sql_store(self) -> SqlReading:
        if isinstance(self._sql, str):
            self._sql = store = sql_store(self._sql)
            self._opened.append(store)
        if self._sql is None:
            raise InvalidQuery("this reader was opened without a SQL store; give Reader.open its sql=")
        if self._cache is not None and not isinstance(self._sql, CachedReading):
            self._sql = cast("SqlReading", CachedReading(self._sql, self._cache))
        return self._sql

    def _key_value_store(self) -> KeyValueReading:
        if isinstance(self._key_values, str):
            self._key_values = store = key_value_store(self._key_values)
            self._opened.append(store)
        return self._sql_store() if self._key_values is None else self._key_values

    def _embeddings(self) -> VectorCache:
        if self._vectors_of_texts is None:
            raise InvalidQuery("this reader has no embedder; set PENSTOCK_EMBEDDER, or give Reader.open its embedder=")
        return self._vectors_of_texts

    async def _vector_store(self) -> VectorReading:
        async with self._opening_vectors:
            if isinstance(self._vectors, str):
                # On a thread: a driver may load for seconds, and an agent's event loop has other things to do.
                self._vectors = store = await asyncio.to_thread(vector_store, self._vectors)
                self._opened.append(store)
        if self._vectors is None:
            raise InvalidQuery("this reader was opened without a vector store; give Reader.open its vectors=")
        return self._vectors


def _place(row: StoredMessage | StoredLog) -> Position:
    return Position(to_us(row.created_at, "created_at"), parse_id(row.id))


def _place_of_session(row: Session) -> Position:
    return Position(to_us(row.last_message_at, "last_message_at"), row.id)
