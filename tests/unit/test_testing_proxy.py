"""The proxy carries everything, and fails in each of its ways; afterwards it carries everything again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from penstock.testing import Proxy


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Redis]:
    """Waits half a second for an answer, and tries nothing twice."""
    with Redis.from_url(proxy.url, socket_timeout=0.5, retry=Retry(NoBackoff(), 0), max_connections=2) as client:
        yield client


@pytest.fixture
def key(client: Redis, namespace: str) -> str:
    client.set(namespace, "before")
    return namespace


def test_what_is_large_comes_through_whole(client: Redis, namespace: str) -> None:
    large = bytes(range(256)) * 8_192
    client.set(namespace, large)

    assert client.get(namespace) == large


def test_a_cut_connection_is_gone_and_the_next_one_is_carried(proxy: Proxy, client: Redis, key: str) -> None:
    line: Any = client.connection_pool.make_connection()
    line.connect()
    proxy.cut()

    with pytest.raises(RedisConnectionError):
        line.read_response()
    assert client.get(key) == b"before"


def test_a_refusing_proxy_takes_no_connection(proxy: Proxy, client: Redis, key: str) -> None:
    with proxy.refusing():
        for _ in range(3):
            with pytest.raises(RedisConnectionError):
                client.get(key)

    assert client.get(key) == b"before"


def test_a_deaf_proxy_delivers_requests_and_loses_answers(
    proxy: Proxy, client: Redis, key: str, redis_url: str
) -> None:
    with proxy.deaf():
        with pytest.raises(RedisTimeoutError):
            client.set(key, "after")
        assert proxy.lost.is_set()

    with Redis.from_url(redis_url) as beside:
        assert beside.get(key) == b"after"
    assert client.get(key) == b"after"


def test_a_black_hole_loses_both(proxy: Proxy, client: Redis, key: str) -> None:
    with proxy.black_hole(), pytest.raises(RedisTimeoutError):
        client.set(key, "after")

    assert client.get(key) == b"before"


def test_a_line_that_has_lost_something_is_cut_and_never_gives_one_answer_for_another(
    proxy: Proxy, client: Redis, key: str
) -> None:
    line: Any = client.connection_pool.make_connection()
    line.connect()
    with proxy.deaf():
        line.send_command("GET", key)
        assert proxy.lost.wait(5)

    with pytest.raises(RedisConnectionError):
        line.read_response()


def test_a_delayed_answer_comes_too_late_for_who_does_not_wait(proxy: Proxy, client: Redis, key: str) -> None:
    with proxy.delayed(0.6), pytest.raises(RedisTimeoutError):
        client.get(key)

    assert client.get(key) == b"before"


def test_a_proxy_without_a_server_ends_what_it_takes() -> None:
    with (
        Proxy("redis://127.0.0.1:1/0") as proxy,
        Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(RedisConnectionError),
    ):
        client.ping()


@pytest.mark.parametrize(
    ("target", "begins", "ends"),
    [
        ("redis://user:secret@localhost:1/3", "redis://user:secret@127.0.0.1:", "/3"),
        (
            "postgresql://u@/db?host=/tmp/pg&options=-csearch_path%3Da",
            "postgresql://u@127.0.0.1:",
            "/db?options=-csearch_path%3Da",
        ),
    ],
)
def test_its_url_is_the_target_s_at_another_address(target: str, begins: str, ends: str) -> None:
    with Proxy(target) as proxy:
        url = proxy.url

    assert url.startswith(begins)
    assert url.endswith(ends)
    assert url.removeprefix(begins).removesuffix(ends).isdecimal()
