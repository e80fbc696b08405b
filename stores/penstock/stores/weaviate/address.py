"""What a `weaviate://` URL says: where the server is, and how it is talked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from penstock.stores.errors import BadStoreURL
from penstock.stores.metrics import Metric, own_metric, url_options
from penstock.stores.points.addresses import MAX_PORT, given_port, speaks_tls

PORT = 8080
GRPC_PORT = 50051
TLS_PORT = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server, or a cluster behind one name."""

    host: str
    port: int = PORT
    grpc_host: str
    grpc_port: int = GRPC_PORT
    https: bool = False
    api_key: str | None = field(default=None, repr=False)
    metric: Metric = "cosine"

    def __str__(self) -> str:
        return f"Weaviate at {self.host}:{self.port}"


def parse(url: str) -> Address:
    """The address that *url* holds. No message quotes the key.

    Raises:
        BadStoreURL: No host, a path, a user, or an option that is not known or makes no sense.
    """
    options = url_options(url, "grpc_port", "grpc_host", "api_key", "https", "metric")
    parts = urlsplit(url)
    port = given_port(url, PORT)
    if not parts.hostname or "@" in parts.netloc or parts.path not in {"", "/"}:
        raise BadStoreURL(
            "weaviate:// needs a host and no path: weaviate://localhost:8080/?grpc_port=50051&api_key=..."
        )
    https = speaks_tls(options, "https", "api_key", is_usual=bool(options.get("api_key")))
    return Address(
        host=parts.hostname,
        port=port or (TLS_PORT if https else PORT),
        grpc_host=options.get("grpc_host") or parts.hostname,
        grpc_port=_port(options, TLS_PORT if https else GRPC_PORT),
        https=https,
        api_key=options.get("api_key") or None,
        metric=own_metric(options),
    )


def _port(options: Mapping[str, str], usual: int) -> int:
    text = options.get("grpc_port") or str(usual)
    if not text.isdecimal() or not 0 < int(text) <= MAX_PORT:
        raise BadStoreURL(f"grpc_port is {text!r}; a number from 1 to {MAX_PORT} is needed, {GRPC_PORT} is usual")
    return int(text)
