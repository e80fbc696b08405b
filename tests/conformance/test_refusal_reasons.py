"""What a database's own rules say of a row, which may quote it, and what of that becomes a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.stores.errors import StoreRejected
from penstock.stores.postgres import open_sql as open_postgres
from penstock.stores.sqlite import open_sql as open_sqlite
from penstock.testing.conformance.records import message
from tests.conformance.postgres_server import Schema
from tests.conformance.sqlite_file import execute

SECRET = message(1)._replace(content="sk-5ecret", user_id="sk-5ecret")

RULES = {
    "check": "ALTER TABLE messages ADD CONSTRAINT short CHECK (length(content) < 9)",
    "unique": "CREATE UNIQUE INDEX one_user ON messages (user_id)",
    "trigger": """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'bad row: %', NEW.content; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.user_id IS NOT NULL)
        EXECUTE FUNCTION refuse()""",
    "cast": """CREATE FUNCTION cast_it() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.version := NEW.content::int; RETURN NEW; END $$;
        CREATE TRIGGER cast_it BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.user_id IS NOT NULL)
        EXECUTE FUNCTION cast_it()""",
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
async def test_postgres_names_the_rule_and_quotes_no_row(schema: Schema, rule: str) -> None:
    store = open_postgres(schema.url)
    await store.setup()
    if "UNIQUE" in rule:
        await store.write([SECRET._replace(id=bytes(16))])
    schema.script(rule)

    with pytest.raises(StoreRejected) as caught:
        await store.write([SECRET])
    (trial,) = await store.rehearse([SECRET])
    await store.close()

    assert "PostgreSQL refuses a row" in str(caught.value)
    assert "5ecret" not in f"{caught.value}{caught.value.__cause__}"
    assert trial.refusal == str(caught.value)


async def test_sqlite_tells_of_a_trigger_and_not_what_it_says(tmp_path: Path) -> None:
    store = open_sqlite(f"sqlite:///{tmp_path}/p.db")
    await store.setup()
    execute(
        tmp_path / "p.db",
        """CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.user_id IS NOT NULL
        BEGIN SELECT RAISE(ABORT, 'bad row: sk-5ecret'); END""",
    )

    with pytest.raises(StoreRejected) as caught:
        await store.write([SECRET])
    await store.close()

    assert str(caught.value) == "a trigger refuses the row"
