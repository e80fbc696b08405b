"""The contract between producers and workers: records, frames, keys and the queue. Imports nothing of ours."""

from penstock.wire.errors import InvalidRecord, PenstockError, QueueFull, QueueUnavailable, RecordTooLarge
from penstock.wire.records import LANES, Embedding, LogEvent, Message, StreamChunk

__all__ = [
    "LANES",
    "Embedding",
    "InvalidRecord",
    "LogEvent",
    "Message",
    "PenstockError",
    "QueueFull",
    "QueueUnavailable",
    "RecordTooLarge",
    "StreamChunk",
]
