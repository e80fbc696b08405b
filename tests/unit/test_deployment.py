"""Dockerfile and docker-compose.yml, read by parsers: what an engine would only complain about at night."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from penstock.stores.registry import sql_store, vector_store
from penstock.wire.settings import from_mapping
from penstock.worker.settings import WorkerConfig

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
WORKERS = ("worker", "workers")

_KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "HEALTHCHECK", "STOPSIGNAL", "CMD"}
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")


class Instruction(NamedTuple):
    word: str
    rest: str


def dockerfile() -> list[Instruction]:
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


DOCKERFILE = dockerfile()


def last(word: str) -> str:
    return [each.rest for each in DOCKERFILE if each.word == word][-1]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif value is not None:
        yield str(value)


def flags(service: str) -> dict[str, str]:
    """A server's command as {flag: value}."""
    _, *rest = SERVICES[service]["command"]
    return dict(zip(rest[::2], rest[1::2], strict=True))


def environment(service: str) -> dict[str, str]:
    """A service's environment, every variable filled in."""
    return {name: _VARIABLE.sub("filled", value) for name, value in SERVICES[service]["environment"].items()}


# -- Dockerfile ---------------------------------------------------------------------------------


def test_every_instruction_is_known() -> None:
    assert {each.word for each in DOCKERFILE} - _KNOWN == set()
    assert DOCKERFILE[0].word == "FROM"


def test_base_images_are_pinned_to_a_version() -> None:
    images = [each.rest.split()[0] for each in DOCKERFILE if each.word == "FROM"]

    assert [image for image in images if not re.search(r":\d+\.\d+", image)] == []


def test_everything_copied_is_there_and_is_sent_to_the_builder() -> None:
    wanted = [name for each in DOCKERFILE if each.word == "COPY" and "--from" not in each.rest
              for name in each.rest.split()[:-1]]  # fmt: skip
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert wanted
    assert [name for name in wanted if not (ROOT / name).exists()] == []
    assert [name for name in wanted if not any(fnmatch.fnmatch(name, pattern) for pattern in sent)] == []


def test_extras_of_the_image_are_extras_of_the_package() -> None:
    import tomllib  # noqa: PLC0415 - only here

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (asked,) = re.findall(r"'\.\[([\w,]+)\]'", (ROOT / "Dockerfile").read_text())

    assert set(asked.split(",")) <= set(extras)


def test_container_does_not_run_as_root() -> None:
    user = last("USER")

    assert user not in ("root", "0")
    assert f" {user}" in last("RUN")


def test_command_is_one_of_ours() -> None:
    program, command = json.loads(last("CMD"))

    shown = subprocess.run(
        [sys.executable, "-m", "penstock.cli", command, "--help"], capture_output=True, text=True, check=False
    )
    assert program == "penstock"
    assert shown.returncode == 0, shown.stderr


def test_stop_signal_is_the_one_that_hands_over() -> None:
    assert last("STOPSIGNAL") == "SIGTERM"


def test_health_check_is_the_same_in_both_files() -> None:
    _, _, command = last("HEALTHCHECK").partition("CMD ")

    for service in WORKERS:
        assert SERVICES[service]["healthcheck"]["test"] == ["CMD-SHELL", command]


@pytest.mark.parametrize(
    ("workers", "code"), [(["other:1", "{host}:17"], 0), (["other:1"], 1), (["{host}-2:1"], 1), ([], 1)]
)
def test_health_check_finds_this_hosts_worker(workers: list[str], code: int) -> None:
    """Only what stands after the pipe: the queue is not needed to test it."""
    import socket  # noqa: PLC0415 - only here

    _, _, reader = last("HEALTHCHECK").partition(" | ")
    told = json.dumps({"workers": [each.format(host=socket.gethostname()) for each in workers]})

    _, *arguments = shlex.split(reader)
    assert subprocess.run([sys.executable, *arguments], input=told, text=True, check=False).returncode == code


# -- docker-compose.yml -------------------------------------------------------------------------


def test_profiles_hold_what_they_promise() -> None:
    held = {
        profile: {name for name, service in SERVICES.items() if profile in service["profiles"]}
        for profile in ("personal", "enterprise")
    }

    assert held == {"personal": {"queue", "worker"}, "enterprise": {"queue", "postgres", "workers"}}
    assert all(service["profiles"] for service in SERVICES.values())


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_restarted_and_given_time_to_stop(name: str) -> None:
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert int(service["stop_grace_period"].removesuffix("s")) >= 30


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_a_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].partition(":")

    assert re.match(r"\d", tag)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_in_all_its_profiles(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert set(SERVICES[name]["profiles"]) <= set(SERVICES[needed]["profiles"])
        assert how == {"condition": "service_healthy"}


def test_queue_keeps_what_it_accepts() -> None:
    settings = flags("queue")

    assert settings["--appendonly"] == "yes"
    assert settings["--appendfsync"] == "${QUEUE_APPENDFSYNC:-everysec}"
    assert settings["--maxmemory-policy"] == "noeviction"
    assert settings["--requirepass"].startswith("${QUEUE_PASSWORD:?")


def test_every_volume_has_a_name_and_is_used() -> None:
    mounted = [mount.partition(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())]

    assert set(mounted) == set(COMPOSE["volumes"])
    assert len(mounted) == len(set(mounted))


def test_personal_has_one_worker_and_enterprise_as_many_as_wanted() -> None:
    assert "deploy" not in SERVICES["worker"]
    assert SERVICES["workers"]["deploy"]["replicas"] == "${WORKERS:-3}"


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_no_password_has_a_default() -> None:
    """A secret is asked for, or is the same variable as one that is asked for elsewhere."""
    found = {
        (name, operator)
        for service in SERVICES.values()
        for text in strings(service)
        for name, operator, _ in _VARIABLE.findall(text)
        if "PASSWORD" in name
    }
    required = {name for name, operator in found if operator == ":?"}

    assert required == {"QUEUE_PASSWORD", "POSTGRES_PASSWORD"}
    assert {operator for _, operator in found} == {":?", ""}
    assert {name for name, _ in found} == required


@pytest.mark.parametrize("service", WORKERS)
def test_workers_settings_are_settings(service: str) -> None:
    given = environment(service)
    known = {f"PENSTOCK_{name.upper()}" for name in WorkerConfig.__dataclass_fields__}

    assert set(given) <= known
    assert from_mapping(WorkerConfig, given).redis_url == "redis://:filled@queue:6379/0"


def test_enterprise_urls_open() -> None:
    given = environment("workers")

    sql_store(given["PENSTOCK_SQL_URL"])
    vector_store(given["PENSTOCK_VECTOR_URL"])


def test_personal_urls_and_those_of_the_image_open() -> None:
    image = dict(re.findall(r"(PENSTOCK_\w+)=(\S+)", last("ENV")))

    assert from_mapping(WorkerConfig, image).log_format == "json"
    for given in (image, environment("worker")):
        sql_store(given["PENSTOCK_SQL_URL"])
        vector_store(given["PENSTOCK_VECTOR_URL"])
        assert f"{last('VOLUME')}/" in given["PENSTOCK_SQL_URL"]


def test_worker_volume_is_where_its_stores_are() -> None:
    assert [SERVICES[name]["volumes"][0].partition(":")[2] for name in WORKERS] == [last("VOLUME")] * 2
