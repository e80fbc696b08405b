"""Values bound by name, as PostgreSQL takes them: by number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from penstock.stores.questions import Question

_PLACE = re.compile(r"(?<!:):([a-z_][a-z_0-9]*)")


def numbered(question: Question) -> tuple[str, Sequence[Any]]:
    """The SQL of *question* with its names as `$1`, `$2`, …, and the values of those that it has."""
    names = list(dict.fromkeys(_PLACE.findall(question.sql)))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    sql = _PLACE.sub(lambda found: numbers[found[1]], question.sql)
    return sql, [question.values[name] for name in names]
