"""The contract of a SQL store. Every backend passes every test here, unchanged.

A backend's test class gives `fresh`: construction, and a look at the same place that goes round the store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from penstock.stores.contract import SqlStore
from penstock.testing.conformance.bad_input import BadInputConformance
from penstock.testing.conformance.deletions import DeletionConformance
from penstock.testing.conformance.reading import SqlReadingConformance
from penstock.testing.conformance.records import Backend
from penstock.testing.conformance.rehearsing import RehearsalConformance
from penstock.testing.conformance.searching import SearchConformance
from penstock.testing.conformance.secrets import SecretsConformance
from penstock.testing.conformance.state import StateConformance
from penstock.testing.conformance.upkeep import UpkeepConformance
from penstock.testing.conformance.walking import WalkingConformance
from penstock.testing.conformance.writing import WritingConformance


class SqlStoreConformance(
    SearchConformance,
    UpkeepConformance,
    StateConformance,
    DeletionConformance,
    BadInputConformance,
    RehearsalConformance,
    SecretsConformance,
    WalkingConformance,
    SqlReadingConformance,
    WritingConformance,
    ABC,
):
    """Every SQL store passes every test here, unchanged."""

    @abstractmethod
    def fresh(self) -> AbstractAsyncContextManager[Backend]:
        """An empty backend, set up, closed afterwards. A test may ask for several, one after the other or at once."""

    @pytest.fixture
    async def backend(self) -> AsyncIterator[Backend]:
        async with self.fresh() as backend:
            yield backend

    @pytest.fixture
    def store(self, backend: Backend) -> SqlStore:
        return backend.store
