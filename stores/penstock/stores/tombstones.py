"""What deletions of messages keep from coming back. The same for every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.wire.records import Message, StreamChunk

WHOLE_SESSION = b""
"""In place of a message's id, in the tombstone of a session."""


class Tombstones:
    """The tombstones of some sessions: (session id, message id or `WHOLE_SESSION`) to the time of the deletion."""

    def __init__(self, stones: Mapping[tuple[str, bytes], int]) -> None:
        self._stones = stones
        self.used: list[tuple[str, bytes]] = []
        """Those of messages that have come by now, which carry the mark themselves."""
        self.lost: list[bytes] = []
        """Ids of messages that came too late. Chunks of theirs may have come in time, and go too."""

    def spare(self, messages: Sequence[Message]) -> Sequence[Message]:
        """*messages* without those of deleted sessions, and with the mark on those that were deleted before they came.

        A message created after the deletion of its session begins the session anew.
        """
        if not self._stones:
            return messages
        kept: list[Message] = []
        for message in messages:
            if self._is_of_deleted_session(message):
                self.lost.append(message.id)
            else:
                kept.append(self._marked(message))
        return kept

    def spare_chunks(self, chunks: Sequence[StreamChunk]) -> Sequence[StreamChunk]:
        """*chunks* without those of streams that were opened before the deletion of their session."""
        return [chunk for chunk in chunks if not self._is_of_deleted_session(chunk)] if self._stones else chunks

    def _is_of_deleted_session(self, record: Message | StreamChunk) -> bool:
        deleted_at = self._stones.get((record.session_id, WHOLE_SESSION))
        return deleted_at is not None and record.created_at_us <= deleted_at

    def _marked(self, message: Message) -> Message:
        key = (message.session_id, message.id)
        deleted_at = self._stones.get(key)
        if deleted_at is None:
            return message
        self.used.append(key)
        return message if message.deleted_at_us is not None else message._replace(deleted_at_us=deleted_at)
