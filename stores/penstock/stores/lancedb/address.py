"""What a URL says of a store, read without the driver."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from penstock.stores.errors import BadStoreURL
from penstock.stores.metrics import Metric, own_metric, url_options


class Address(NamedTuple):
    """Where the tables lie, and what they are searched by."""

    folder: Path
    metric: Metric


def address_of(url: str) -> Address:
    """Of `lancedb:///relative/folder` or `lancedb:////absolute/folder`.

    `?metric=` is what it searches by, and what an index is built for.

    Raises:
        BadStoreURL: No folder, a host, an object store, or an unknown option.
    """
    parts = urlsplit(url)
    folder = unquote(parts.path[1:])
    if parts.scheme != "lancedb":
        raise BadStoreURL(f"{parts.scheme}:// is not supported yet; use a local folder: lancedb:///folder")
    if parts.netloc or not folder:
        raise BadStoreURL(
            "lancedb:// needs a folder and no host: lancedb:///relative/folder or lancedb:////absolute/folder"
        )
    return Address(Path(folder), own_metric(url_options(url, "metric")))
