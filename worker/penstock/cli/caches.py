"""`penstock cache`: the answers that readers keep in the queue server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from penstock.cli.connection import ask
from penstock.cli.display import say
from penstock.cli.options import NAMESPACE, REDIS_URL, Namespace, RedisUrl
from penstock.wire.caching import AnswerCache
from penstock.wire.queue import Queue

app = typer.Typer(no_args_is_help=True, help="The answers that readers keep in the queue server (PENSTOCK_CACHE=on).")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheGlance:
    """How often readers were spared a question to the store, since the first one kept answers."""

    hits: int
    misses: int

    @classmethod
    async def of(cls, queue: Queue) -> CacheGlance | None:
        """None where nobody has kept any."""
        hits, misses = await AnswerCache(queue.scripts, queue.keys).counts()
        return cls(hits=hits, misses=misses) if hits or misses else None

    @property
    def rate(self) -> float:
        """Hits among all questions, 0 to 1."""
        return self.hits / (self.hits + self.misses)

    def sentence(self) -> str:
        """For people."""
        return f"The cache has answered {self.rate:.0%} of {self.hits + self.misses:,} questions."

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"hits": self.hits, "misses": self.misses, "hit_rate": self.rate}


@app.command()
def clear(
    pattern: Annotated[str, typer.Argument(help="A glob of kind:id, such as 'task:*' or 'session:chat-?'.")] = "*",
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Forget answers: after rows were changed past Penstock.

    Kinds are task, agent_state and session, each with an id, and tasks:, agent_states: and sessions: for the lists.
    """
    gone = ask(redis_url, namespace, lambda queue: AnswerCache(queue.scripts, queue.keys).clear(pattern))
    say(f"Answers about {gone:,} subject{'' if gone == 1 else 's'} are forgotten.")
