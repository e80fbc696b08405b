"""Text, JSON and numbers made acceptable to every store, once, at the call."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any

import orjson

from penstock.wire.errors import InvalidRecord

MAX_ID_CHARS = 255
"""Ids and names. PostgreSQL indexes at most ~2,700 bytes, which 255 characters never exceed."""

MAX_INT = 2**63 - 1

_REPLACEMENT = "�"

# An integer above 53 bits or a dataclass takes the slow look too: orjson would write 2**64 - 1,
# and the NUL or NaN inside a dataclass, without a word.
_QUICK = orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATACLASS


def clean_text(field: str, value: object) -> str:
    """*value* with NUL and lone surrogates as U+FFFD; the same object when there were none."""
    if type(value) is str and value.isascii() and "\0" not in value:  # the usual, in as few steps as Python takes
        return value
    if not isinstance(value, str):
        raise InvalidRecord(field, value, f"a str is needed, not {type(value).__name__}")
    if "\0" not in value:
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            return value
    return value.replace("\0", _REPLACEMENT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_id(field: str, value: object) -> str:
    """A non-empty name of at most `MAX_ID_CHARS` characters, cleaned as text."""
    if type(value) is str and value.isascii() and "\0" not in value and 0 < len(value) <= MAX_ID_CHARS:
        return value
    text = clean_text(field, value)
    if not text:
        raise InvalidRecord(field, value, "at least 1 character is needed")
    if len(text) > MAX_ID_CHARS:
        raise InvalidRecord(field, value, f"{len(text)} characters, at most {MAX_ID_CHARS} are accepted")
    return text


def dump_object(field: str, value: object) -> tuple[bytes, bool]:
    """*value* as the UTF-8 JSON of an object, and whether any of its text was normalised.

    Raises:
        InvalidRecord: Not a mapping with string keys, a NaN or infinity, an integer beyond 64 bits,
            keys that are equal once normalised, or something that JSON has no word for.
    """
    if not isinstance(value, Mapping):
        raise InvalidRecord(field, value, f"a mapping is needed, not {type(value).__name__}")
    return dump_value(field, value if isinstance(value, dict) else dict(value))


def dump_value(field: str, value: object) -> tuple[bytes, bool]:
    """*value*, anything that JSON has a word for, as UTF-8 JSON. Otherwise as `dump_object`."""
    encoded = _try_dump(value)
    # orjson writes NaN as null and NUL as \u0000: only their traces need the slow look.
    if encoded is not None and b"null" not in encoded and b"\\u0000" not in encoded:
        return encoded, False
    seen = _Cleaned(field)
    try:
        cleaned = seen.clean(value, field)
        return orjson.dumps(cleaned, option=orjson.OPT_PASSTHROUGH_DATACLASS), seen.changed
    except RecursionError as exc:
        raise InvalidRecord(field, value, "it is nested too deeply, or holds itself") from exc
    except TypeError as exc:
        raise InvalidRecord(field, value, f"it must be JSON: {exc}") from exc


def load_object(encoded: bytes | str | None) -> dict[str, Any]:
    """The object that `dump_object` wrote; empty when there was none."""
    return dict(orjson.loads(encoded)) if encoded else {}


def load_value(encoded: bytes | str | None) -> Any:
    """The value that `dump_value` wrote; None when there was none."""
    return orjson.loads(encoded) if encoded else None


def _try_dump(value: object) -> bytes | None:
    try:
        return orjson.dumps(value, option=_QUICK)
    except TypeError:
        return None


class _Cleaned:
    """A walk over a JSON value that replaces bad text and refuses bad numbers."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.changed = False

    def clean(self, value: Any, path: str) -> Any:
        if isinstance(value, enum.Enum):
            return self.clean(value.value, path)
        if isinstance(value, str):
            return self._text(path, value)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidRecord(path, value, "JSON has only finite numbers; send None or a string")
        if isinstance(value, int) and not -MAX_INT - 1 <= value <= MAX_INT:
            raise InvalidRecord(path, value, "integers must fit 64 bits; send a string")
        if isinstance(value, Mapping):
            return self._object(value, path)
        if isinstance(value, list | tuple):
            return [self.clean(item, f"{path}[{i}]") for i, item in enumerate(value)]
        return value

    def _object(self, value: Mapping[Any, Any], path: str) -> dict[str, Any]:
        cleaned = {self._key(path, key): self.clean(item, f"{path}.{key}") for key, item in value.items()}
        if len(cleaned) < len(value):
            raise InvalidRecord(path, value, "two keys are the same once NUL and lone surrogates are replaced")
        return cleaned

    def _text(self, path: str, value: str) -> str:
        text = clean_text(path, value)
        self.changed = self.changed or text is not value
        return text

    def _key(self, path: str, key: object) -> str:
        if not isinstance(key, str):
            raise InvalidRecord(path, key, f"keys must be str, not {type(key).__name__}")
        return self._text(path, key)
