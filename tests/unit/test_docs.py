"""The documents tell what the code does: settings with their defaults, links that lead somewhere."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from penstock.producer import ProducerSettings
from penstock.wire.records import LANES
from penstock.worker.settings import WorkerConfig

ROOT = Path(__file__).parents[2]
OPERATING = (ROOT / "docs/operating.md").read_text()
DEPLOYING = (ROOT / "docs/deploying.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def table(text: str, prefix: str) -> dict[str, str]:
    """The second column of a table's rows whose first cell is a variable with *prefix*."""
    rows = re.findall(rf"^\| `({prefix}\w+)` \| ([^|]*) \|", text, re.MULTILINE)
    return {name: cell.replace("`", "") for name, cell in rows}


def defaults(settings: type[ProducerSettings | WorkerConfig]) -> dict[str, str]:
    return {f"PENSTOCK_{each.name.upper()}": str(each.default).lower() for each in fields(settings)}


def test_every_setting_is_told_and_none_that_is_not() -> None:
    known = {*defaults(ProducerSettings), *defaults(WorkerConfig)}

    assert set(table(OPERATING, "PENSTOCK_")) == known


@pytest.mark.parametrize("settings", [ProducerSettings, WorkerConfig])
def test_every_default_is_the_one_that_is_told(settings: type[ProducerSettings | WorkerConfig]) -> None:
    told = table(OPERATING, "PENSTOCK_")

    # A cell with two defaults names the part of each.
    wrong = {
        name: (default, told[name])
        for name, default in defaults(settings).items()
        if default not in re.split(r" \w+,? ?", f"{told[name].lower()} x ")
    }
    assert wrong == {}


def test_every_variable_of_the_compose_file_is_told_with_its_default() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    used = {name: default for name, _, default in re.findall(r"\$\{(\w+)(:-)?([^}:]*)", compose)}
    told = table(DEPLOYING, "")

    assert set(used) == set(told)
    assert {name: default for name, default in used.items() if default} == {
        name: default for name, default in told.items() if default != "asked for"
    }


def test_every_lane_is_named() -> None:
    assert [lane for lane in LANES if f"`{lane}`" not in OPERATING] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())

    assert [each for each in targets if "://" not in each and not (page.parent / each).exists()] == []


def test_every_make_command_that_is_told_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    told = {name for page in PAGES for name in re.findall(r"^\$ make ([a-z-]+)", page.read_text(), re.MULTILINE)}

    assert told
    assert [name for name in told if f"\n{name}:" not in makefile] == []
