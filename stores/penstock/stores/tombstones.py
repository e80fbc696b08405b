"""What deletions of messages keep from coming back. The same for every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.wire.records import Message

WHOLE_SESSION = b""
"""In place of a message's id, in the tombstone of a session."""


class Tombstones:
    """The tombstones of some sessions: (session id, message id or `WHOLE_SESSION`) to the time of the deletion."""

    def __init__(self, stones: Mapping[tuple[str, bytes], int]) -> None:
        self._stones = stones
        self.used: list[tuple[str, bytes]] = []
        """Those of messages that have come by now, which carry the mark themselves."""

    def spare(self, messages: Sequence[Message]) -> Sequence[Message]:
        """*messages* without those of deleted sessions, and with the mark on those that were deleted before they came.

        A message created after the deletion of its session begins the session anew.
        """
        if not self._stones:
            return messages
        return [self._marked(each) for each in messages if not self._is_of_deleted_session(each)]

    def _is_of_deleted_session(self, message: Message) -> bool:
        deleted_at = self._stones.get((message.session_id, WHOLE_SESSION))
        return deleted_at is not None and message.created_at_us <= deleted_at

    def _marked(self, message: Message) -> Message:
        key = (message.session_id, message.id)
        deleted_at = self._stones.get(key)
        if deleted_at is None:
            return message
        self.used.append(key)
        return message if message.deleted_at_us is not None else message._replace(deleted_at_us=deleted_at)
