"""The shape of the house: what a stray file or import would silently break."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

HEAVY = ("arq", "redis", "structlog", "lancedb", "asyncpg", "aiosqlite", "pyarrow", "numpy", "typer", "rich", "yaml")


def test_no_source_root_has_an_init_file() -> None:
    """One `penstock/__init__.py` would hide the other two roots."""
    assert list(ROOT.glob("*/penstock/__init__.py")) == []


def test_importing_the_producer_imports_no_worker_and_no_driver() -> None:
    """An agent pays for what it uses, and arq's pins do not reach it."""
    code = f"import sys, penstock.producer; print([m for m in {HEAVY!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


def test_the_fault_kit_needs_no_test_library() -> None:
    code = "import sys, penstock.testing; print([m for m in ('pytest', 'hypothesis') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


def test_the_contracts_of_stores_need_no_driver() -> None:
    """Who writes a store installs `penstock[testing]` and a driver of their own."""
    drivers = [each for each in HEAVY if each not in ("redis", "structlog")]
    missing = f"import sys; sys.modules.update(dict.fromkeys({drivers!r}))"
    code = f"{missing}; from penstock.testing import conformance; print(conformance.__all__)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "VectorStoreConformance" in shown.stdout


def test_every_part_is_typed() -> None:
    """`py.typed` must lie in each portion of a namespace package."""
    parts = [path for path in ROOT.glob("*/penstock/*") if path.is_dir() and path.name != "__pycache__"]

    assert parts
    assert [part for part in parts if not (part / "py.typed").exists()] == []
