"""The PostgreSQL of the conformance tests, for databases of earlier releases."""

from tests.conformance.conftest import postgres, schema

__all__ = ["postgres", "schema"]
