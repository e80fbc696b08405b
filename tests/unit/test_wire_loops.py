"""Whose event loop it is."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from penstock.wire.loops import UseUvloop, new_loop


@pytest.mark.parametrize(("use", "wanted"), [("auto", uvloop.Loop), ("never", asyncio.SelectorEventLoop)])
def test_a_loop_is_uvloops_unless_that_is_not_wanted(use: UseUvloop, wanted: type[asyncio.AbstractEventLoop]) -> None:
    loop = new_loop(use)
    try:
        assert isinstance(loop, wanted)
    finally:
        loop.close()


def test_without_uvloop_pythons_own_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    loop = new_loop()
    try:
        assert isinstance(loop, asyncio.SelectorEventLoop)
    finally:
        loop.close()
