"""The agents of the demo: made-up conversations with tool calls, streamed answers, logs and embeddings."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import zlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from penstock.producer import Producer, Receipt

COLLECTION = "questions"
_DIMENSION = 64
_WORD_S = 0.006
"""Pace of a streamed answer."""
_THINKING_S = 0.05


class Scene(NamedTuple):
    """One thing a user wants, and what the agent does about it. Braces are filled for each conversation."""

    question: str
    tool: str
    arguments: dict[str, str]
    result: dict[str, object]
    answer: str


SCENES = (
    Scene(
        "Where is my order {order}? It should have come to {city} yesterday.",
        "track_order",
        {"order": "{order}"},
        {"status": "in transit", "depot": "{city}", "days_late": 1},
        "Your order {order} has reached the depot in {city} and is one day late. It goes out for delivery tomorrow "
        "morning; I have asked the driver to ring before noon, and the delivery fee is refunded.",
    ),
    Scene(
        "The flight to {city} was cancelled. How do I get my money back?",
        "find_booking",
        {"reference": "{order}", "destination": "{city}"},
        {"fare": "flexible", "refundable": True, "amount": 214.5},
        "I am sorry about the cancelled flight to {city}. Booking {order} has a flexible fare, so all 214.50 come "
        "back to the card you paid with, within five working days. Shall I look for another flight as well?",
    ),
    Scene(
        "Can you move my appointment in {city} to next Tuesday?",
        "list_slots",
        {"city": "{city}", "day": "Tuesday"},
        {"slots": ["09:15", "11:00", "15:30"]},
        "On Tuesday the practice in {city} has three free slots: 09:15, 11:00 and 15:30. Tell me which one suits "
        "you and I will move the appointment; the old one stays yours until then.",
    ),
    Scene(
        "I was charged twice for invoice {order}.",
        "read_ledger",
        {"invoice": "{order}"},
        {"charges": 2, "amount": 39.9, "second_is_pending": True},
        "You are right, invoice {order} shows two charges of 39.90. The second one is still pending and falls away "
        "by itself within three days; if it does not, I will refund it by hand and write to you.",
    ),
    Scene(
        "My parcel {order} arrived damaged. What now?",
        "open_claim",
        {"order": "{order}", "reason": "damaged"},
        {"claim": "C-{order}", "photo_needed": True},
        "I have opened claim C-{order} for the damaged parcel. Please send one photo of the box and one of the "
        "contents; a replacement leaves our store in {city} as soon as they are here.",
    ),
)
_CITIES = ("Lisbon", "Turin", "Ghent", "Malmö", "Kraków", "Leeds", "Graz", "Porto")
_WORD = re.compile(r"\w+")


def toy_vector(text: str) -> list[float]:
    """A vector that is near to those of texts with the same words. Stands in for an embedding model."""
    numbers = [0.0] * _DIMENSION
    for word in _WORD.findall(text.lower()):
        hashed = zlib.crc32(word.encode())
        numbers[hashed % _DIMENSION] += 1 if hashed & 0x10000 else -1
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]


class Transcript:
    """The last lines of a conversation, as a screen shows it."""

    def __init__(self, lines: int = 5) -> None:
        self.lines: deque[tuple[str, str]] = deque(maxlen=lines)

    def add(self, role: str, text: str) -> None:
        """A new line."""
        self.lines.append((role, text))

    def grow(self, text: str) -> None:
        """More of the last line."""
        role, said = self.lines.pop()
        self.lines.append((role, said + text))


class Agent:
    """One agent, which answers one user after the other."""

    def __init__(
        self, number: int, producer: Producer, measure: Callable[[str, Receipt], None], transcript: Transcript
    ) -> None:
        self.name = f"agent-{number}"
        self.transcript = transcript
        self.sessions: list[str] = []
        """The conversations that are complete."""
        self._rng = random.Random(number)  # noqa: S311 - a demo that is the same every time
        self._producer = producer
        self._measure = measure

    async def work(self, until: float) -> None:
        """Hold conversations until the loop's clock says *until*."""
        await asyncio.sleep(self._rng.random() * _THINKING_S)
        while asyncio.get_running_loop().time() < until:
            await self._conversation(f"{self.name}-chat-{len(self.sessions) + 1}")

    async def _conversation(self, session: str) -> None:
        scene = self._scene()
        await self._producer.ready()
        self._say(session, "user", scene.question)
        self._log("question", session, words=len(scene.question.split()))
        self._embed(session, scene.question)
        await asyncio.sleep(_THINKING_S)
        await self._use_tool(session, scene)
        await self._answer(session, scene.answer)
        self._log("answered", session, words=len(scene.answer.split()))
        self.sessions.append(session)

    def _scene(self) -> Scene:
        scene = self._rng.choice(SCENES)
        blanks = {"{order}": str(self._rng.randrange(10_000, 100_000)), "{city}": self._rng.choice(_CITIES)}
        filled = json.dumps(scene, ensure_ascii=False)
        for blank, value in blanks.items():
            filled = filled.replace(blank, value)
        return Scene(*json.loads(filled))

    async def _use_tool(self, session: str, scene: Scene) -> None:
        call_id = f"call-{self._rng.randrange(16**8):08x}"
        function = {"name": scene.tool, "arguments": json.dumps(scene.arguments)}
        calls = [{"id": call_id, "type": "function", "function": function}]
        self._say(session, "assistant", None, tool_calls=calls)
        self.transcript.add("assistant", f"[calls {scene.tool}]")
        await asyncio.sleep(_THINKING_S)
        self._say(session, "tool", json.dumps(scene.result), tool_call_id=call_id, name=scene.tool)
        self._log("tool", session, tool=scene.tool)

    async def _answer(self, session: str, text: str) -> None:
        self.transcript.add("assistant", "")
        async with self._producer.stream(session_id=session, role="assistant", user_id=f"user-{self.name}") as stream:
            for word in re.findall(r"\S+\s*", text):
                stream.write(word)
                self.transcript.grow(word)
                await asyncio.sleep(_WORD_S)

    def _say(self, session: str, role: str, content: str | None, **metadata: object) -> None:
        receipt = self._producer.message(
            session_id=session, role=role, content=content, metadata=metadata or None, user_id=f"user-{self.name}"
        )
        self._measure("messages", receipt)
        if content is not None:
            self.transcript.add(role, content)

    def _log(self, event: str, session: str, **data: object) -> None:
        receipt = self._producer.log(level="info", event=event, agent_id=self.name, data={"session": session, **data})
        self._measure("logs", receipt)

    def _embed(self, session: str, text: str) -> None:
        receipt = self._producer.embedding(
            collection=COLLECTION, id=session, vector=toy_vector(text), text=text, metadata={"agent": self.name}
        )
        self._measure("embeddings", receipt)
