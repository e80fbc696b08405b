"""A database as it was at one instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.stores.answers import SqlAnswers
from penstock.stores.postgres.binding import numbered
from penstock.stores.postgres.translation import translated
from penstock.stores.questions import Question, Questions


class Snapshot(SqlAnswers):
    """Answers from one open transaction."""

    def __init__(self, questions: Questions, connection: Any, where: str) -> None:
        """*connection* is in a transaction that sees one instant."""
        self._questions = questions
        self._connection = connection
        self._where = where

    async def _ask(self, question: Question) -> Sequence[Any]:
        sql, values = numbered(question)
        with translated(self._where):
            rows: Sequence[Any] = await self._connection.fetch(sql, *values)
            return rows
