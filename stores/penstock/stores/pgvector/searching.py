"""The nearest vectors of a collection: by the index as far as it has enough, else by looking at every one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.stores.filters import Condition
from penstock.stores.metrics import Metric
from penstock.stores.pgvector.catalog import Collection
from penstock.stores.pgvector.database import EF_SEARCH
from penstock.stores.pgvector.filtering import compiled
from penstock.stores.pgvector.indexes import METRIC_SQL, indexed_as
from penstock.stores.pgvector.names import Names
from penstock.stores.postgres.binding import numbered
from penstock.stores.questions import Question
from penstock.stores.rows import Hit
from penstock.wire.text import load_object

_MAX_EF_SEARCH = 1_000
"""The extension's own limit."""

_SPARE = 3
_MAX_SPARE = 100
"""Candidates beyond those that are wanted, for each of these and at most. Of numbers of 2 bytes they are ranked anew by
all of theirs. And an index that gives up before it has found them has looked at 20,000 vectors, of which next to none
passed the filter: those that did are not always the nearest."""

_SEEN = 4
"""The place of the number of candidates in each row of an answer."""


class Search(NamedTuple):
    """What is searched for."""

    vector: bytes
    top_k: int
    condition: Condition
    metric: Metric

    @property
    def candidates(self) -> int:
        """How many the index is asked for."""
        return self.top_k + min(_SPARE * self.top_k, _MAX_SPARE)

    @property
    def ef_search(self) -> int:
        """How many candidates the index looks at before it gives the first one."""
        return min(max(EF_SEARCH, 2 * self.top_k), _MAX_EF_SEARCH)


def nearest(names: Names, collection: Collection, search: Search) -> tuple[str, Sequence[Any]]:
    """The question that an index may answer, nearly right, and with fewer rows where few pass the filter."""
    if search.metric in collection.indexes and indexed_as(collection.dimension) == "halves":
        order = _distance("distance_by_half", names, search, dimension=str(collection.dimension))
        return _question(names, collection, search, order=order)
    return _question(names, collection, search)


def nearest_of_all(names: Names, collection: Collection, search: Search) -> tuple[str, Sequence[Any]]:
    """The question that is answered exactly, by looking at every vector that passes the filter."""
    return _question(names, collection, search, distance="distance_past_indexes")


def is_short(rows: Sequence[Any], search: Search) -> bool:
    """Whether an index, if one has answered `nearest`, may have passed over some that are nearer."""
    return not rows or rows[0][_SEEN] < search.candidates


def hits(rows: Sequence[Any], metric: Metric) -> list[Hit]:
    """The answer to either question."""
    return [
        Hit(id=key, score=_score(metric, distance), text=text, metadata=load_object(metadata))
        for key, text, metadata, distance, _ in rows
    ]


def _score(metric: Metric, distance: float) -> float:
    """The extension gives a cosine's distance from 1, and the dot product turned round."""
    return 1.0 - distance if metric == "cosine" else -distance


def _question(
    names: Names,
    collection: Collection,
    search: Search,
    *,
    distance: str = "distance",
    order: str = "distance",
) -> tuple[str, Sequence[Any]]:
    condition, values = compiled(search.condition, names)
    sql = names.sql(
        "nearest",
        table=names.table(collection.number),
        distance=_distance(distance, names, search),
        condition=condition,
        order=order,
    )
    wanted = {"vector": search.vector, "top_k": search.top_k, "candidates": search.candidates}
    return numbered(Question(sql, {**values, **wanted}))


def _distance(form: str, names: Names, search: Search, **parts: str) -> str:
    return names.sql(form, operator=METRIC_SQL[search.metric].operator, **parts)
