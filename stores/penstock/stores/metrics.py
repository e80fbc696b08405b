"""What "near" means: the metrics of a vector search, how a query names one, and their values in Python.

Scores are always "higher is nearer": cosine similarity, the dot product, minus the Euclidean distance.
"""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeAlias, get_args
from urllib.parse import parse_qsl, urlsplit

from penstock.stores.errors import BadStoreURL, Unsupported

Metric: TypeAlias = Literal["cosine", "dot", "l2"]

METRICS: tuple[Metric, ...] = get_args(Metric)


def url_options(url: str, *known: str) -> dict[str, str]:
    """The options behind the `?` of a vector store's *url*; *known* are those that it may have.

    Raises:
        BadStoreURL: One is not known, or stands there twice.
    """
    parts = urlsplit(url)
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise BadStoreURL(f"{parts.scheme}:// has no option {name!r}; known are {', '.join(known)}")
        if name in options:
            raise BadStoreURL(f"{parts.scheme}:// has the option {name} twice; give it once")
        options[name] = value
    return options


def own_metric(options: Mapping[str, str]) -> Metric:
    """What a store searches by unless a query says otherwise: its option `metric`, else cosine.

    Raises:
        BadStoreURL: There is no such metric.
    """
    found = options.get("metric", "cosine")
    for metric in METRICS:
        if metric == found:
            return metric
    raise BadStoreURL(f"metric is {found!r}; one of {', '.join(METRICS)} is needed")


def chosen_metric(asked: str | None, own: Metric, supported: Collection[Metric]) -> Metric:
    """The metric of a query that *asked* for one, or None for the store's *own*.

    Raises:
        Unsupported: The store cannot search by it.
    """
    if asked is None:
        return own
    for metric in METRICS:
        if metric == asked and metric in supported:
            return metric
    raise Unsupported(f"metric is {asked!r}; this store searches by {', '.join(supported)}")


def floats_of(vector: bytes) -> array.array[float]:
    """The numbers of *vector* (little-endian float32 bytes)."""
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats


def scorer(metric: Metric, vector: bytes) -> Callable[[bytes], float | None]:
    """How near a vector is to *vector*, both float32 bytes of one length, summed in float64.

    None for what is near nothing: a vector of zeros has no direction, and so no cosine.
    """
    wanted = floats_of(vector).tolist()
    if metric == "l2":
        return lambda other: -math.dist(wanted, floats_of(other))
    if metric == "dot":
        return lambda other: _dot(wanted, floats_of(other))
    length = math.hypot(*wanted)

    def cosine(other: bytes) -> float | None:
        floats = floats_of(other)
        lengths = length * math.hypot(*floats)
        return _dot(wanted, floats) / lengths if lengths else None

    return cosine


def _dot(left: list[float], right: array.array[float]) -> float:
    return math.fsum(map(float.__mul__, left, right))
