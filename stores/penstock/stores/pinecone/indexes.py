"""The indexes of a store: one for each dimension and metric, which Pinecone fixes when an index is made."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping

from pinecone import AsyncIndex, AsyncPinecone
from pinecone.errors.exceptions import ConflictError, PineconeValueError

from penstock.stores.errors import StoreUnavailable
from penstock.stores.metrics import Metric
from penstock.stores.pinecone.address import Address
from penstock.stores.points.engine import Layout

_METRICS: dict[Metric, str] = {"cosine": "cosine", "dot": "dotproduct", "l2": "euclidean"}

TIMEOUT_S = 60.0
"""How long one answer may take."""

READY_S = 300
"""How long Pinecone may take to make an index."""

_LOOK_S = 1.0

_TAG = "penstock"


class Indexes:
    """The indexes that *address* names, by what they are for. Those of others in the project are left alone."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pattern = re.compile(rf"{re.escape(address.index)}-([0-9]+)-(cosine|dot|l2)\Z")
        self._client: AsyncPinecone | None = None
        self._open: dict[Layout, AsyncIndex] = {}
        self._making = asyncio.Lock()
        self._closed = False

    async def all(self) -> Mapping[Layout, AsyncIndex]:
        """Those that are ready now."""
        client = self._connected()
        found: dict[Layout, str] = {}
        async for model in client.indexes.list():
            named = self._pattern.match(model.name)
            if named and model.status.ready and model.host is not None:
                found[Layout(int(named[1]), named[2])] = model.host  # type: ignore[arg-type] # the pattern has metrics only
        for layout in found.keys() - self._open.keys():
            self._open[layout] = AsyncIndex(
                host=found[layout],
                api_key=client.config.api_key,
                timeout=TIMEOUT_S,
                source_tag=_TAG,
                ssl_verify=_has_certificate(found[layout]),
            )
        for layout in self._open.keys() - found.keys():  # somebody has removed it
            await self._open.pop(layout).close()
        return dict(self._open)

    async def for_layout(self, layout: Layout) -> AsyncIndex:
        """That of *layout*, which is made where it is not there yet: within a minute, mostly."""
        async with self._making:
            known = self._open.get(layout) or (await self.all()).get(layout)
            return known or await self._made(layout)

    def known(self, layout: Layout) -> AsyncIndex | None:
        """That of *layout*, where it was seen."""
        return self._open.get(layout)

    async def _made(self, layout: Layout) -> AsyncIndex:
        client, address = self._connected(), self._address
        name = f"{address.index}-{layout.dimension}-{layout.metric}"
        try:
            await client.indexes.create(
                name=name,
                dimension=layout.dimension,
                metric=_METRICS[layout.metric],
                deployment={"deployment_type": "managed", "cloud": address.cloud, "region": address.region},
                timeout=READY_S,
            )
        except ConflictError:  # somebody else was sooner
            deadline = time.monotonic() + READY_S
            while not (await client.indexes.describe(name)).status.ready:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"index {name} is not ready after {READY_S} s; see Pinecone's console"
                    ) from None
                await asyncio.sleep(_LOOK_S)
        return (await self.all())[layout]

    async def close(self) -> None:
        """Let go of every connection. May be repeated."""
        self._closed = True
        while self._open:
            await self._open.popitem()[1].close()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> AsyncPinecone:
        if self._closed:
            raise StoreUnavailable(f"the store of {self._address} is closed")
        if self._client is None:
            try:
                host = self._address.host
                self._client = AsyncPinecone(
                    self._address.api_key,
                    host=host,
                    timeout=TIMEOUT_S,
                    source_tag=_TAG,
                    ssl_verify=host is None or _has_certificate(host),
                )
            except PineconeValueError:
                raise StoreUnavailable(
                    f"{self._address}: there is no key, or none that a header holds; look at api_key in "
                    f"PENSTOCK_VECTOR_URL"
                ) from None
        return self._client


def _has_certificate(host: str) -> bool:
    """Whether there is one to look at. To read the system's takes 25 ms, which without https are for nothing."""
    return not host.startswith("http://")
