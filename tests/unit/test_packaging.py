"""The wheel holds what runs, and nothing else; every part says what it exports."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import penstock.wire

ROOT = Path(__file__).parents[2]
SOURCES = ("producer", "stores", "worker")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARTS = sorted(path.name for root in SOURCES for path in (ROOT / root / "penstock").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once from this checkout, with the build backend itself: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (built,) = folder.glob("*.whl")
    return built


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (each for each in archive.namelist() if each.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()


def test_wheel_holds_every_file_of_the_three_roots(wheel: Path) -> None:
    """Lua, SQL and `py.typed` too: a forgotten one is only missed after `pip install`."""
    wanted = {
        str(path.relative_to(ROOT / root))
        for root in SOURCES
        for path in (ROOT / root / "penstock").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    held = {name for name in files_of(wheel) if ".dist-info/" not in name}
    assert any(name.endswith(".lua") for name in held)
    assert held >= wanted
    assert {name for name in held if not name.startswith("penstock/")} == set()


def test_wheel_is_a_namespace_package(wheel: Path) -> None:
    assert "penstock/__init__.py" not in files_of(wheel)


def test_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Straight out of the archive: code and scripts are found by their package, not by a path."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "import penstock; penstock.__path__ = [sys.argv[1] + '/penstock']; "
        "import penstock.wire.scripts as scripts; "
        "print(scripts.__file__, len(scripts._source('push', False)[1]))"
    )

    shown = subprocess.run(
        [sys.executable, "-c", code, str(wheel)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == [f"{wheel}/penstock/wire/scripts.py", "40"]


def test_wheel_offers_the_command_and_the_licence(wheel: Path) -> None:
    assert "penstock = penstock.cli:main" in metadata_of(wheel, "entry_points.txt")
    assert any(name.endswith("/licenses/LICENSE") for name in files_of(wheel))


def test_wheel_tells_its_extras_and_its_python(wheel: Path) -> None:
    told = Parser().parsestr(metadata_of(wheel, "METADATA"))

    assert set(told.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert told["Requires-Python"] == ">=3.11"
    assert told["Version"] == PROJECT["version"]


def test_base_install_asks_for_no_driver_and_no_upper_bound() -> None:
    names = {requirement.partition(">=")[0].partition("[")[0] for requirement in PROJECT["dependencies"]}

    assert names == {"msgpack", "orjson", "redis", "structlog", "uuid-utils"}
    assert [requirement for requirement in PROJECT["dependencies"] if "<" in requirement] == []


def test_changelog_knows_this_version() -> None:
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("part", [*PARTS, "testing.conformance"])
def test_a_part_exports_at_most_ten_names_and_has_them(part: str) -> None:
    module = importlib.import_module(f"penstock.{part}")

    assert len(module.__all__) <= 10
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_what_the_wire_exports() -> None:
    """Removing a name takes one release of `DeprecationWarning`."""
    assert penstock.wire.__all__ == [
        "LANES",
        "Embedding",
        "InvalidRecord",
        "LogEvent",
        "Message",
        "PenstockError",
        "QueueFull",
        "QueueUnavailable",
        "RecordTooLarge",
        "StreamChunk",
    ]
