"""What a `pinecone://` URL says: which indexes, with which key, and where Pinecone is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from penstock.stores.errors import BadStoreURL
from penstock.stores.metrics import Metric, own_metric, url_options

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,29}[a-z0-9])?\Z")
"""Pinecone takes names of 45 characters; `-20000-cosine` comes behind ours."""

_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,128}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the vectors of one store lie."""

    index: str
    """What the names of its indexes begin with."""
    api_key: str | None = field(default=None, repr=False)
    """None: that of `PINECONE_API_KEY`, which Pinecone's client reads."""
    namespace: str = ""
    """What the names of its namespaces begin with, so that several stores may share the indexes."""
    host: str | None = None
    """Of the interface that makes indexes, where it is another: `http://localhost:5080` of Pinecone Local."""
    cloud: str = "aws"
    region: str = "us-east-1"
    metric: Metric = "cosine"

    def __str__(self) -> str:
        return f"Pinecone's {self.index}"


def parse(url: str) -> Address:
    """The address that *url* holds. No message quotes the key.

    Raises:
        BadStoreURL: No index, a path, a user, or an option that is not known.
    """
    options = url_options(url, "api_key", "namespace", "host", "cloud", "region", "metric")
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.path not in {"", "/"}:
        raise BadStoreURL("pinecone:// takes the name of an index and options only: pinecone://memories?api_key=...")
    if not _NAME.match(parts.netloc):
        raise BadStoreURL(
            f"pinecone:// names no index with {parts.netloc!r}; 1 to 31 of a-z 0-9 and hyphens inside are accepted"
        )
    namespace = options.get("namespace", "")
    if not _PREFIX.match(namespace):
        raise BadStoreURL(f"namespace is {namespace!r}; up to 128 of A-Z a-z 0-9 . _ - are accepted")
    known = {name: options[name] for name in ("api_key", "host", "cloud", "region") if options.get(name)}
    return Address(index=parts.netloc, namespace=namespace, metric=own_metric(options), **known)
