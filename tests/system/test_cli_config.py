"""`penstock config`: where each setting comes from, and everything that is wrong; `--config` and what commands take."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import pytest
import typer.main

from penstock.cli.app import tree
from penstock.cli.exits import Code
from penstock.cli.options import take_from_file
from penstock.wire.settings import CONFIG
from tests.system.command import Ran, penstock, process

OPERATING = Path(__file__).parents[2] / "docs/operating.md"

MANY_FAULTS = """\
[worker]
leese_ms = 7000
poll_ms = 0
log_level = "loud"
linger_ms = 9
[producer]
redis_url = "redis://:${QUEUE_PASSWORD}@queue:6379/0"
vector_url = "vectra://here"
buffer_records = "lots"
"""


Environment: TypeAlias = os._Environ[str]


@pytest.fixture(autouse=True)
def environment() -> Iterator[Environment]:
    """This process's environment for one test, with no settings in it: the command puts some there."""
    settings = ("PENSTOCK_", "REDIS_URL", "DATABASE_URL", "QUEUE_PASSWORD")
    copy = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    with patch.dict(os.environ, copy, clear=True):
        yield os.environ


def written(folder: Path, text: str, name: str = "penstock.toml") -> str:
    file = folder / name
    file.write_text(text)
    return str(file)


async def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    ran = await penstock(capsys, *arguments, "config", "show", "--json")
    assert ran.code == Code.OK, ran.err
    return {each["name"]: each for each in ran.json()["settings"]}


