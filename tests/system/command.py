"""The `penstock` command as the tests run it: in this process where that does, as a process of its own where not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from penstock.cli import main

COMMAND = (sys.executable, "-m", "penstock.cli")


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


async def penstock(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """The command in a thread of this process."""

    def run() -> int:
        try:
            main(arguments)
        except SystemExit as exc:
            return int(exc.code or 0)
        raise AssertionError("main returned")

    capsys.readouterr()
    code = await asyncio.to_thread(run)
    return Ran(code, *capsys.readouterr())


async def process(*arguments: str, program: tuple[str, ...] = COMMAND, env: Mapping[str, str] | None = None) -> Ran:
    """The command as a process, with no terminal."""
    started = await asyncio.create_subprocess_exec(
        *program,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    out, err = await started.communicate()
    return Ran(started.returncode or 0, out.decode(), err.decode())
