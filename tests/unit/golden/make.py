"""Write the golden frames: `python -m tests.unit.golden.make`.

Run it when a kind is added, or a field appended, under a new name for what is new. A file that is
there already is what queues of released versions hold: it is only ever written again with `--again`.

`compressed.zst` is the frame `mixed_many` ten times over, compressed. Another version of zstd may write other bytes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.wire.compression import Press
from penstock.wire.frames import encode, frame_of
from penstock.wire.records import Record, kind_of
from tests.unit.golden.samples import FRAMES

FOLDER = Path(__file__).parent
COMPRESSED = FOLDER / "compressed.zst"
MANY = [*FRAMES["mixed_many"]] * 10


def described(records: Sequence[Record]) -> list[Mapping[str, object]]:
    """The records as JSON for people and for other languages; bytes that are no JSON stand as hexadecimal."""
    return [
        {"kind": kind_of(record).name}
        | {name: _shown(value) for name, value in zip(record._fields, record, strict=True)}
        for record in records
    ]


def _shown(value: object) -> object:
    if not isinstance(value, bytes):
        return value
    return value.decode() if value.startswith(b"{") else {"hex": value.hex()}


def main(again: bool) -> None:
    """Write what is missing, or everything."""
    for name, records in FRAMES.items():
        path = FOLDER / f"{name}.bin"
        if path.exists() and not again:
            continue
        path.write_bytes(frame_of([encode(record) for record in records]).body)
        text = json.dumps(described(records), indent=1, ensure_ascii=False)
        path.with_suffix(".json").write_text(f"{text}\n")
    if again or not COMPRESSED.exists():
        COMPRESSED.write_bytes(asyncio.run(Press().press(frame_of([encode(record) for record in MANY]).body)))


if __name__ == "__main__":
    main("--again" in sys.argv[1:])
