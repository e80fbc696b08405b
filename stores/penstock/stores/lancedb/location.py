"""Where a URL says that vectors lie. Loads no driver: a URL is checked long before a vector comes, if one ever does."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from penstock.stores.errors import BadStoreURL


def folder_of(url: str) -> Path:
    """The folder of `lancedb:///relative/folder` or `lancedb:////absolute/folder`.

    Raises:
        BadStoreURL: No folder, a host, or an object store.
    """
    parts = urlsplit(url)
    folder = unquote(parts.path[1:])
    if parts.scheme != "lancedb":
        raise BadStoreURL(f"{parts.scheme}:// is not supported yet; use a local folder: lancedb:///folder")
    if parts.netloc or not folder:
        raise BadStoreURL(f"{url!r} names no folder; use lancedb:///relative/folder or lancedb:////absolute/folder")
    return Path(folder)
