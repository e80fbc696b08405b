"""A producer that keeps a ledger: `python -m penstock.testing.agent --ledger FILE --seed 7 --rate 500 --seconds 20`.

It is set up by its environment, as every producer is. What it hands over follows from its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.producer import BufferFull, NotQueued, Producer, ProducerError, Receipt
from penstock.producer.stream import Stream
from penstock.testing import clock
from penstock.testing.ledger import Ledger
from penstock.wire.ids import format_id, new_id

POISON = "poison"
"""What the content of a poisoned message begins with."""

COLLECTION = "testing"
DIMENSION = 8

_TICK_S = 0.01
_SESSIONS = 12
_KEYS = 30
_STREAMS_OPEN = 6
_WORDS = ("river", "größe", "turbine", "水门", "gate", "'; --", '"quoted"', "\\", "🌊", "line\nbreak", "tab\t", "λ")


class _BrokenOff(Exception):
    """What a model's connection may raise in the middle of a stream."""


class Agent:
    """Hands over records of every kind, and notes each before it does."""

    def __init__(self, producer: Producer, ledger: Ledger, rng: random.Random, name: str, poison: float) -> None:
        self._producer = producer
        self._ledger = ledger
        self._rng = rng
        self._name = name
        self._poison = poison
        self._tasks = asyncio.TaskGroup()
        self._writing: set[asyncio.Task[None]] = set()
        self._messages: list[tuple[str, str]] = []
        self.stopping = asyncio.Event()
        """Set: it hands over nothing more."""

    async def run(self, seconds: float, rate: float) -> None:
        """Go on for so long, or until `stopping`; then close the producer, and note what was still accepted."""
        loop = asyncio.get_running_loop()
        async with self._tasks, self._producer:
            began, done = loop.time(), 0
            while (passed := loop.time() - began) < seconds and not self.stopping.is_set():
                while done < passed * rate:
                    self._act()
                    done += 1
                await self._producer.ready()
                await asyncio.sleep(_TICK_S)
            self.stopping.set()
            if self._writing:
                await asyncio.wait(self._writing)  # closing would end them as interrupted

    def _act(self) -> None:
        acts = (self._message, self._stream, self._log, self._embedding, self._key_value, self._deletion)
        self._rng.choices(acts, (60, 4, 12, 10, 12, 2))[0]()

    def _message(self) -> None:
        session, message_id = self._session(), self._id()
        poison = self._rng.random() < self._poison
        content = f"{POISON if poison else 'message'} {message_id} {self._text()}"
        number = self._ledger.message(id=message_id, session=session, content=content, poison=poison)
        self._hand_over(
            number, lambda: self._producer.message(session_id=session, role="user", content=content, id=message_id)
        )
        if not poison:
            self._messages.append((message_id, session))

    def _log(self) -> None:
        event_id, text = self._id(), self._text()
        number = self._ledger.log(id=event_id, event=f"event {event_id}", message=text)
        self._hand_over(
            number, lambda: self._producer.log(level="info", event=f"event {event_id}", message=text, id=event_id)
        )

    def _embedding(self) -> None:
        key = f"{self._name}-{self._rng.randrange(_KEYS)}"
        vector = [self._rng.uniform(-1, 1) for _ in range(DIMENSION)]
        number = self._ledger.embedding(collection=COLLECTION, key=key, vector=vector)
        self._hand_over(number, lambda: self._producer.embedding(collection=COLLECTION, id=key, vector=vector))

    def _key_value(self) -> None:
        key = f"{self._name}-{self._rng.randrange(_KEYS)}"
        deleted = self._rng.random() < 0.1
        value = None if deleted else {"text": self._text(), "drawn": self._rng.random()}
        number = self._ledger.key_value(key=key, value=value, deleted=deleted)
        if deleted:
            self._hand_over(number, lambda: self._producer.delete_key_value(key))
        else:
            self._hand_over(number, lambda: self._producer.key_value(key=key, value=value))

    def _deletion(self) -> None:
        if self._messages:
            message_id, session = self._messages.pop(self._rng.randrange(len(self._messages)))
            number = self._ledger.deletion(message_id)
            self._hand_over(number, lambda: self._producer.delete_message(message_id, session_id=session))

    def _stream(self) -> None:
        if len(self._writing) < _STREAMS_OPEN:
            task = self._tasks.create_task(self._written_stream())
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _written_stream(self) -> None:
        session, stream_id = self._session(), self._id()
        chunks, pace_s, breaks = self._rng.randrange(1, 40), self._rng.uniform(0, 0.05), self._rng.random() < 0.1
        number = self._ledger.stream(id=stream_id, session=session)
        stream = self._producer.stream(session_id=session, role="assistant", id=stream_id)
        with contextlib.suppress(_BrokenOff):
            async with stream:
                for _ in range(chunks):
                    if self.stopping.is_set():
                        break
                    self._write(stream, number)
                    await asyncio.sleep(pace_s)
                self._ledger.end(number, "interrupted" if breaks else "complete")
                if breaks:
                    raise _BrokenOff
        self._tasks.create_task(self._confirm(number, stream.receipt))

    def _write(self, stream: Stream[Receipt], number: int) -> None:
        text = self._text()
        self._ledger.chunk(number, text)
        stream.write(text)

    def _hand_over(self, number: int, call: Callable[[], Receipt]) -> None:
        try:
            receipt = call()
        except BufferFull:
            self._ledger.refused(number)
        else:
            self._tasks.create_task(self._confirm(number, receipt))

    async def _confirm(self, number: int, receipt: Receipt) -> None:
        try:
            await receipt.queued()
        except NotQueued:
            pass  # closed with the queue away; the spool keeps it for the next producer, and that is a promise as well
        except ProducerError:
            return  # closed with the queue away and without a spool: handed over, and not accepted
        self._ledger.accepted(number)

    def _session(self) -> str:
        return f"session-{self._rng.randrange(_SESSIONS)}"

    def _text(self) -> str:
        return " ".join(self._rng.choices(_WORDS, k=self._rng.randrange(1, 20))) + " "

    def _id(self) -> str:
        return format_id(new_id())


async def _run(given: argparse.Namespace) -> None:
    with Ledger(given.ledger) as ledger:
        agent = Agent(Producer.from_env(), ledger, random.Random(given.seed), given.name, given.poison)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.stopping.set)
        await agent.run(given.seconds, given.rate)


def main(arguments: Sequence[str]) -> None:
    """Hand over until the time is over or SIGTERM comes."""
    parser = argparse.ArgumentParser(prog="python -m penstock.testing.agent", description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="a file that is not there yet")
    parser.add_argument("--name", default="agent", help="the keys it writes begin with it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=500, help="calls a second")
    parser.add_argument("--poison", type=float, default=0, help="share of messages that their store is to refuse")
    clock.add_option(parser)
    given = parser.parse_args(arguments)
    clock.shift(given.clock)
    asyncio.run(_run(given))


if __name__ == "__main__":
    main(sys.argv[1:])
