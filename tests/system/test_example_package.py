"""The example of a store in a package of its own: built, installed, and held to the contract as a stranger would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/penstock-sqlite-vectors"
PAGE = (ROOT / "docs/third-party-stores.md").read_text()


def python(*arguments: str, cwd: Path, site: Path | None = None) -> str:
    places = os.pathsep.join(filter(None, [str(site or ""), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": places},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_the_example_package_is_built_installed_and_passes_the_contract_and_a_drain(tmp_path: Path) -> None:
    site, wheels, quiet = tmp_path / "site", tmp_path / "wheels", ("-qq", "--no-index", "--no-deps")
    shutil.copytree(EXAMPLE, tmp_path / "source")
    python("-m", "pip", "wheel", *quiet, "--no-build-isolation", "-w", str(wheels), ".", cwd=tmp_path / "source")
    python("-m", "pip", "install", *quiet, "--target", str(site), *map(str, wheels.iterdir()), cwd=tmp_path)
    shutil.rmtree(tmp_path / "source/src")

    told = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path / "source", site=site)

    passed = re.search(r"(\d+) passed", told)
    assert passed
    assert int(passed[1]) > 50


def test_what_the_page_shows_of_the_package_is_in_it() -> None:
    (entry_point,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    _, test_class = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    assert entry_point in (EXAMPLE / "pyproject.toml").read_text()
    assert test_class in (EXAMPLE / "tests/test_contract.py").read_text()


def test_the_program_of_the_page_registers_its_scheme(tmp_path: Path) -> None:
    program, _ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    assert python("-W", "error", "-c", program, cwd=tmp_path) == "[]\n"
