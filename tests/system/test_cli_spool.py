"""What `penstock status` says of the spool on its machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from penstock.embedded import free_port
from penstock.producer import Producer, ProducerSettings
from tests.system.command import penstock


async def fill(folder: Path, namespace: str, records: int) -> ProducerSettings:
    """Leave records in a spool, as a producer does whose queue is away."""
    settings = ProducerSettings(
        redis_url=f"redis://127.0.0.1:{free_port()}/0", namespace=namespace, spool_dir=str(folder), retry_base_ms=1
    )
    with capture_logs():
        async with Producer(settings=settings) as producer:
            for number in range(records):
                producer.message(session_id="s", role="user", content=str(number) * 100)
    return settings


async def test_status_tells_what_waits_also_while_the_queue_is_away(
    tmp_path: Path, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = await fill(tmp_path, namespace, 1_200)
    where = ("--redis-url", settings.redis_url, "--namespace", namespace, "--spool-dir", str(tmp_path))

    said = await penstock(capsys, "status", *where)
    told = (await penstock(capsys, "status", "--json", *where)).json()["spool"]

    assert said.code == 4
    assert said.out.startswith("Spool: 1,200 records (")
    assert f" wait on this machine in {tmp_path}, oldest " in said.out
    assert (told["folder"], told["records"], told["unreadable"]) == (str(tmp_path), 1_200, [])
    assert 0 <= told["oldest_age_s"] < 60
    assert told["bytes"] > 100_000


async def test_status_says_so_when_nothing_waits(
    tmp_path: Path, redis_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--redis-url", redis_url, "--namespace", namespace)

    with_one = await penstock(capsys, "status", *where, "--spool-dir", str(tmp_path / "none"))
    without = await penstock(capsys, "status", *where)

    assert f"Spool: nothing waits on this machine in {tmp_path / 'none'}." in with_one.out
    assert (with_one.code, without.code) == (0, 0)
    assert "Spool" not in without.out
    assert list(tmp_path.iterdir()) == []


async def test_status_says_that_a_file_is_no_folder(
    tmp_path: Path, redis_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    where = ("--redis-url", redis_url, "--namespace", namespace, "--spool-dir", str(file))

    said = await penstock(capsys, "status", *where)
    told = (await penstock(capsys, "status", "--json", *where)).json()["spool"]

    assert f"Spool: {file} is no folder, so producers here have none; PENSTOCK_SPOOL_DIR names another." in said.out
    assert told["unreadable"] == [str(file)]


async def test_status_names_a_damaged_file(
    tmp_path: Path, redis_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{namespace}.0.spool").write_bytes(b"this is no database" * 1_000)
    where = ("--redis-url", redis_url, "--namespace", namespace, "--spool-dir", str(tmp_path))

    said = await penstock(capsys, "status", *where)

    assert said.code == 0
    assert f"{namespace}.0.spool" in said.out
