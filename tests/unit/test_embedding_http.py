"""A model behind HTTP: a real server, with scripted answers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, NamedTuple

import numpy as np
import pytest

from penstock.embedding import EmbedderRejected, EmbedderUnavailable, open_embedder
from penstock.embedding.checking import vectors_of
from penstock.embedding.http import HttpEmbedder


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


class Asked(NamedTuple):
    path: str
    authorization: str | None
    body: dict[str, Any]


def lengths(asked: Asked) -> Answer:
    """The model: a text's vector is its length and a one, the last text first."""
    vectors = [
        {"index": at, "embedding": [float(len(text)), 1.0]} for at, text in reversed([*enumerate(asked.body["input"])])
    ]
    return Answer(200, {"object": "list", "data": vectors})


class ModelServer:
    """Listens on 127.0.0.1; what it answers can be changed."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = lengths
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append(Asked(self.path, self.headers["authorization"], body))
                answer = outer.answer(outer.asked[-1])
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    models = ModelServer()
    thread = Thread(target=models.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield models
    models.server.shutdown()
    thread.join()
    models.server.server_close()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def embedder_of(models: ModelServer, **options: Any) -> AsyncIterator[HttpEmbedder]:
    embedder = HttpEmbedder(models.url, "small", **options)
    yield embedder
    await embedder.close()


async def test_a_server_is_asked_in_openais_words_and_its_order_is_mended(models: ModelServer) -> None:
    async with embedder_of(models, key="sk-secret", dimension=2) as embedder:
        found = await vectors_of(embedder, ["a", "bb", "ccc"])

    assert [list(np.frombuffer(each, "<f4")) for each in found] == [[1, 1], [2, 1], [3, 1]]
    assert models.asked == [
        Asked(
            "/v1/embeddings",
            "Bearer sk-secret",
            {"model": "small", "input": ["a", "bb", "ccc"], "encoding_format": "float", "dimensions": 2},
        )
    ]


async def test_vectors_in_base64_are_read_too(models: ModelServer) -> None:
    vector = base64.b64encode(np.array([0.5, 2.0], "<f4").tobytes()).decode()
    models.answer = lambda _: Answer(200, {"data": [{"index": 0, "embedding": vector}]})

    async with embedder_of(models) as embedder:
        assert (await embedder.embed(["a"])).tolist() == [[0.5, 2.0]]


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503])
async def test_what_may_pass_is_tried_again(models: ModelServer, status: int) -> None:
    said = {"error": {"message": "Incorrect API key provided: sk-secret", "code": "invalid_api_key"}}
    models.answer = lambda _: Answer(status, said)

    async with embedder_of(models, key="sk-secret") as embedder:
        with pytest.raises(EmbedderUnavailable, match=rf"status {status} \(invalid_api_key\)") as caught:
            await embedder.embed(["a text of theirs"])

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_text_that_is_refused_is_not_tried_again_and_not_quoted(models: ModelServer, status: int) -> None:
    models.answer = lambda _: Answer(status, {"error": {"message": "'a text of theirs' is too long", "code": None}})

    async with embedder_of(models) as embedder:
        with pytest.raises(EmbedderRejected, match=f"status {status} from") as caught:
            await embedder.embed(["a text of theirs"])

    assert "theirs" not in str(caught.value)


async def test_a_server_that_names_a_time_is_left_alone_until_then(models: ModelServer) -> None:
    clock = Clock()
    models.answer = lambda _: Answer(429, {}, {"retry-after": "20"})

    async with embedder_of(models, clock=clock) as embedder:
        with pytest.raises(EmbedderUnavailable, match="status 429"):
            await embedder.embed(["a"])
        models.answer = lengths
        clock.now += 19
        with pytest.raises(EmbedderUnavailable, match="left alone for 1 s more"):
            await embedder.embed(["a"])
        clock.now += 1

        assert (await embedder.embed(["a"])).tolist() == [[1, 1]]
    assert len(models.asked) == 2


async def test_a_time_that_a_server_named_outlasts_an_answer_without_one(models: ModelServer) -> None:
    clock = Clock()
    asked, told = Event(), Event()

    def busy(question: Asked) -> Answer:
        if question.body["input"] == ["named"]:
            return Answer(429, {}, {"retry-after": "20"})
        asked.set()
        told.wait(10)
        return Answer(503, {})

    models.answer = busy
    async with embedder_of(models, clock=clock) as embedder:
        unnamed = asyncio.create_task(embedder.embed(["unnamed"]))
        assert await asyncio.to_thread(asked.wait, 10)
        with pytest.raises(EmbedderUnavailable, match="status 429"):
            await embedder.embed(["named"])
        told.set()
        with pytest.raises(EmbedderUnavailable, match="status 503"):
            await unnamed

        with pytest.raises(EmbedderUnavailable, match="left alone for 20 s more"):
            await embedder.embed(["a"])


@pytest.mark.parametrize(
    "body",
    [b"<html>", {}, {"data": []}, {"data": [{"index": 1, "embedding": [1.0]}]}, {"data": [{"embedding": [1.0]}]}, []],
)
async def test_an_answer_that_is_none_is_tried_again(models: ModelServer, body: Any) -> None:
    models.answer = lambda _: Answer(200, body)

    async with embedder_of(models) as embedder:
        with pytest.raises(EmbedderUnavailable, match="no list of 1 embeddings"):
            await embedder.embed(["a"])


async def test_a_server_that_is_away_is_tried_again(models: ModelServer) -> None:
    embedder = open_embedder(f"{models.url}?model=small&batch=3&timeout=5", "sk-secret")
    models.server.shutdown()
    models.server.server_close()

    with pytest.raises(EmbedderUnavailable, match=r"ConnectError from http://127\.0\.0\.1"):
        await embedder.embed(["a"])
    await embedder.close()

    assert (embedder.name, embedder.batch_size) == ("small", 3)
