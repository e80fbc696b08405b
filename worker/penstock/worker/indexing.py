"""The index of words, filled behind the drains, a slice at a time.

Every worker does it: whoever comes first to what was stored works it off, and the others find nothing to do.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from penstock.stores.errors import StoreError
from penstock.wire.backoff import next_delay_s
from penstock.worker.site import Site

SLICE = 500
"""Messages of one transaction. The batches that wait for it meanwhile wait some 30 ms."""

_REST_BESIDE_DRAINS = 9.0
"""After a slice the index rests for so many times as long as it took, and for as many again for each other worker that
has its turns, so that drains keep nine tenths of their speed. What is stored faster than that is found once they have
caught up."""

_log = structlog.get_logger("penstock.worker")


class Indexer:
    """One worker's part in the index."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._failures = 0

    async def keep_up(self) -> None:
        """Until cancelled; a slice that runs then is finished or undone as a whole."""
        while True:
            await asyncio.sleep(self._pause_s())
            await self.catch_up()

    async def catch_up(self) -> int:
        """Index what was stored by now. Returns how many messages were looked at; the store may be away."""
        looked_at = 0
        try:
            store = await self._site.stores.sql()
            while not self._site.fleet.stopping.is_set():
                began = time.monotonic()
                done = await store.refresh_search(SLICE)
                if not done:
                    break
                looked_at += done
                if self._site.fleet.is_draining:
                    rest = _REST_BESIDE_DRAINS * self._site.fleet.workers
                    await asyncio.sleep((time.monotonic() - began) * rest)
        except StoreError as exc:
            self._failures += 1
            if self._failures == 1:
                _log.warning("search index waits", reason=str(exc))
            return looked_at
        self._failures = 0
        if looked_at:
            _log.debug("search index", messages=looked_at)
        return looked_at

    def _pause_s(self) -> float:
        config, rng = self._site.config, self._site.rng
        if self._failures:
            return next_delay_s(self._failures, config.index_every_ms, config.backoff_cap_ms, rng)
        return config.index_every_ms * rng.uniform(0.8, 1.2) / 1000
