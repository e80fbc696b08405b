"""Embedders by what the setting `embedder` says."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Callable
from operator import attrgetter
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from penstock.embedding.contract import Embedder
from penstock.wire.settings import InvalidSetting

OPENAI_URL = "https://api.openai.com/v1"

_HTTP_FORM = (
    "an embedder by HTTP is https://host/v1?model=name; a key goes into PENSTOCK_EMBEDDER_KEY, not into the URL"
)

_EXTRAS = {"httpx": "embeddings", "numpy": "embeddings", "sentence_transformers": "sentence-transformers"}


def open_embedder(setting: str, key: str | None = None) -> Embedder:
    """The embedder that *setting* names; nothing is asked or loaded yet.

    - `openai:text-embedding-3-small`: a model of OpenAI's, with the *key*
    - `https://host/v1?model=bge-small`: a server that speaks OpenAI's `POST /embeddings`; the *key* goes with it
    - `sentence-transformers:all-MiniLM-L6-v2`: in this process
    - `hashing:256`: no model, words hashed to 256 numbers
    - `my_package.module:name`: an embedder of yours, or a function of a list of texts

    The first three take `?batch=` (texts of a call), those by HTTP also `?dimension=` and `?timeout=` (seconds).

    Raises:
        InvalidSetting: It names none, a part of it makes no sense, or something is not installed.
    """
    kind = setting.partition(":")[0]
    opener = _OPENERS.get(kind, _from_module)
    try:
        return opener(setting, key or "")
    except ModuleNotFoundError as exc:
        extra = _EXTRAS.get((exc.name or "").partition(".")[0])
        if extra is None:
            raise
        raise InvalidSetting(f"embedder {kind} needs {exc.name}: pip install 'penstock[{extra}]'") from exc


def _openai(setting: str, key: str) -> Embedder:
    model, options = _parts(setting, {"batch", "dimension", "timeout"})
    if not key:
        raise InvalidSetting(f"embedder {setting} needs a key: PENSTOCK_EMBEDDER_KEY or OPENAI_API_KEY")
    return _by_http(OPENAI_URL, model, key, options)


def _server(setting: str, key: str) -> Embedder:
    try:
        parts = urlsplit(setting)
    except ValueError as exc:
        raise InvalidSetting(f"{_HTTP_FORM} ({exc})") from exc
    if not parts.netloc or parts.username or parts.password:
        raise InvalidSetting(_HTTP_FORM)
    options = _options(setting, parts.query, {"model", "batch", "dimension", "timeout"})
    model = options.pop("model", "")
    if not model:
        raise InvalidSetting(_HTTP_FORM)
    return _by_http(urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), model, key, options)


def _by_http(url: str, model: str, key: str, options: dict[str, str]) -> Embedder:
    from penstock.embedding.http import BATCH_SIZE, TIMEOUT_S, HttpEmbedder  # noqa: PLC0415 - httpx is an extra

    return HttpEmbedder(
        url,
        model,
        key=key,
        dimension=_whole("dimension", options.get("dimension")),
        batch_size=_whole("batch", options.get("batch")) or BATCH_SIZE,
        timeout_s=_whole("timeout", options.get("timeout")) or TIMEOUT_S,
    )


def _local(setting: str, _key: str) -> Embedder:
    from penstock.embedding.local import BATCH_SIZE, LocalEmbedder  # noqa: PLC0415 - numpy is an extra

    model, options = _parts(setting, {"batch"})
    if importlib.util.find_spec("sentence_transformers") is None:  # importing it takes seconds
        raise ModuleNotFoundError(name="sentence_transformers")
    return LocalEmbedder(model, batch_size=_whole("batch", options.get("batch")) or BATCH_SIZE)


def _hashing(setting: str, _key: str) -> Embedder:
    from penstock.embedding.hashing import HashingEmbedder  # noqa: PLC0415 - numpy is an extra

    dimension = setting.partition(":")[2]
    return HashingEmbedder(_whole("the dimension", dimension) or 256)


def _from_module(setting: str, _key: str) -> Embedder:
    module, _, name = setting.partition(":")
    if not name or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        known = ", ".join(f"{kind}:" for kind in _OPENERS)
        raise InvalidSetting(f"embedder is {setting!r}; known are {known} and my_package.module:name{_meant(module)}")
    try:
        found = attrgetter(name)(importlib.import_module(module))
        made = found() if isinstance(found, type) else found
    except Exception as exc:
        fault = f"{type(exc).__name__}: {exc}"
        raise InvalidSetting(
            f"embedder {setting} cannot be loaded ({fault}); is it on PYTHONPATH?{_meant(module)}"
        ) from exc
    return as_embedder(made, name=setting)


def _meant(kind: str) -> str:
    near = difflib.get_close_matches(kind, _OPENERS, n=1)
    return f"; did you mean {near[0]}:?" if near else ""


def as_embedder(given: Any, *, name: str = "") -> Embedder:
    """*given* itself where it has an `embed`, else the embedder of that function.

    Raises:
        InvalidSetting: It is neither.
    """
    if hasattr(given, "embed"):
        embedder: Embedder = given
        return embedder
    if not callable(given):
        raise InvalidSetting(f"an embedder or a function of a list of texts is needed, not {type(given).__name__}")
    from penstock.embedding.functions import FunctionEmbedder  # noqa: PLC0415 - numpy is an extra

    return FunctionEmbedder(given, name=name)


def _parts(setting: str, known: set[str]) -> tuple[str, dict[str, str]]:
    model, _, query = setting.partition(":")[2].partition("?")
    if not model:
        raise InvalidSetting(f"embedder is {setting!r}; the name of a model is missing behind the colon")
    return model, _options(setting, query, known)


def _options(setting: str, query: str, known: set[str]) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := options.keys() - known:
        where = setting.partition("?")[0]  # a value may be a key that does not belong there
        raise InvalidSetting(f"embedder {where}: no option {min(unknown)}; known are {', '.join(sorted(known))}")
    return options


def _whole(what: str, value: str | None) -> int | None:
    if not value:
        return None
    if value.isascii() and value.isdigit() and int(value) > 0:
        return int(value)
    raise InvalidSetting(f"embedder: {what} is {value!r}; a whole number of 1 or more is needed")


_OPENERS: dict[str, Callable[[str, str], Embedder]] = {
    "openai": _openai,
    "https": _server,
    "http": _server,
    "sentence-transformers": _local,
    "hashing": _hashing,
}
