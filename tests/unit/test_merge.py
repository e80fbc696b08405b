"""Folding chunks: whatever arrives, in whatever order and how often, becomes what was written."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.errors import FrameTooNew
from penstock.wire.ids import new_id
from penstock.wire.records import StreamChunk
from penstock.worker.merge import base_chunk, chunks_in, fold, severed, to_message

STREAM = new_id()


def run(seq: int, text: str, *, chunks: int = 1, end: str | None = None, fields: bytes | None = None) -> StreamChunk:
    return StreamChunk(new_id(), 1_000, "s", "assistant", STREAM, seq, chunks, text, end, fields)


def whole_stream(texts: list[str], end: str = "complete") -> list[StreamChunk]:
    return [*(run(seq, text) for seq, text in enumerate(texts)), run(len(texts), "", chunks=0, end=end)]


@given(st.lists(st.text(max_size=5), max_size=12), st.randoms(use_true_random=False), st.integers(0, 5))
def test_any_order_and_repetition_gives_the_written_text(texts: list[str], rng: random.Random, extra: int) -> None:
    pieces = whole_stream(texts)
    arrived = pieces + [rng.choice(pieces) for _ in range(extra)]
    rng.shuffle(arrived)

    folded = fold(arrived)

    assert folded.text == "".join(texts)
    assert folded.is_complete
    assert to_message(folded, None).version == 3 * len(texts) + 2


@given(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=12), st.data())
def test_a_missing_chunk_is_a_gap_until_it_comes(texts: list[str], data: st.DataObject) -> None:
    pieces = whole_stream(texts)
    missing = pieces.pop(data.draw(st.integers(0, len(texts) - 1)))

    assert fold(pieces).has_gap
    assert not fold(pieces).is_complete
    assert fold([*pieces, missing]).text == "".join(texts)


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=12), st.data())
def test_what_lies_behind_gaps_comes_apart_and_together_again(texts: list[str], data: st.DataObject) -> None:
    pieces = whole_stream(texts)
    lost = [pieces[at] for at in data.draw(st.sets(st.integers(0, len(pieces) - 1)))]
    arrived = [piece for piece in pieces if piece not in lost]
    arrived += data.draw(st.lists(st.sampled_from(arrived), max_size=4)) if arrived else []
    if not arrived:
        return
    folded, behind = fold(arrived), severed(data.draw(st.permutations(arrived)))

    assert bool(behind) is folded.has_gap
    assert folded.whole + "".join(piece.chunk.text for piece in behind) == folded.text
    before = [piece for piece in arrived if piece.seq + piece.chunks <= folded.reached]
    assert sum(piece.records for piece in behind) == len(arrived) - len(before)
    together = fold([*before, *lost, *(piece.chunk for piece in behind)])
    assert (together.text, together.end, together.has_gap) == ("".join(texts), "complete", False)


def test_more_chunks_are_newer_and_an_end_is_newer_than_none() -> None:
    pieces = whole_stream(["a", "b"])
    one, two = fold(pieces[:1]), fold(pieces[:2])
    versions = [
        to_message(one, "streaming").version,
        to_message(one, "interrupted").version,
        to_message(two, "streaming").version,
        to_message(two, "interrupted").version,
        to_message(fold(pieces), None).version,
    ]

    assert versions == sorted(set(versions))


def test_a_stored_beginning_and_later_chunks_make_the_whole() -> None:
    stored = to_message(fold([run(0, "Hel"), run(1, "lo")]), "interrupted")
    late = [run(2, " world"), run(3, "", chunks=0, end="complete")]

    folded = fold([base_chunk(late[0], stored.content or "", stored.version), *late])

    assert chunks_in(stored.version) == 2
    assert folded.text == "Hello world"
    assert folded.is_complete


def test_an_empty_stream_is_an_empty_message_with_its_fields() -> None:
    message = to_message(
        fold([run(0, "", chunks=0, end="complete", fields=b'{"user_id":"u","metadata":{"a":1}}')]), None
    )

    assert (message.content, message.user_id, message.metadata) == ("", "u", b'{"a":1}')
    assert message.id == STREAM


def test_a_field_of_a_newer_producer_is_kept_for_a_newer_worker() -> None:
    with pytest.raises(FrameTooNew, match="mood"):
        to_message(fold([run(0, "", chunks=0, end="complete", fields=b'{"mood":"good"}')]), None)


def test_the_version_with_a_gap_says_only_what_is_whole() -> None:
    folded = fold([run(0, "a"), run(2, "c")])

    assert folded.text == "ac"
    assert (
        to_message(folded, "interrupted").version < to_message(fold([run(0, "a"), run(1, "b")]), "interrupted").version
    )
