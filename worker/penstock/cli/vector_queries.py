"""`penstock query` for vectors: the nearest to one, those of given ids, what collections there are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from penstock.cli.display import print_json, print_table, say
from penstock.cli.exits import Code, Stop
from penstock.cli.listing import MOST, Where, compact, condition, joined, parsed
from penstock.cli.options import VECTOR_URL, JsonLines, VectorUrl
from penstock.stores.metrics import Metric, floats_of
from penstock.stores.rows import Hit, StoredVector

if TYPE_CHECKING:
    from penstock.query import Reader

T = TypeVar("T")

CollectionName = Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection's name.")]


def search(
    *,
    collection: CollectionName,
    vector: Annotated[str | None, typer.Option(metavar="JSON", help="The numbers: '[0.1, 0.2, ...]'.")] = None,
    vector_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A file with the numbers as JSON.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="A text, embedded as the workers do (PENSTOCK_EMBEDDER).")] = None,
    where: Where = None,
    metric: Annotated[str | None, typer.Option(help="cosine, dot or l2. Else the store's own.")] = None,
    top_k: Annotated[int, typer.Option(min=1, max=MOST, help="At most this many.")] = 10,
    json: JsonLines = False,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Find the vectors nearest to one, or to that of a text, best first."""
    if sum(each is not None for each in (vector, vector_file, text)) != 1:
        raise Stop("give one of --vector, --vector-file and --text", Code.USAGE)
    numbers = None if text is not None else parsed("vector", vector_file.read_bytes() if vector_file else vector or "")
    hits = _asked(
        vector_url,
        lambda reader: reader.search(
            collection,
            vector=numbers,
            text=text,
            top_k=top_k,
            where=condition(where),
            metric=cast("Metric | None", metric),
        ),
    )
    if json:
        for hit in hits:
            print_json(hit)
    elif hits:
        show_hits(hits)
    else:
        say("Nothing found.")


def show_hits(hits: Sequence[Hit]) -> None:
    """The results of a vector search for people."""
    rows = [[f"{hit.score:.4f}", hit.id, joined(hit.text, compact(hit.metadata))] for hit in hits]
    print_table(["score", "id", "text"], rows, ["score"])


def vectors(
    *,
    collection: CollectionName,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Their ids.")],
    json: JsonLines = False,
    vector_url: VectorUrl = VECTOR_URL,
) -> None:
    """Show vectors by their ids. Exits with 3 when one is not there."""
    found = _asked(vector_url, lambda reader: reader.vectors(collection, ids))
    there = [each for each in found if each is not None]
    if json:
        for each in there:
            print_json({**_shown(each), "vector": floats_of(each.vector).tolist()})
    elif there:
        rows = [
            [each.id, each.created_at, str(len(floats_of(each.vector))), joined(each.text, compact(each.metadata))]
            for each in there
        ]
        print_table(["id", "created", "numbers", "text"], rows, ["numbers"])
    if missing := [name for name, each in zip(ids, found, strict=True) if each is None]:
        raise Stop(f"not in {collection}: {', '.join(missing)}", Code.NOT_FOUND)


def _shown(vector: StoredVector) -> dict[str, object]:
    return {"id": vector.id, "created_at": vector.created_at, "text": vector.text, "metadata": vector.metadata}


def collections(*, json: JsonLines = False, vector_url: VectorUrl = VECTOR_URL) -> None:
    """List the collections, and how many vectors each holds."""
    found = _asked(vector_url, _counted)
    if json:
        for name, count in found:
            print_json({"collection": name, "vectors": count})
    elif found:
        print_table(["collection", "vectors"], [[name, f"{count:,}"] for name, count in found], ["vectors"])
    else:
        say("Nothing found.")


async def _counted(reader: Reader) -> list[tuple[str, int]]:
    return [(name, await reader.count_vectors(name)) for name in await reader.collections()]


def _asked(url: str, question: Callable[[Reader], Awaitable[T]]) -> T:
    return asyncio.run(_ask(url, question))


async def _ask(url: str, question: Callable[[Reader], Awaitable[T]]) -> T:
    from penstock.query import Reader  # noqa: PLC0415 - drivers are slow to load

    async with Reader.from_env({**os.environ, "PENSTOCK_VECTOR_URL": url}) as reader:
        return await question(reader)
