"""What every SQL store says of a record that it refuses: fields by name, and never what is in one.

The reason becomes part of a dead letter, which is listed, exported and logged.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.stores.contract import SqlStore
from penstock.stores.errors import StoreRejected
from penstock.testing.conformance.records import embedding
from penstock.testing.conformance.rehearsing import KINDS
from penstock.wire.errors import FrameError
from penstock.wire.frames import decode, encode
from penstock.wire.records import Embedding, Record

SECRET = "sk-5ecret"  # noqa: S105 - what must not be found

_JSON = {"metadata", "data", "fields", "stats", "result", "value"}

_FAULTS: dict[type, tuple[Any, ...]] = {
    str: (f"{SECRET}\0", f"{SECRET}\ud800", SECRET.encode(), [SECRET], {SECRET: SECRET}, 5),
    bytes: (SECRET.encode(), f'{{"a":"{SECRET}'.encode(), f'["{SECRET}"]'.encode(), b"\xff" + SECRET.encode(), SECRET),
    int: (SECRET, 2**63, -1, [SECRET], SECRET.encode()),
    float: (SECRET, float("nan"), [SECRET]),
    bool: (SECRET, [SECRET], SECRET.encode()),
}


def full_of_secrets(record: Record) -> Any:
    """*record* with the secret in every field that holds text or JSON."""
    fields: dict[str, Any] = {}
    for name, hint in _hints(record).items():
        if str in hint and name != "state":
            fields[name] = f"{SECRET} {name}"
        elif name in _JSON:
            fields[name] = f'{{"{SECRET}":"{SECRET}"}}'.encode()
    return record._replace(**fields)


def faulty(record: Any) -> Iterator[Record]:
    """*record* with one field after the other made wrong, in every way."""
    for name, hint in _hints(record).items():
        for fault in _FAULTS[hint[0]]:
            bad = record._replace(**{name: fault})
            if _travels(bad):
                yield bad


def _travels(record: Record) -> bool:
    """Whether *record* comes through the queue: types are checked where frames are decoded."""
    try:
        return decode(encode(record)) == record
    except (FrameError, UnicodeEncodeError, OverflowError, TypeError):
        return False


def _hints(record: Any) -> dict[str, tuple[type, ...]]:
    found = typing.get_type_hints(type(record))
    return {name: typing.get_args(found[name]) or (found[name],) for name in record._fields}


class SecretsConformance:
    """A part of `SqlStoreConformance`."""

    @pytest.mark.parametrize("record", [*KINDS, embedding()], ids=lambda record: type(record).__name__)
    async def test_no_reason_quotes_what_a_record_holds(self, store: SqlStore, record: Record) -> None:
        whole = full_of_secrets(record)
        if not isinstance(record, Embedding):
            assert await store.write([whole]) == 1

        reasons = [await _reason(store, bad) for bad in faulty(whole)]

        assert [each for each in reasons if each and SECRET in each] == []
        assert any(reasons)


async def _reason(store: SqlStore, bad: Record) -> str | None:
    """Why *bad* is refused; None where it is not. A rehearsal says the same."""
    (trial,) = await store.rehearse([bad])
    try:
        await store.write([bad])
    except StoreRejected as exc:
        assert trial.refusal == str(exc)  # noqa: PT017 - not whether it is raised is asked
        return trial.refusal
    assert trial.refusal is None
    return None
