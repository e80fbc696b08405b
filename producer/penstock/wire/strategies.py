"""What is stored, and how: strategies, asked before and told after each record is stored.

`load` makes them from the setting `strategy`. Where a process has none to apply it holds None, and records pass by
without a call.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import traceback
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, cast

from penstock.wire.errors import StrategyFailed
from penstock.wire.fields import changed_wrongly, json_fields, text_fields
from penstock.wire.ids import format_id
from penstock.wire.logs import logger
from penstock.wire.records import EmbeddingDeletion, LogEvent, Message, MessageDeletion, Record, StreamChunk, kind_of
from penstock.wire.settings import InvalidSetting

_METHODS = ("should_store", "before_store", "after_store")
_WARNING = 30


class Strategy(Protocol):
    """Decides over records. An object of yours needs only the methods that it wants; the others are those of `Default`.

    The methods are plain calls, made in the event loop: they must return at once. The same record may come again, after
    a crash or a replay, so what they do must be harmless twice. Deletions are stored in any case; only `after_store` is
    told of them.

    An attribute `takes_chunks = True` has the strategy asked about `StreamChunk` records too, where the worker keeps
    them (`all_chunks`). Without it no chunks are kept: what it looks for in a message may be split between them.
    """

    def should_store(self, record: Record, /) -> bool:
        """Whether *record* is stored. False skips it, which is counted."""
        ...

    def before_store(self, record: Record, /) -> Record:
        """What is stored in place of *record*: itself, or a copy (`record._replace`) with other contents.

        The copy has the record's kind, ids, ordering key, times and version. JSON fields hold JSON as bytes.
        """
        ...

    def after_store(self, record: Record, /) -> None:
        """Take note that *record* is in the store. Always called by the worker, whose alone this knowledge is."""
        ...


class Default:
    """Stores everything unchanged."""

    takes_chunks = False
    """As for one that says nothing of it, so that a strategy made from this one does not take chunks unawares."""

    def should_store(self, _record: Record, /) -> bool:
        """Everything."""
        return True

    def before_store(self, record: Record, /) -> Record:
        """Unchanged."""
        return record

    def after_store(self, _record: Record, /) -> None:
        """Nothing to do."""


class Verbose(Default):
    """Stores everything unchanged, and tells each record at debug level: its kind, id and lane, never what it holds."""

    takes_chunks = True

    @functools.cached_property
    def _log(self) -> Any:
        return logger("penstock.strategy")

    def after_store(self, record: Record, /) -> None:
        """Tell it."""
        kind = kind_of(record)
        self._log.debug("stored", kind=kind.name, id=format_id(record.id), lane=kind.lane)


class Minimal(Default):
    """Messages of users and assistants, without metadata; no log event below warning; everything of other kinds."""

    takes_chunks = True
    _ROLES = frozenset({"user", "assistant"})

    def should_store(self, record: Record, /) -> bool:
        """By role, by level."""
        if isinstance(record, Message | StreamChunk):
            return record.role in self._ROLES
        return not isinstance(record, LogEvent) or record.level >= _WARNING

    def before_store(self, record: Record, /) -> Record:
        """Without metadata."""
        if isinstance(record, Message) and record.metadata is not None:
            return record._replace(metadata=None)
        if isinstance(record, StreamChunk) and record.fields is not None:
            return record._replace(fields=None)
        return record


class Mask(Default):
    """Secrets in every text and every JSON string become `[masked:kind]`. Ids and keys stay as they are."""

    # No chunks: a secret may begin in one and end in the next.
    def __init__(self) -> None:
        # Its patterns take 30 ms to compile.
        from penstock.wire.masking import mask_json, mask_text  # noqa: PLC0415

        self._text = mask_text
        self._json = mask_json

    def before_store(self, record: Record, /) -> Record:
        """Masked; the same object when it holds no secret."""
        changed: dict[str, Any] = {}
        for names, mask in ((text_fields(record), self._text), (json_fields(record), self._json)):
            for name in names:
                value = getattr(record, name)
                if value is not None and (masked := cast("Callable[[Any], Any]", mask)(value)) is not value:
                    changed[name] = masked
        return record._replace(**changed) if changed else record


_SHIPPED: dict[str, type[Default]] = {"default": Default, "verbose": Verbose, "minimal": Minimal, "mask": Mask}


class Chain:
    """Strategies applied one after the other, each to what the one before has made of the record."""

    __slots__ = ("_after", "_steps", "spec", "takes_chunks")

    def __init__(self, spec: str, named: list[tuple[str, Any]]) -> None:
        self.spec = spec
        """The setting it was made from."""
        self.takes_chunks = all(getattr(each, "takes_chunks", False) for _, each in named)
        """Whether it may be asked about chunks of a stream."""
        self._steps = [
            (name, _own(each, "should_store"), _own(each, "before_store"))
            for name, each in named
            if _own(each, "should_store") or _own(each, "before_store")
        ]
        self._after = [(name, call) for name, each in named if (call := _own(each, "after_store"))]

    def applied(self, record: Record) -> Record | None:
        """What is stored of *record*; None when it is left out.

        Raises:
            StrategyFailed: One of them raised, or made of it what cannot stand for it.
        """
        if _is_deletion(record):
            return record
        kept = record
        for name, should_store, before_store in self._steps:
            if should_store is not None and not _answer(name, should_store, kept):
                return None
            if before_store is not None:
                kept = _changed(name, before_store, kept)
        return kept

    def stored(self, record: Record) -> None:
        """Tell them that *record* is stored.

        Raises:
            StrategyFailed: One of them raised; those behind it were not told.
        """
        for name, after_store in self._after:
            _call(name, after_store, record)

    @property
    def listens(self) -> bool:
        """Whether any of them wants to be told what is stored."""
        return bool(self._after)


def load(spec: str) -> Chain | None:
    """The strategies that *spec* names, as `minimal,mask` or `my_package.module:object`; None where all are `default`.

    Raises:
        InvalidSetting: A name is unknown, or an object cannot be imported or is no strategy.
    """
    names = _names(spec)
    named = [(name, _SHIPPED[name]() if name in _SHIPPED else _imported(name, spec)) for name in names]
    active = [(name, each) for name, each in named if type(each) is not Default]
    return Chain(spec, active) if active else None


def check(spec: str) -> None:
    """Refuse what is no list of names, without importing anything. Raises `InvalidSetting`."""
    _names(spec)


def _names(spec: str) -> list[str]:
    names = [name.strip() for name in spec.split(",")]
    for name in names:
        module, colon, path = name.partition(":")
        if name not in _SHIPPED and not (
            colon and all(part.isidentifier() for part in [*module.split("."), *path.split(".")])
        ):
            raise _invalid(spec, f"{name!r} is no strategy")
    return names


def _imported(name: str, spec: str) -> Any:
    module, _, path = name.partition(":")
    try:
        found = attrgetter(path)(importlib.import_module(module))
        strategy = found() if isinstance(found, type) else found
    except Exception as exc:
        raise _invalid(spec, f"{name!r} cannot be loaded ({type(exc).__name__}: {exc}); is it on PYTHONPATH?") from exc
    own = {method: getattr(strategy, method, None) for method in _METHODS}
    if not any(own.values()):
        raise _invalid(spec, f"{name!r} has none of {', '.join(_METHODS)}")
    for method, call in own.items():
        if call is not None and not callable(call):
            raise _invalid(spec, f"{method} of {name!r} is no method")
        if inspect.iscoroutinefunction(call):
            raise _invalid(spec, f"{method} of {name!r} is asynchronous, a plain def is needed")
    return strategy


def _invalid(spec: str, fault: str) -> InvalidSetting:
    return InvalidSetting(
        f"strategy is {spec!r}: {fault}; one or more of {', '.join(_SHIPPED)} or my_package.module:object are needed, "
        f"with commas between"
    )


def _own(strategy: Any, method: str) -> Callable[[Record], Any] | None:
    """The strategy's method, unless it is that of `Default`: that one is not worth a call."""
    call = getattr(strategy, method, None)
    is_default = getattr(type(strategy), method, None) is getattr(Default, method)
    return None if is_default else cast("Callable[[Record], Any] | None", call)