async def faults(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    ran = await penstock(capsys, *arguments, "config", "check", "--json")
    told: list[str] = ran.json()["faults"]
    assert ran.code == (Code.NO if told else Code.OK)
    return told


async def test_each_setting_is_shown_with_its_origin(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment |= {"PENSTOCK_SLICE_MS": "900", "PENSTOCK_POLL_MS": "60", "DATABASE_URL": "postgresql://the/apps"}
    file = written(tmp_path, "lease_ms: 7000\nslice_ms: 800\n", "penstock.yaml")

    settings = await shown(capsys, "--config", file)

    told = {name: (each["value"], each["origin"], each["place"]) for name, each in settings.items()}
    assert told["lease_ms"] == (7000, "file", f"lease_ms in {file}, line 1")
    assert told["slice_ms"] == (900, "environment", "PENSTOCK_SLICE_MS")
    assert told["sql_url"] == ("postgresql://the/apps", "environment", "DATABASE_URL")
    assert told["linger_ms"] == (5, "default", None)
    assert told["partitions"] == (None, "default", None)
    assert settings["namespace"]["readers"] == ["producer", "worker", "cache"]
    assert settings["sql_url"]["readers"] == ["worker", "reader"]


async def test_the_table_for_people_tells_the_line(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment |= {"PENSTOCK_SLICE_MS": "900", "REDIS_URL": "redis://there"}
    environment[CONFIG] = written(tmp_path, "[worker]\nlease_ms = 7000\n")

    ran = await penstock(capsys, "config", "show")

    rows = {line.split()[0]: line.split() for line in ran.out.splitlines() if line.strip()}
    assert rows["lease_ms"] == ["lease_ms", "worker", "file,", "line", "2", "7000"]
    assert rows["slice_ms"] == ["slice_ms", "worker", "environment", "900"]
    assert rows["redis_url"] == [
        "redis_url",
        "producer,",
        "worker,",
        "cache",
        "environment,",
        "REDIS_URL",
        "redis://there",
    ]
    assert rows["poll_ms"] == ["poll_ms", "worker", "default", "200"]
    assert ran.err == f"The file is {environment[CONFIG]}.\n"


async def test_a_long_value_is_shown_whole_in_a_narrow_window(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://somebody@a-rather-long-host.example.com:5432/database?sslmode=verify-full"
    environment |= {"PENSTOCK_SQL_URL": url, "COLUMNS": "80"}

    ran = await penstock(capsys, "config", "show")

    assert url in "".join(line.strip() for line in ran.out.splitlines())


@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_secrets_are_never_shown(
    form: tuple[str, ...], environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment |= {"PENSTOCK_REDIS_URL": "redis://:hunter2@queue", "PW": "hunter2"}
    file = written(tmp_path, 'sql_url = "postgresql://u:${PW}@h/db?sslpassword=hunter2"')

    ran = await penstock(capsys, "config", "show", *form, "--config", file)

    assert ran.code == Code.OK
    assert "hunter2" not in ran.out + ran.err
    assert "postgresql://u:***@h/db?sslpassword=***" in ran.out


async def test_show_refuses_what_a_worker_would_and_names_the_check(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    environment["PENSTOCK_LEASE_MS"] = "soon"

    ran = await penstock(capsys, "config", "show")

    assert ran == Ran(
        Code.SETUP,
        "",
        "error: PENSTOCK_LEASE_MS is 'soon'; a whole number is needed; "
        "penstock config check names everything that is wrong\n",
    )


async def test_nothing_wrong_is_said(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment |= {"PENSTOCK_SLICE_MS": "900", CONFIG: written(tmp_path, "lease_ms = 7000")}

    ran = await penstock(capsys, "config", "check")

    assert (ran.code, ran.err) == (Code.OK, "")
    assert ran.out.startswith("Nothing is wrong. 2 of ")


async def test_the_documented_file_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", OPERATING.read_text(), re.DOTALL)
    file = written(tmp_path, text, "penstock.yaml")

    settings = await shown(capsys, "--config", file)

    assert await faults(capsys, "--config", file) == []
    assert {name for name, each in settings.items() if each["origin"] == "file"} == set(
        re.findall(r"\w+(?=: \S)", text)
    )


async def test_everything_wrong_is_named_at_once(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment |= {"PENSTOCK_BATCH_RECORD": "1", "PENSTOCK_BATCH_BYTES": "0", "PENSTOCK_OVERFLOW": "spill"}
    file = written(tmp_path, MANY_FAULTS)

    told = await faults(capsys, "--config", file)

    remedy = "set it, or write ${QUEUE_PASSWORD:-default}"
    assert told == [
        "PENSTOCK_BATCH_RECORD is a variable that nothing reads; is PENSTOCK_BATCH_RECORDS meant?",
        f"leese_ms in {file}, line 2 is no setting; is lease_ms meant?",
        f"linger_ms in {file}, line 5 stands below [worker], but is a setting of: producer",
        f"redis_url in {file}, line 7 needs the variable QUEUE_PASSWORD, which is not set; {remedy}",
        f"vector_url in {file}, line 8 stands below [producer], but is a setting of: worker, reader",
        f"buffer_records in {file}, line 9 is 'lots'; a whole number is needed",
        "PENSTOCK_OVERFLOW is 'spill'; one of block, drop, raise is needed",
        f"log_level in {file}, line 4 is 'loud'; one of debug, info, warning, error is needed",
        "batch_bytes is 0; at least 1 is needed; see PENSTOCK_BATCH_BYTES",
        f"poll_ms is 0; at least 1 is needed; see poll_ms in {file}, line 3",
        told[-1],
    ]
    assert told[-1].startswith("no vector backend is called 'vectra'")
    assert told[-1].endswith(f"see vector_url in {file}, line 8")


async def test_an_embedder_and_a_strategy_that_cannot_be_loaded_are_faults(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    environment |= {"PENSTOCK_EMBEDDER": "no_such_module:embed", "PENSTOCK_STRATEGY": "no_such_module:keep"}
    embedder, strategy = await faults(capsys)
    environment |= {"PENSTOCK_EMBEDDER": "hashing:64", "PENSTOCK_STRATEGY": "mask"}

    reason = "cannot be loaded (ModuleNotFoundError: No module named 'no_such_module'); is it on PYTHONPATH?"
    assert embedder == f"embedder no_such_module:embed {reason}; see PENSTOCK_EMBEDDER"
    assert f"'no_such_module:keep' {reason}" in strategy
    assert strategy.endswith("; see PENSTOCK_STRATEGY")
    assert await faults(capsys) == []


async def test_faults_for_people_are_a_line_each(environment: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    environment |= {"PENSTOCK_NOTHING_LIKE_IT": "1", "PENSTOCK_SLICE_MS": "x"}

    ran = await penstock(capsys, "config", "check")

    assert (ran.code, ran.out) == (Code.NO, "")
    assert ran.err.splitlines() == [
        "error: PENSTOCK_NOTHING_LIKE_IT is a variable that nothing reads; penstock config show lists them all",
        "error: PENSTOCK_SLICE_MS is 'x'; a whole number is needed",
    ]


async def test_two_values_that_contradict_each_other_are_one_fault(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment["PENSTOCK_LEASE_MS"] = "100"
    file = written(tmp_path, "drain_linger_ms = 150\nbackoff_base_ms = 40000\n")

    (lease, backoff) = await faults(capsys, "--config", file)

    assert lease.startswith("drain_linger_ms (150) must be below lease_ms (100)")
    assert lease.endswith(f"; see drain_linger_ms in {file}, line 1, PENSTOCK_LEASE_MS")
    assert backoff.startswith("backoff_base_ms (40000) must not be above backoff_cap_ms (30000)")


async def test_a_value_is_not_blamed_for_a_default_in_place_of_a_bad_one(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    environment |= {"PENSTOCK_DRAIN_LINGER_MS": "20000", "PENSTOCK_LEASE_MS": "a minute"}

    assert await faults(capsys) == ["PENSTOCK_LEASE_MS is 'a minute'; a whole number is needed"]


@pytest.mark.parametrize("url", ["localhost:6379", "redis://:hunter2@localhost:port"])
async def test_a_url_of_no_queue_server_is_a_fault_without_its_password(
    url: str, environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    environment["REDIS_URL"] = url

    (fault,) = await faults(capsys)

    assert "hunter2" not in fault
    assert fault.endswith("see REDIS_URL")


async def test_a_file_that_is_not_there_is_a_fault_of_check_and_the_environment_is_still_checked(
    environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment["PENSTOCK_SLICE_MS"] = "x"

    file, slice_ms = await faults(capsys, "--config", str(tmp_path / "none.toml"))

    assert file.startswith(f"{tmp_path / 'none.toml'} cannot be read: ")
    assert slice_ms.startswith("PENSTOCK_SLICE_MS is")


async def test_yaml_without_its_extra_is_a_fault_with_the_command_that_installs_it(tmp_path: Path) -> None:
    file = written(tmp_path, "lease_ms: 7000", "penstock.yaml")
    program = (
        sys.executable,
        "-c",
        "import sys; sys.modules['yaml'] = None; from penstock.cli import main; main()",
    )

    ran = await process("config", "check", "--config", file, program=program)

    assert ran.code == Code.NO
    assert "pip install 'penstock[yaml]'" in ran.err


async def test_commands_take_the_file_that_the_option_names(
    redis_url: str, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, f"redis_url: {redis_url}\nnamespace: {namespace}\n", "penstock.yml")

    ran = await penstock(capsys, "--config", file, "status")

    assert ran.code == Code.OK
    assert "Nothing was accepted yet." in ran.out


async def test_options_go_before_the_environment_and_that_before_the_file(
    environment: Environment, redis_url: str, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, 'redis_url = "redis://file"\nnamespace = "file"')
    environment |= {"PENSTOCK_REDIS_URL": "redis://environment", "PENSTOCK_NAMESPACE": namespace}

    ran = await penstock(capsys, "--config", file, "status", "--redis-url", redis_url)

    assert ran.code == Code.OK


async def test_a_wrong_setting_of_a_worker_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "\nlease_ms = 1.5\n")

    ran = await penstock(capsys, "--config", file, "worker")

    assert ran == Ran(Code.SETUP, "", f"error: lease_ms in {file}, line 2 is '1.5'; a whole number is needed\n")


async def test_a_file_that_cannot_be_used_stops_every_other_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, 'sql_url = "postgresql://u:${QUEUE_PASSWORD}@h/db"')

    ran = await penstock(capsys, "--config", file, "query", "sessions")

    assert ran.code == Code.SETUP
    assert f"sql_url in {file}, line 1 needs the variable QUEUE_PASSWORD" in ran.err


def options_of(command: Any) -> Iterator[Any]:
    yield from command.params
    for each in getattr(command, "commands", {}).values():
        yield from options_of(each)


def test_every_option_that_is_a_setting_is_taken_from_the_file(tmp_path: Path) -> None:
    """typer looks into the environment only."""
    variables = {
        name
        for option in options_of(typer.main.get_command(tree()))
        for name in ([option.envvar] if isinstance(option.envvar, str) else option.envvar or [])
        if name.startswith("PENSTOCK_") and name != CONFIG
    }
    lines = "\n".join(f'{name.removeprefix("PENSTOCK_").lower()} = "x"' for name in variables)
    environ = {CONFIG: written(tmp_path, lines)}

    take_from_file(environ)

    assert set(environ) == {CONFIG, *variables}
