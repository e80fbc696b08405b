"""A file that an earlier release made is opened by this one.

`sqlite_0001.sql` is the dump of a file of release 0.1: the schema as that release wrote it, with a few rows; further
ones follow by the numbers of the schema. A release that adds a migration adds a dump (`make`); none
is ever edited.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.query import Reader
from penstock.stores.sqlite import open_sql
from penstock.stores.sqlite.schema import MIGRATIONS
from penstock.wire.ids import id_from_key
from penstock.wire.records import LogEvent
from tests.upgrade.earlier import OLD, check_search, check_state, dumps, load_sqlite


def test_every_migration_has_a_dump() -> None:
    assert [dump.stem for dump in dumps("sqlite")] == [f"sqlite_{each.number:04}" for each in MIGRATIONS]


@pytest.mark.parametrize("dump", dumps("sqlite"), ids=lambda dump: dump.stem)
async def test_a_file_of_an_earlier_release_is_read_and_written(dump: Path, tmp_path: Path) -> None:
    store = open_sql(load_sqlite(dump, tmp_path / "old.db"))
    await store.setup()

    new = [OLD, OLD._replace(id=id_from_key("new"), created_at_us=OLD.created_at_us + 9)]
    written = await store.write([*new, LogEvent(id_from_key("l0"), 1, 20, "again")])
    async with Reader.open(sql=store) as reader:
        messages, session, logs = await reader.messages("s"), await reader.session("s"), await reader.logs()
    await store.close()

    assert written == 1
    assert [each.content for each in messages] == ["from long ago 👩‍🚀"] * 2
    assert session is not None
    assert session.message_count == 2
    assert [each.event for each in logs] == ["started"]


@pytest.mark.parametrize("dump", dumps("sqlite")[1:], ids=lambda dump: dump.stem)
async def test_state_of_an_earlier_release_is_read_and_kept(dump: Path, tmp_path: Path) -> None:
    store = open_sql(load_sqlite(dump, tmp_path / "old.db"))
    await store.setup()
    try:
        await check_state(store)
    finally:
        await store.close()


@pytest.mark.parametrize("dump", dumps("sqlite"), ids=lambda dump: dump.stem)
async def test_messages_of_an_earlier_release_are_found_by_their_words(dump: Path, tmp_path: Path) -> None:
    store = open_sql(load_sqlite(dump, tmp_path / "old.db"))
    await store.setup()
    try:
        await check_search(store)
    finally:
        await store.close()
