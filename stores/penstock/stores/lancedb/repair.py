"""Steps a table back over commits that a power loss has torn.

A commit that was synced cannot be torn, and a write returns only after the sync: what is stepped over was never
acknowledged, and will be delivered again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from penstock.stores.errors import StoreUnavailable

MAGIC = b"LANC"
"""The last four bytes of every whole manifest and data file (Lance file format 2)."""

MAX_TORN = 4
"""Each writer syncs before it lets go of the lock, so a writer that dies leaves one commit unsynced. More than a few
were not torn by power loss, and stepping over them would hide what was acknowledged."""

_FOOTER = struct.Struct("<QHH4s")
_LENGTH = struct.Struct("<I")
_NEWEST_NAME = 2**64 - 1

# Field numbers of Lance 13's protobuf: Manifest.fragments, DataFragment.files, DataFile.path.
_FRAGMENTS, _FILES, _PATH = 2, 2, 1


def table_folder(root: Path, collection: str) -> Path:
    """Where the collection's table lies, there or not."""
    return root / f"{collection}.lance"


def newest_manifest(table: Path) -> Path | None:
    """The manifest that Lance would open; None when the table has no version at all."""
    return next(iter(_manifests(table)), None)


def _manifests(table: Path) -> list[Path]:
    return sorted((table / "_versions").glob("*.manifest"), key=_version, reverse=True)


def _version(manifest: Path) -> int:
    # Names count down from 2**64 - 1, so that a listing begins with the newest; those of old tables count up.
    number = int(manifest.stem) if manifest.stem.isdigit() else 0
    return _NEWEST_NAME - number if len(manifest.stem) == 20 else number


def is_whole(manifest: Path) -> bool:
    """Whether the manifest and every data file of its version are complete.

    Looks at sizes and footers, never at the driver's opinion: an error of the moment must not undo a good commit.
    """
    try:
        content = manifest.read_bytes()
    except FileNotFoundError:  # a compaction has removed it, so there is a newer one
        return False
    body = _body(content)
    data = manifest.parent.parent / "data"
    return body is not None and all(_ends_whole(data / name) for name in _data_files(body))


def _body(content: bytes) -> bytes | None:
    """The protobuf message that the footer points at; None when the file is cut short."""
    if len(content) < _FOOTER.size:
        return None
    position, _, _, magic = _FOOTER.unpack(content[-_FOOTER.size :])
    start = position + _LENGTH.size
    if magic != MAGIC or start > len(content):
        return None
    (length,) = _LENGTH.unpack_from(content, position)
    return content[start : start + length]


def _data_files(body: bytes) -> Iterator[str]:
    """The data files of this version. Not those of the transaction before it, which a compaction may have removed."""
    for fragment in _submessages(body, _FRAGMENTS):
        for file in _submessages(fragment, _FILES):
            yield from (path.decode() for path in _submessages(file, _PATH))


def _submessages(message: bytes, wanted: int) -> Iterator[bytes]:
    """The length-delimited fields of a protobuf message that have the number *wanted*."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                if key >> 3 == wanted:
                    yield message[at : at + length]
                at += length
            case 5:
                at += 4
            case _:  # no wire type of ours to judge
                return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at


def _ends_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - len(MAGIC)))
            return file.read() == MAGIC
    except FileNotFoundError:
        return False


def step_back(table: Path) -> list[Path]:
    """Put torn manifests aside, newest first, until a whole one is the newest. Returns where they are now.

    Only the holder of the table's lock may call it.

    Raises:
        StoreUnavailable: More is damaged than a power loss explains. Nothing was moved.
    """
    manifests = _manifests(table)
    torn = list(takewhile(lambda manifest: not is_whole(manifest), manifests))
    forgets_all = len(torn) == len(manifests) and _version(torn[0]) > MAX_TORN
    if len(torn) > MAX_TORN or forgets_all:
        raise StoreUnavailable(
            f"{table}: the {len(torn)} newest of {len(manifests)} versions are damaged, and the last unsynced writes "
            f"do not explain it; restore the folder from a backup"
        )
    return [manifest.rename(manifest.with_suffix(".torn")) for manifest in torn]
