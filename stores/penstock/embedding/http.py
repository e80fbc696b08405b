"""A model behind HTTP, as OpenAI's `POST /embeddings`, which most servers of models speak."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from penstock.embedding.contract import EmbedderRejected, EmbedderUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_SIZE = 128
"""OpenAI takes 2,048 texts and 300,000 tokens a call (platform.openai.com/docs/api-reference/embeddings, 2026)."""

TIMEOUT_S = 60.0

_TEXTS_FAULT = {400, 413, 422}
"""All else may pass: 401, 403 and 404 are mended in the settings, and then the same texts are taken."""

_LONGEST_WAIT_S = 300.0


class HttpEmbedder:
    """The *model* of the server at *url* (`https://api.openai.com/v1`); *key* goes as a bearer token.

    *dimension* asks for shorter vectors, where the model makes any. After an answer with `Retry-After` nothing is asked
    until then. *clock* tells seconds that only rise.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str = "",
        dimension: int | None = None,
        batch_size: int = BATCH_SIZE,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._dimension = dimension
        self._batch_size = batch_size
        self._clock = clock
        self._closed_until = 0.0
        self._endpoint = f"{url.rstrip('/')}/embeddings"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout_s)

    @property
    def name(self) -> str:
        """See `Embedder.name`."""
        return f"{self._model}-{self._dimension}" if self._dimension else self._model

    @property
    def batch_size(self) -> int:
        """See `Embedder.batch_size`."""
        return self._batch_size

    async def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """See `Embedder.embed`. No error quotes what the server says: it may quote the key, or a text."""
        self._refuse_early()
        body: dict[str, Any] = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        if self._dimension:
            body["dimensions"] = self._dimension
        try:
            answer = await self._client.post(self._endpoint, json=body)
        except httpx.HTTPError as exc:
            raise EmbedderUnavailable(f"embedder {self.name}: {type(exc).__name__} from {self._endpoint}") from exc
        if answer.status_code != httpx.codes.OK:
            raise self._refusal(answer)
        return self._vectors(answer, len(texts))

    def _refuse_early(self) -> None:
        wait_s = self._closed_until - self._clock()
        if wait_s > 0:
            raise EmbedderUnavailable(f"embedder {self.name} asked to be left alone for {wait_s:.0f} s more")

    def _refusal(self, answer: httpx.Response) -> EmbedderUnavailable | EmbedderRejected:
        said = f"embedder {self.name}: status {answer.status_code}{_code(answer)} from {self._endpoint}"
        if answer.status_code in _TEXTS_FAULT:
            return EmbedderRejected(said)
        try:
            wait_s = float(answer.headers.get("retry-after", "0"))
        except ValueError:  # a date, which a gate's own probes do for
            wait_s = 0.0
        # Calls run beside each other, and not every answer names a time.
        self._closed_until = max(self._closed_until, self._clock() + min(wait_s, _LONGEST_WAIT_S))
        return EmbedderUnavailable(said)

    def _vectors(self, answer: httpx.Response, count: int) -> NDArray[np.float32]:
        try:
            vectors = {item["index"]: _numbers(item["embedding"]) for item in answer.json()["data"]}
            return np.array([vectors[at] for at in range(count)], dtype=np.float32)
        except (ValueError, KeyError, TypeError) as exc:
            raise EmbedderUnavailable(
                f"embedder {self.name}: what {self._endpoint} answers is no list of {count} embeddings"
            ) from exc

    async def close(self) -> None:
        """See `Embedder.close`."""
        await self._client.aclose()


def _numbers(embedding: Any) -> Any:
    """Some servers answer in Base64 whatever they are asked for."""
    return np.frombuffer(base64.b64decode(embedding), "<f4") if isinstance(embedding, str) else embedding


def _code(answer: httpx.Response) -> str:
    """The error's code in OpenAI's words, such as ` (context_length_exceeded)`, if it looks like one."""
    try:
        error = answer.json()["error"]
        code = error.get("code") or error.get("type")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({code})" if isinstance(code, str) and code.isidentifier() else ""
