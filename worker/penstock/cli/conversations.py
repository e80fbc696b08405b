"""Conversations in OpenAI's chat form, as messages of ours and back.

A chat message is an object with a role, mostly a content, and whatever else its kind has: tool_calls,
tool_call_id, name, refusal, ... The role and the text are our columns; everything else goes whole into
`metadata` under its own key. Where the content is no plain text, `metadata["content"]` keeps what it was:

    content         our content                     metadata["content"]
    a string        the same                        -
    null            None                            -
    a list of parts the text parts joined, or None  the list
    no such key     None                            false
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.stores.rows import StoredMessage
from penstock.wire.ids import id_from_key

_NO_CONTENT = False


class NotAConversation(ValueError):
    """A line has another shape. The message says where and what is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a conversation, as `Producer.message` takes it."""

    session_id: str
    role: str
    content: str | None
    metadata: dict[str, Any] | None
    id: bytes
    """The same for the same message at the same place of the same session, so that a second import adds nothing."""


def turns_of(line: bytes) -> list[Turn]:
    """The messages of one line: `{"session_id": ..., "messages": [...]}`. Other keys are ignored.

    Raises:
        NotAConversation: It is no JSON, or of another shape.
    """
    try:
        # Not orjson: it rounds integers beyond 64 bits and refuses lone surrogates, which we report and mend.
        conversation = json.loads(line)
    except ValueError as exc:
        raise NotAConversation(f"no JSON: {exc}") from exc
    if not isinstance(conversation, dict):
        raise NotAConversation(f"an object is needed, not {_kind(conversation)}")
    session_id, messages = conversation.get("session_id"), conversation.get("messages")
    if not isinstance(session_id, str) or not session_id:
        raise NotAConversation(f"session_id must be a text, not {_kind(session_id)}")
    if not isinstance(messages, list):
        raise NotAConversation(f"messages must be a list, not {_kind(messages)}")
    return [_turn(session_id, index, message) for index, message in enumerate(messages)]


def _turn(session_id: str, index: int, message: Any) -> Turn:
    if not isinstance(message, dict):
        raise NotAConversation(f"messages[{index}] must be an object, not {_kind(message)}")
    role = message.get("role")
    if not isinstance(role, str):
        raise NotAConversation(f"messages[{index}].role must be a text, not {_kind(role)}")
    metadata = {key: value for key, value in message.items() if key not in ("role", "content")}
    content = message.get("content")
    if "content" not in message:
        metadata["content"] = _NO_CONTENT
    elif isinstance(content, list):
        metadata["content"] = content
        content = _text_of(content)
    elif content is not None and not isinstance(content, str):
        raise NotAConversation(f"messages[{index}].content must be a text, a list or null, not {_kind(content)}")
    key = json.dumps([session_id, index, message], sort_keys=True, separators=(",", ":"))
    return Turn(session_id=session_id, role=role, content=content, metadata=metadata or None, id=id_from_key(key))


def to_openai(stored: StoredMessage) -> dict[str, Any]:
    """The chat message that became *stored*: equal to the original, the presence of each key included."""
    metadata: Mapping[str, Any] = stored.metadata
    content = metadata.get("content", stored.content)
    message = {"role": stored.role, **metadata, "content": content}
    if content is _NO_CONTENT:
        del message["content"]
    return message


def pieces_of(text: str, characters: int = 16) -> Iterator[str]:
    """*text* as a model would stream it."""
    return (text[at : at + characters] for at in range(0, len(text), characters))


def _text_of(parts: list[Any]) -> str | None:
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "".join(texts) if texts else None


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "an empty text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
