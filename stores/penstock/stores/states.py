"""What becomes of state when a record comes: the newer one stays, whatever the order. The same for every backend.

A backend reads the rows of the keys that a batch names, has them changed here, and writes what is new. A row is a
record, with all its fields, of the last write that took effect.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeGuard, TypeVar, cast

from penstock.wire.ids import NO_STAMP
from penstock.wire.records import AgentState, Context, KeyValue, Record, StateRecord, Task, TaskStatus

Row: TypeAlias = Task | AgentState | Context | KeyValue
RowType: TypeAlias = type[Task] | type[AgentState] | type[Context] | type[KeyValue]
Key: TypeAlias = tuple[str, ...]

_R = TypeVar("_R", AgentState, Context, KeyValue)

ROW_TYPES: tuple[RowType, ...] = (Task, AgentState, Context, KeyValue)

_COURSE = ("last_run_at_us", "next_run_at_us", "started_at_us", "completed_at_us", "duration_s", "result", "error")
"""What belongs to a task's status."""

_ROW_TYPE: Mapping[type[StateRecord], RowType] = {each: each for each in ROW_TYPES} | {TaskStatus: Task}


def is_state(record: Record) -> TypeGuard[StateRecord]:
    """Whether *record* is one of those that this module is about."""
    return type(record) in _ROW_TYPE


def key_of(record: StateRecord) -> Key:
    """What the row of *record* is found by."""
    if isinstance(record, KeyValue):
        return record.namespace, record.key
    return (record[3],)


class States:
    """The state records of a batch, in order, by the table that they change."""

    def __init__(self, records: Iterable[StateRecord]) -> None:
        self.records: dict[RowType, list[StateRecord]] = {each: [] for each in ROW_TYPES}
        for record in records:
            self.records[_ROW_TYPE[type(record)]].append(record)

    def keys(self, table: RowType) -> list[Key]:
        """The keys that the records of *table* name, each once, sorted."""
        return sorted({key_of(record) for record in self.records[table]})

    def changed(self, table: RowType, stored: Iterable[Row]) -> tuple[list[Row], int]:
        """The rows that are other than the *stored* ones, sorted by key, and how many records took effect."""
        rows: dict[Key, Row] = {key_of(row): row for row in stored}
        changed: set[Key] = set()
        taken = 0
        for record in self.records[table]:
            key = key_of(record)
            row = _merge(rows.get(key), record)
            if row is not None:
                rows[key] = row
                changed.add(key)
                taken += 1
        return [rows[key] for key in sorted(changed)], taken


class Was(NamedTuple):
    """What was under a key before somebody put something there."""

    live: bool
    """It had a value that was neither deleted nor expired."""
    stamp: bytes
    """The key's stamp from then on, which every later one must be above."""


def is_live(row: KeyValue, now_us: int) -> bool:
    """Whether there is a value at *now_us*."""
    return row.deleted_at_us is None and (row.expires_at_us is None or row.expires_at_us > now_us)


def placed(
    stored: Iterable[KeyValue], records: Sequence[KeyValue], now_us: int, *, if_absent: bool
) -> tuple[list[KeyValue], list[Was]]:
    """What `KeyValueStore.put` makes of the *stored* rows: those that change, sorted by key, and what was there."""
    rows = {key_of(row): row for row in stored}
    changed: set[Key] = set()
    found: list[Was] = []
    for record in records:
        key = key_of(record)
        row = rows.get(key)
        live = row is not None and is_live(row, now_us)
        if row is not None and live and if_absent:
            found.append(Was(live, row.stamp))
            continue
        above = record if row is None or record.stamp > row.stamp else record._replace(stamp=_above(row, record))
        rows[key] = above._replace(first_at_us=_first(above) if row is None else min(_first(row), _first(above)))
        changed.add(key)
        found.append(Was(live, above.stamp))
    return [rows[key] for key in sorted(changed)], found


def _above(row: KeyValue, record: KeyValue) -> bytes:
    """The next stamp of the record's producer after that of *row*."""
    last = int.from_bytes(row.stamp[:8], "big")
    return min(last + 1, 2**64 - 1).to_bytes(8, "big") + record.stamp[8:]


def put(rows: dict[Hashable, Row], record: StateRecord) -> bool:
    """Change *rows*, which are kept by table and key. False when *record* is not newer."""
    key = (_ROW_TYPE[type(record)], key_of(record))
    row = _merge(rows.get(key), record)
    if row is None:
        return False
    rows[key] = row
    return True


def _merge(row: Row | None, record: StateRecord) -> Row | None:
    """The row after *record*; None when nothing changes."""
    if isinstance(record, Task):
        return _task(cast("Task | None", row), record)
    if isinstance(record, TaskStatus):
        return _task_status(cast("Task | None", row), record)
    replace = cast("Callable[[Row | None, Row], Row | None]", _newer)
    return replace(row, record)


def _newer(row: _R | None, record: _R) -> _R | None:
    if row is None:
        return record._replace(first_at_us=_first(record))
    if record.stamp <= row.stamp:
        return None
    return record._replace(first_at_us=min(_first(row), _first(record)))


def _first(record: Row) -> int:
    return record.created_at_us if record.first_at_us is None else record.first_at_us


def _task(row: Task | None, save: Task) -> Task | None:
    """A save replaces what was saved before, and the status, each if it is newer. A deletion is a save too."""
    if row is None:
        return save._replace(first_at_us=_first(save))
    given, known = _status_stamp(save), _status_stamp(row)
    if save.stamp <= row.stamp and given <= known:
        return None
    base, course = (save if save.stamp > row.stamp else row), (save if given > known else row)
    stamp = max(given, known)
    return base._replace(
        status=course.status,
        **{name: getattr(course, name) for name in _COURSE},
        created_at_us=save.created_at_us if max(save.stamp, given) > _newest_stamp(row) else row.created_at_us,
        normalised=save.normalised or row.normalised if base is not course else base.normalised,
        first_at_us=min(_first(row), _first(save)),
        status_stamp=None if stamp == base.stamp else stamp,
    )


def _task_status(row: Task | None, change: TaskStatus) -> Task | None:
    """What a change gives replaces what the status had. One of an unknown task makes it, with nothing saved of it."""
    given = {name: value for name in ("status", *_COURSE) if (value := getattr(change, name)) is not None}
    if row is None:
        row = Task(change.id, change.created_at_us, NO_STAMP, change.task_id, first_at_us=change.created_at_us)
    elif change.stamp <= _status_stamp(row):
        return None
    return row._replace(
        **given,
        created_at_us=change.created_at_us if change.stamp > _newest_stamp(row) else row.created_at_us,
        normalised=row.normalised or change.normalised,
        status_stamp=change.stamp,
    )


def _status_stamp(row: Task) -> bytes:
    return row.stamp if row.status_stamp is None else row.status_stamp


def _newest_stamp(row: Task) -> bytes:
    return max(row.stamp, _status_stamp(row))
