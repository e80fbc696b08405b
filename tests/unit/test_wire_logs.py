"""Log lines of a program that has not configured structlog."""

from __future__ import annotations

import logging

import pytest
import structlog

from penstock.wire.logs import logger


def test_a_traceback_stands_below_its_line_and_its_absence_in_none(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structlog, "is_configured", lambda: False)
    log = logger("penstock.of_this_test")

    with caplog.at_level(logging.WARNING):
        log.error("broken", exc_info=OSError("100% gone"))
        log.warning("away", tries=1, exc_info=False)

    assert [each.getMessage() for each in caplog.records] == ["event='broken'", "event='away' tries=1"]
    assert "event='broken'\nOSError: 100% gone\n" in caplog.text
