"""The queue's calls for open streams: their buffers, and which of them are due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.wire.ids import format_id, parse_id
from penstock.wire.keys import Keys, Partition
from penstock.wire.scripts import Scripts

GAP_PATIENCE_MS = 24 * 3600 * 1000
"""A stream with chunks missing that fell silent keeps its buffer this long: only the buffer knows their place."""


class StreamState(NamedTuple):
    """What the queue has of a stream."""

    buffered: bool
    ended: bool
    """Its end is here, but chunks before it are missing."""


class DueStreams(NamedTuple):
    """Streams to settle, the idlest first."""

    silent: Sequence[bytes]
    """Open ones."""
    stuck: Sequence[bytes]
    """Those with chunks missing, which fell silent before."""
    more: bool
    """Whether others are due too."""


class StreamCalls:
    """What `Queue` knows of streams."""

    keys: Keys
    scripts: Scripts

    @property
    def client(self) -> Any:
        """The Redis client, for commands that are no script."""
        return self.scripts.client

    async def stream_states(self, partition: Partition, streams: Sequence[bytes]) -> dict[bytes, StreamState]:
        """The state of each of *streams*."""
        names = [format_id(stream) for stream in streams]
        with self.scripts.translated():
            async with self.client.pipeline(transaction=False) as pipe:
                pipe.zmscore(self.keys.open(partition), names)
                pipe.zmscore(self.keys.stuck(partition), names)
                pipe.execute_command("SMISMEMBER", self.keys.gaps(partition), *names)
                opened, stuck, gaps = await pipe.execute()
        return {
            stream: StreamState(news is not None or silence is not None, bool(gap))
            for stream, news, silence, gap in zip(streams, opened, stuck, gaps, strict=True)
        }

    async def stream_chunks(self, partition: Partition, streams: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """The encoded chunks in each stream's buffer, in the order they came."""
        with self.scripts.translated():
            async with self.client.pipeline(transaction=False) as pipe:
                for stream in streams:
                    pipe.lrange(self.keys.buffer(partition, stream), 0, -1)
                return dict(zip(streams, await pipe.execute(), strict=True))

    async def due_streams(
        self, partition: Partition, silent_since_ms: int, stuck_since_ms: int, keep: int, limit: int
    ) -> DueStreams:
        """Open streams without news since *silent_since_ms*, stuck ones since *stuck_since_ms*; of both also the idlest
        beyond *keep*. At most *limit* of each."""
        names = [self.keys.open(partition), self.keys.stuck(partition)]
        silent, stuck, more = await self.scripts.run("due", names, [silent_since_ms, stuck_since_ms, keep, limit])
        return DueStreams(
            [parse_id(one.decode()) for one in silent], [parse_id(one.decode()) for one in stuck], bool(more)
        )
