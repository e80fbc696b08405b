"""Tasks that a scheduler keeps in JSON files, as tasks of ours."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from penstock.moving.events import Origin, data_of
from penstock.moving.moments import moment_us
from penstock.wire.building_state import StateBuilder
from penstock.wire.ids import RisingClock, StampClock, from_us
from penstock.wire.records import Task

_ID = ("id", "task_id", "uuid")
_TEXTS = {
    "agent_id": ("agent_id", "agent_name", "agent"),
    "task_type": ("task_type", "type", "schedule_type"),
    "priority": ("priority",),
    "description": ("description", "task_prompt", "prompt"),
    "status": ("status",),
    "error": ("error",),
}
_TIMES = {
    "last_run_at": ("last_run_at", "last_run"),
    "next_run_at": ("next_run_at", "next_run"),
    "started_at": ("started_at",),
    "completed_at": ("completed_at", "finished_at"),
}
_SAVED = ("updated_at", "modified_at", "last_run_at", "last_run", "created_at")
_CREATED = ("created_at", "created")


class NotATask(ValueError):
    """Something in a file has another shape. The message says what is needed."""


def objects_of(content: bytes, file: str) -> Iterator[dict[str, Any]]:
    """The tasks of one file: one object, a list of them, or either under `tasks`; also an object of them by their ids.

    Raises:
        NotATask: It holds none.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise NotATask(f"no JSON: {exc}") from None
    if isinstance(found, dict) and isinstance(found.get("tasks"), list | dict):
        found = found["tasks"]
    elif isinstance(found, dict) and (not found or not all(isinstance(each, dict) for each in found.values())):
        yield {"id": PurePath(file).stem, **found}
        return
    if isinstance(found, dict):
        found = [{"id": name, **each} if isinstance(each, dict) else each for name, each in found.items()]
    if not isinstance(found, list):
        raise NotATask("a task, a list of tasks, or an object with tasks is needed")
    yield from found


def task_of(given: object, origin: Origin) -> Task:
    """The task that *given* tells. What is no column of ours goes into `data`, under its own name.

    Its stamp is that of its own times and content: the same file again changes nothing, a later one does, and what was
    saved through Penstock since then stays.

    Raises:
        NotATask: It is no object, or has no id.
        InvalidRecord: A field that no store keeps.
    """
    if not isinstance(given, dict):
        raise NotATask("a task must be an object")
    rest = dict(given)
    task_id = next((str(rest.pop(name)) for name in _ID if _is_name(rest.get(name))), None)
    if task_id is None:
        raise NotATask(f"a task has no {' and no '.join(_ID)}")
    saved_us = max((at for name in _SAVED if (at := moment_us(rest.get(name), origin.zone))), default=origin.at_us)
    created_us = _taken_time(rest, _CREATED, origin)
    fields: dict[str, Any] = {name: _taken_text(rest, names) for name, names in _TEXTS.items()}
    times = {name: _taken_time(rest, names, origin) for name, names in _TIMES.items()}
    fields |= {name: from_us(at_us) for name, at_us in times.items() if at_us is not None}
    enabled, duration_s, result = _taken_flag(rest), _taken_seconds(rest), rest.pop("result", None)
    content = json.dumps(given, sort_keys=True)
    stamps = StampClock(hashlib.sha256(content.encode("utf-8", "replace")).digest()[:8], lambda: saved_us)
    task = StateBuilder(RisingClock(lambda: saved_us), stamps).task(
        task_id=task_id,
        created_at=from_us(saved_us),
        enabled=enabled,
        duration_s=duration_s,
        result=result,
        data=data_of(rest),
        **{name: value for name, value in fields.items() if value is not None},
    )
    return task._replace(id=origin.id_of(content), first_at_us=saved_us if created_us is None else created_us)


def _is_name(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _taken_text(rest: dict[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        if isinstance(rest.get(name), str) and rest[name]:
            return str(rest.pop(name))
    return None


def _taken_time(rest: dict[str, Any], names: tuple[str, ...], origin: Origin) -> int | None:
    for name in names:
        at_us = moment_us(rest.get(name), origin.zone)
        if at_us is not None:
            del rest[name]
            return at_us
    return None


def _taken_flag(rest: dict[str, Any]) -> bool:
    if rest.get("enabled") in (True, False, 0, 1):
        return bool(rest.pop("enabled"))
    return True


def _taken_seconds(rest: dict[str, Any]) -> float | None:
    for name in ("duration_s", "duration"):
        value = rest.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
            del rest[name]
            return float(value)
    return None
