"""Frames compressed with zstd. The only module that knows the library, which may be missing.

byte 0        the version, 2
63 bytes      as in version 1: a commit knows a frame by its first 64 bytes, its first record's id among them
the rest      a zstd frame of all that follows there, which tells how large that is, and ends with a checksum
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import threading
from typing import Any, Literal

from penstock.wire.errors import FrameCorrupt, FrameTooNew

Compression = Literal["none", "zstd"]

VERSION = 2

REMEDY = "pip install 'penstock[zstd]'"

HEAD_BYTES = 64
"""What stands uncompressed."""

_LEVEL = 1
_LEAST_BYTES = 1024
_MOST_LEFT = 0.9
_STEP_BYTES = 256 * 1024
"""So much is compressed before whatever else waits on the loop has its turn."""

_MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""Far above what any level here uses; a foreign frame may ask for 128 MB to be read."""


@functools.cache
def _library() -> Any:
    # Loaded where it is needed: most producers and frames do without it.
    try:
        return importlib.import_module("zstandard")
    except ModuleNotFoundError:
        return None


def is_installed() -> bool:
    """Whether the library is there."""
    return _library() is not None


def _compressor() -> Any:
    return _library().ZstdCompressor(level=_LEVEL, write_checksum=True)


class Press:
    """Compresses frames of version 1, each only where that pays. For one event loop."""

    def __init__(self) -> None:
        self._zstd = _compressor()
        self._since_turn = 0

    async def press(self, body: bytes) -> bytes:
        """The frame compressed, or as it is: a small one, or one that would hardly be smaller."""
        if len(body) < _LEAST_BYTES or body[0] == VERSION:
            return body
        rest = memoryview(body)[HEAD_BYTES:]
        parts = [bytes([VERSION]), body[1:HEAD_BYTES]]
        if len(rest) <= _STEP_BYTES:
            parts.append(self._zstd.compress(rest))
            await self._turn(len(rest))
        else:
            # With a compressor of its own: others press frames between the steps, and one does one thing at a time.
            stream = _compressor().compressobj(size=len(rest))
            for at in range(0, len(rest), _STEP_BYTES):
                parts.append(stream.compress(rest[at : at + _STEP_BYTES]))
                await self._turn(_STEP_BYTES)
            parts.append(stream.flush())
        pressed = b"".join(parts)
        return pressed if len(pressed) <= len(body) * _MOST_LEFT else body

    async def _turn(self, size: int) -> None:
        self._since_turn += size
        if self._since_turn >= _STEP_BYTES:
            self._since_turn = 0
            await asyncio.sleep(0)


class _Opener(threading.local):
    """A decompressor for each thread: the library lets others run while it works."""

    @functools.cached_property
    def zstd(self) -> Any:
        return _library().ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)


_opener = _Opener()


def opened(body: bytes, most: int) -> bytes:
    """The frame of version 1 that was compressed.

    Raises:
        FrameTooNew: The library is missing.
        FrameCorrupt: It is no such frame, or would have more than *most* bytes. Room is made for no more than those.
    """
    library = _library()
    if library is None:
        raise FrameTooNew(f"the frame is compressed, and zstandard is missing here; {REMEDY}")
    rest = memoryview(body)[HEAD_BYTES:]
    try:
        size = library.frame_content_size(rest)
        if not 0 <= size <= most - HEAD_BYTES:
            said = f"would have {size:,}; at most {most:,} are read" if size > 0 else "does not tell how many"
            raise FrameCorrupt(f"the compressed frame of {len(body):,} bytes {said}")
        return b"".join((b"\x01", body[1:HEAD_BYTES], _opener.zstd.decompress(rest, allow_extra_data=False)))
    except library.ZstdError as exc:
        raise FrameCorrupt(f"the compressed frame of {len(body):,} bytes cannot be read: {exc}") from exc


def opened_bytes(body: bytes) -> int:
    """How large a compressed frame becomes, as it says. What cannot be read is as large as it is."""
    library = _library()
    try:
        size: int = library.frame_content_size(memoryview(body)[HEAD_BYTES:]) if library else -1
    except library.ZstdError:
        size = -1
    return len(body) if size < 0 else HEAD_BYTES + size
