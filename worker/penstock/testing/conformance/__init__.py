"""The contracts of stores, as classes of tests; `docs/third-party-stores.md` shows how a package passes them.

Importing this needs the extra `testing`: pytest, pytest-asyncio and hypothesis.
"""
# ruff: noqa: E402 - assertions are rewritten at a module's first import or never

import pkgutil

import pytest

# So that a failure shows what was compared, in a stranger's test run too.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))

from penstock.testing.conformance.filters import FilterConformance
from penstock.testing.conformance.key_values import KeyValueConformance, Place
from penstock.testing.conformance.records import Backend, Counts
from penstock.testing.conformance.sql import SqlStoreConformance
from penstock.testing.conformance.vectors import Row, VectorStoreConformance

__all__ = [
    "Backend",
    "Counts",
    "FilterConformance",
    "KeyValueConformance",
    "Place",
    "Row",
    "SqlStoreConformance",
    "VectorStoreConformance",
]