def _is_deletion(record: Record) -> bool:
    """Whether *record* is a deletion or what remains of a deleted state, which must reach the store as it is."""
    if isinstance(record, MessageDeletion | EmbeddingDeletion):
        return True
    return hasattr(record, "stamp") and getattr(record, "deleted_at_us", None) is not None


def _answer(name: str, should_store: Callable[[Record], Any], record: Record) -> bool:
    answer = _call(name, should_store, record)
    if isinstance(answer, bool):
        return answer
    # A method that forgets its `return` would else leave out everything.
    raise StrategyFailed(name, f"returned {type(answer).__name__} from should_store; True or False is needed")


def _changed(name: str, before_store: Callable[[Record], Any], record: Record) -> Record:
    kept: Record = _call(name, before_store, record)
    if kept is record:
        return record
    if type(kept) is not type(record):
        raise StrategyFailed(name, f"returned {type(kept).__name__} for a {type(record).__name__}")
    if wrong := changed_wrongly(record, kept):
        raise StrategyFailed(name, wrong)
    return kept


def _call(name: str, method: Callable[[Record], Any], record: Record) -> Any:
    try:
        return method(record)
    except Exception as exc:  # noqa: BLE001 - whatever somebody's code raises
        # Neither its text nor the error itself goes on: both may quote what the record holds.
        failed = StrategyFailed(name, f"raised {type(exc).__name__}")
        at = traceback.extract_tb(exc.__traceback__, limit=-1)[0]
        failed.add_note(f"{Path(at.filename).name}, line {at.lineno}, in {at.name}")
        raise failed from None
