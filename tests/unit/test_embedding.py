"""Embedders: what they make of texts, and what their failures become."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.embedding import Embedder, EmbedderRejected, EmbedderUnavailable, as_embedder, open_embedder
from penstock.embedding.cache import VectorCache
from penstock.embedding.checking import vectors_of
from penstock.embedding.functions import FunctionEmbedder
from penstock.embedding.hashing import HashingEmbedder
from penstock.wire.settings import InvalidSetting


class Scripted:
    """An embedder that answers with what it was given, and notes what it was asked."""

    name = "scripted"
    batch_size = 2

    def __init__(self, answer: Any = None) -> None:
        self.asked: list[list[str]] = []
        self._answer = answer

    async def embed(self, texts: Sequence[str], /) -> Any:
        self.asked.append(list(texts))
        if isinstance(self._answer, Exception):
            raise self._answer
        return [[float(len(text)), 1.0] for text in texts] if self._answer is None else self._answer

    async def close(self) -> None:
        pass


def floats(vector: bytes) -> list[float]:
    return [float(each) for each in np.frombuffer(vector, "<f4")]


async def test_texts_are_embedded_in_calls_of_the_embedders_size_and_keep_their_order() -> None:
    embedder = Scripted()

    found = await vectors_of(embedder, ["a", "bb", "ccc", "dddd", "eeeee"])

    assert [floats(each)[0] for each in found] == [1, 2, 3, 4, 5]
    assert sorted(embedder.asked) == [["a", "bb"], ["ccc", "dddd"], ["eeeee"]]


@pytest.mark.parametrize("answer", [[[1.0, 2.0]], [1.0, 2.0], [[], []], [[1.0], [2.0], [3.0]]])
async def test_an_answer_of_another_shape_is_no_texts_fault(answer: Any) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"2 texts with an array of shape .* is needed"):
        await vectors_of(Scripted(answer), ["a", "b"])


async def test_a_vector_that_is_not_finite_refuses_its_text() -> None:
    with pytest.raises(EmbedderRejected, match="not finite"):
        await vectors_of(Scripted([[math.nan, 1.0]]), ["a"])


async def test_what_an_embedder_raises_undeclared_is_tried_again_and_not_quoted() -> None:
    with pytest.raises(EmbedderUnavailable, match="scripted failed with KeyError") as caught:
        await vectors_of(Scripted(KeyError("sk-secret")), ["a"])

    assert "sk-secret" not in str(caught.value)


async def test_an_embedders_refusal_is_passed_on() -> None:
    with pytest.raises(EmbedderRejected, match="too long"):
        await vectors_of(Scripted(EmbedderRejected("too long")), ["a", "b", "c"])


async def test_a_text_is_embedded_once() -> None:
    embedder = Scripted()
    cache = VectorCache(embedder)

    first = await cache.vectors_of(["a", "bb", "a"])
    second = await cache.vectors_of(["bb", "a"])

    assert embedder.asked == [["a", "bb"]]
    assert first == [second[1], second[0], second[1]]
    assert (cache.hits, cache.misses) == (3, 2)


async def test_a_cache_holds_no_more_than_its_bytes_and_forgets_what_was_used_longest_ago() -> None:
    embedder = Scripted()
    cache = VectorCache(embedder, max_bytes=2 * (8 + 150))
    for text in ("a", "bb", "a", "ccc", "a"):
        await cache.vectors_of([text])

    await cache.vectors_of(["bb"])

    assert embedder.asked == [["a"], ["bb"], ["ccc"], ["bb"]]


async def test_a_refused_text_costs_the_others_no_second_call() -> None:
    asked: list[list[str]] = []

    async def model(texts: list[str]) -> list[list[float]]:
        asked.append(texts)
        if "bad" in texts:
            raise EmbedderRejected("refused")
        return [[float(len(text))] for text in texts]

    cache = VectorCache(FunctionEmbedder(model, batch_size=2))
    with pytest.raises(EmbedderRejected):
        await cache.vectors_of(["a", "bb", "bad", "dddd", "eeeee"])
    asked.clear()

    assert len(await cache.vectors_of(["a", "bb", "eeeee"])) == 3
    assert asked == []


async def test_a_model_that_is_away_is_not_asked_for_the_rest() -> None:
    embedder = Scripted(EmbedderUnavailable("away"))

    with pytest.raises(EmbedderUnavailable, match="away"):
        await vectors_of(embedder, [str(number) for number in range(100)])

    assert len(embedder.asked) <= 8


async def test_what_failed_is_not_kept() -> None:
    embedder = Scripted(KeyError("once"))
    cache = VectorCache(embedder)
    with pytest.raises(EmbedderUnavailable):
        await cache.vectors_of(["a"])
    embedder._answer = None

    assert floats((await cache.vectors_of(["a"]))[0]) == [1, 1]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=20), st.integers(1, 64))
def test_hashed_texts_have_one_vector_of_length_one(texts: list[str], dimension: int) -> None:
    embedder = HashingEmbedder(dimension)

    found = asyncio.run(embedder.embed(texts))

    assert found.shape == (len(texts), dimension)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert np.array_equal(found, asyncio.run(embedder.embed(texts)))


async def test_hashed_texts_that_share_words_are_nearer() -> None:
    water, river, tax = await HashingEmbedder().embed(["water of the river", "Water of some RIVER", "a tax return"])

    assert water @ river > 0.5 > water @ tax


async def test_a_hash_is_the_same_on_every_machine() -> None:
    (vector,) = await HashingEmbedder(8).embed(["penstock"])

    assert list(vector) == [0, 0, 0, 0, 0, 0, 0, 1]


async def test_a_plain_function_runs_in_a_thread_and_one_call_at_a_time() -> None:
    inside = threading.Semaphore(1)
    threads = set()

    def model(texts: list[str]) -> list[list[float]]:
        assert inside.acquire(blocking=False)
        threads.add(threading.get_ident())
        inside.release()
        return [[float(len(text))] for text in texts]

    embedder = FunctionEmbedder(model, batch_size=1)

    found = await vectors_of(embedder, ["a", "bb", "ccc"])

    assert [floats(each) for each in found] == [[1], [2], [3]]
    assert threading.get_ident() not in threads
    assert embedder.name.endswith("model")


async def test_a_coroutine_function_is_awaited() -> None:
    async def model(texts: list[str]) -> list[list[float]]:
        await asyncio.sleep(0)
        return [[float(len(text))] for text in texts]

    assert [floats(each) for each in await vectors_of(as_embedder(model, name="mine"), ["a"])] == [[1]]


@pytest.fixture
def module() -> Iterator[ModuleType]:
    module = ModuleType("their_models")
    sys.modules["their_models"] = module
    yield module
    del sys.modules["their_models"]


async def test_an_embedder_of_ones_own_is_named_by_module_and_name(module: ModuleType) -> None:
    module.lengths = lambda texts: [[len(text)] for text in texts]  # type: ignore[attr-defined]
    module.Scripted = Scripted  # type: ignore[attr-defined]

    of_function = open_embedder("their_models:lengths")
    of_class: Embedder = open_embedder("their_models:Scripted")

    assert [floats(each) for each in await vectors_of(of_function, ["abc"])] == [[3]]
    assert of_function.name == "their_models:lengths"
    assert isinstance(of_class, Scripted)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("opnai:small", "did you mean openai:"),
        ("nonsense", "known are openai:"),
        ("openai:", "the name of a model is missing"),
        ("openai:small", "PENSTOCK_EMBEDDER_KEY or OPENAI_API_KEY"),
        ("https://host/v1", "model=name"),
        ("https://me:secret@host/v1?model=m", "a key goes into PENSTOCK_EMBEDDER_KEY"),
        ("https://host/v1?model=m&size=3", "no option size; known are batch, dimension, model, timeout"),
        ("https://host/v1?model=m&api_key=secret", "no option api_key"),
        ("https://me:secret@host/v1?modle=m", "a key goes into PENSTOCK_EMBEDDER_KEY"),
        ("https://[host/v1?model=m", "Invalid IPv6 URL"),
        ("https://host/v1?model=m&batch=many", "batch is 'many'; a whole number"),
        ("hashing:-1", "the dimension is '-1'"),
        ("no_such_module_of_theirs:name", "'no_such_module_of_theirs'); is it on PYTHONPATH?"),
        ("math:no_such_name", "cannot be loaded (AttributeError"),
        ("datetime:datetime", "cannot be loaded (TypeError"),
        ("math:pi", "an embedder or a function"),
    ],
)
def test_a_setting_that_names_no_embedder_is_told_with_its_remedy(setting: str, told: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        open_embedder(setting)

    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_model_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)

    with pytest.raises(InvalidSetting, match=r"pip install 'penstock\[sentence-transformers\]'"):
        open_embedder("sentence-transformers:all-MiniLM-L6-v2")


class StandIn:
    """What is used of `sentence_transformers.SentenceTransformer`, whose real models are hundreds of megabytes."""

    loads = 0

    def __init__(self, model: str) -> None:
        if model == "none":
            raise OSError("no such model")
        StandIn.loads += 1

    def encode(self, texts: list[str], *, normalize_embeddings: bool, **_: bool) -> Any:
        vectors = np.array([[len(text), 1.0] for text in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize_embeddings else vectors


async def test_a_local_model_is_loaded_once_and_its_vectors_have_length_one(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = StandIn  # type: ignore[attr-defined]
    library.__spec__ = ModuleSpec("sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    embedder = open_embedder("sentence-transformers:mini?batch=2")
    StandIn.loads = 0

    found = await vectors_of(embedder, ["a", "bb", "ccc"])
    await embedder.close()

    assert [float(np.linalg.norm(floats(each))) for each in found] == pytest.approx([1, 1, 1])
    assert StandIn.loads == 1
    with pytest.raises(EmbedderUnavailable, match=r"embedder none cannot be loaded \(OSError\)"):
        await open_embedder("sentence-transformers:none").embed(["a"])
