"""What a producer is told, and what it shows of itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import penstock.producer
from penstock.producer import BlockingProducer, BufferFull, Producer, ProducerSettings
from penstock.producer.errors import ProducerClosed
from penstock.wire.settings import InvalidSetting


def test_the_public_names_are_these() -> None:
    assert penstock.producer.__all__ == [
        "BlockingProducer",
        "BufferFull",
        "DeadLettered",
        "NotQueued",
        "NotStored",
        "Producer",
        "ProducerError",
        "ProducerSettings",
        "Receipt",
        "RecordDropped",
    ]


@pytest.mark.parametrize("kind", [Producer, BlockingProducer])
def test_settings_come_from_the_environment(kind: type[Producer | BlockingProducer]) -> None:
    environment = {
        "REDIS_URL": "redis://example:1/2",
        "PENSTOCK_NAMESPACE": "n",
        "PENSTOCK_PARTITIONS": "4",
        "PENSTOCK_LINGER_MS": "2.5",
        "PENSTOCK_OVERFLOW": "drop",
    }

    settings = kind.from_env(environment).settings

    assert settings == ProducerSettings(
        redis_url="redis://example:1/2", namespace="n", partitions=4, linger_ms=2.5, overflow="drop"
    )


def test_the_arguments_go_before_the_settings() -> None:
    producer = Producer("redis://a:1/0", namespace="n", settings=ProducerSettings(namespace="m", linger_ms=1))

    assert (producer.settings.redis_url, producer.settings.namespace, producer.settings.linger_ms) == (
        "redis://a:1/0",
        "n",
        1,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"buffer_records": 0},
        {"buffer_bytes": 0},
        {"backlog_records": -1},
        {"linger_ms": -1},
        {"close_timeout_s": float("nan")},
        {"retry_base_ms": 10, "retry_cap_ms": 5},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(wrong))):
        ProducerSettings(**wrong)


@pytest.mark.parametrize("kind", [Producer, BlockingProducer])
def test_a_malformed_url_is_refused_at_once_without_its_password(kind: type[Producer | BlockingProducer]) -> None:
    with pytest.raises(InvalidSetting, match="PENSTOCK_REDIS_URL") as caught:
        kind("http://user:secret@host")

    assert "secret" not in str(caught.value)


def test_a_call_before_the_block_is_refused() -> None:
    with pytest.raises(ProducerClosed, match="with"):
        Producer().message(session_id="s", role="user")


def test_a_full_buffer_of_the_asynchronous_producer_names_ready() -> None:
    producer = Producer(settings=ProducerSettings(buffer_records=1))
    producer._buffer.open()
    producer.message(session_id="s", role="user")

    with pytest.raises(BufferFull, match=r"await producer\.ready"):
        producer.message(session_id="s", role="user")


def test_importing_the_producer_imports_neither_redis_nor_structlog() -> None:
    """They cost more than all the rest."""
    code = "import sys, penstock.producer; print([m for m in ('redis', 'structlog') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"
