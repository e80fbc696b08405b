"""What every SQL store finds by words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.query import Reader
from penstock.query.search_text import parse
from penstock.stores.contract import SqlStore
from penstock.stores.queries import FoundQuery, Position
from penstock.stores.search import MAX_TEXT_CHARS, Search, Term, holds
from penstock.testing.conformance.records import START_US, Backend, log, message
from penstock.testing.conformance.search_samples import FOUND, TEXTS
from penstock.testing.conformance.state_records import FAR_US, forgotten, hidden
from penstock.wire.ids import format_id, to_us
from penstock.wire.records import Message, Record

_WORDS = st.sampled_from(["a", "ab", "abc", "b", "é", "e", "世", "界", "ß", "ss", "🎉", "1", "Ab"])
_TEXTS = st.lists(_WORDS, max_size=8).map(" ".join) | st.text(max_size=30).map(lambda text: text.replace("\0", ""))
_TERMS = st.builds(
    lambda text, is_prefix: [
        each._replace(prefix=is_prefix) for each in parse(f'"{text}"').wanted
    ], st.lists(_WORDS, min_size=1, max_size=3).map(" ".join), st.booleans()
)  # fmt: skip
_SEARCHES = st.builds(
    lambda wanted, unwanted: Search(
        tuple(each for some in wanted for each in some), tuple(each for some in unwanted for each in some)
    ), st.lists(_TERMS, min_size=1, max_size=2), st.lists(_TERMS, max_size=2)
)  # fmt: skip


class SearchConformance:
    """A part of `SqlStoreConformance`."""

    # Words

    async def test_words_phrases_beginnings_and_exclusions_are_found(self, store: SqlStore) -> None:
        await store.write([_said(number, text) for number, text in TEXTS.items()])
        await refreshed(store)

        assert {asked: await found(store, asked) for asked in FOUND} == {
            asked: sorted(numbers, reverse=True) for asked, numbers in FOUND.items()
        }

    @pytest.mark.parametrize("sign", ["'", '"', "\\", "%", ":", "&", "|", "!", "(", ")", "<->", "^", "+", "$", ";--"])
    async def test_signs_mean_nothing_wherever_they_stand(self, store: SqlStore, sign: str) -> None:
        await store.write([_said(0, "one two"), _said(1, "three")])
        await refreshed(store)

        asked = [f"one {sign} two", f"{sign}one {sign}two", f"one{sign} two{sign}", f'"one{sign}two"']
        assert [await found(store, each) for each in asked] == [[0]] * 4
        assert await found(store, "three") == [1]

    async def test_a_long_text_is_found_from_its_beginning_to_the_limit(self, store: SqlStore) -> None:
        # More words than PostgreSQL has positions for, and more of one than it keeps.
        long = "begin " + "the " * 20_000 + "last phrase " + " ".join(f"w{number}" for number in range(20_000))
        await store.write([_said(0, long), _said(1, "x " * MAX_TEXT_CHARS + "behind")])
        await refreshed(store)

        assert await found(store, "begin w19999") == [0]
        assert await found(store, '"the last phrase w0"') == [0]
        assert await found(store, '"phrase last"') == []
        assert await found(store, "behind") == []

    async def test_a_text_of_as_many_different_words_as_fit_is_taken(self, store: SqlStore) -> None:
        wide = "".join(chr(0x20000 + number) for number in range(40_000))
        words = " ".join(chr(0x10400 + number // 40) * 3 + chr(0x10400 + number % 40) for number in range(1_600))
        await store.write([_said(0, wide + " " + words * 30)])
        await refreshed(store)

        assert await found(store, chr(0x20000 + 39_999)) == [0]

    # One test for several backends is the point of a contract, not an accident.
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(texts=st.lists(_TEXTS, min_size=1, max_size=6), search=_SEARCHES)
    async def test_what_is_found_is_what_the_words_mean(self, texts: list[str], search: Search) -> None:
        async with self.fresh() as backend:  # type: ignore[attr-defined] # of SqlStoreConformance
            said = [_said(number, text) for number, text in enumerate(texts)]
            await backend.store.write(said)
            await refreshed(backend.store)

            seen = [each.content for each in await backend.store.search_messages(FoundQuery(search=search))]

            assert seen == [each.content for each in reversed(said) if holds(search, each.content or "")]

    # Pages and filters

    async def test_pages_are_complete_newest_first_and_repeat_nothing(self, store: SqlStore) -> None:
        # Threes of one microsecond, so that pages end between them.
        said = [_said(number, "word")._replace(created_at_us=START_US + number // 3) for number in range(20)]
        await store.write([*said, _said(99, "other")])
        await refreshed(store, 3)

        seen: list[str] = []
        after: Position | None = None
        while page := await store.search_messages(FoundQuery(search=parse("word"), limit=4, after=after)):
            seen += [each.id for each in page]
            last = next(each for each in said if format_id(each.id) == page[-1].id)
            after = Position(last.created_at_us, last.id)

        expected = sorted(said, key=lambda each: (each.created_at_us, each.id), reverse=True)
        assert seen == [format_id(each.id) for each in expected]

    @pytest.mark.parametrize(
        ("filters", "numbers"),
        [
            ({"session_id": "s"}, [3, 0]),
            ({"session_id": "none such"}, []),
            ({"user_id": "u"}, [2, 1]),
            ({"roles": ["assistant"]}, [3]),
            ({"roles": ["assistant", "user"]}, [3, 2, 1, 0]),
            ({"since_us": START_US + 1}, [3, 2, 1]),
            ({"until_us": START_US + 2}, [1, 0]),
            ({"since_us": START_US + 1, "until_us": START_US + 3, "session_id": "t"}, [2, 1]),
            ({"limit": 2}, [3, 2]),
        ],
        ids=str,
    )
    async def test_filters_narrow_what_is_found(
        self, store: SqlStore, filters: dict[str, Any], numbers: list[int]
    ) -> None:
        of_user = [_said(number, "word", session_id="t", user_id="u") for number in (1, 2)]
        await store.write([_said(0, "word"), *of_user, _said(3, "word", role="assistant"), _said(4, "other")])
        await refreshed(store)

        assert await found(store, "word", **filters) == numbers

    async def test_the_reader_leads_from_page_to_page_and_shows_where(self, store: SqlStore) -> None:
        await store.write([_said(number, f"{'before ' * 40}word {number}{' after' * 40}") for number in range(5)])
        await refreshed(store)

        async with Reader.open(sql=store) as reader:
            first = await reader.search_messages("word", limit=3)
            second = await reader.search_messages("word", limit=3, after=first.next)

        assert [_number(each.message.created_at) for each in (*first, *second)] == [4, 3, 2, 1, 0]
        assert second.next is None
        assert all(f"word {number}" in each.snippet for number, each in zip((4, 3, 2), first, strict=True))
        assert all(len(each.snippet) < 170 and each.snippet[0] == each.snippet[-1] == "…" for each in first)

    # Behind the writes

    async def test_a_slice_is_bounded_and_the_newest_come_first(self, backend: Backend) -> None:
        await backend.store.write([_said(number, "word") for number in range(20)])

        while looked_at := await backend.store.refresh_search(6):
            assert looked_at <= 6
            seen = await found(backend.store, "word")
            assert seen == sorted(range(20), reverse=True)[: len(seen)]
        assert len(await found(backend.store, "word")) == 20

    @pytest.mark.parametrize("text", ["word " * 40_000, "." * 600_000])
    async def test_a_slice_is_bounded_by_what_its_messages_say_as_well(self, store: SqlStore, text: str) -> None:
        await store.write([_said(number, text) for number in range(8)])

        looked_at = [await store.refresh_search(100) for _ in range(10)]

        assert max(looked_at) <= 5
        assert looked_at[-1] == 0
        assert len(await found(store, "word")) == (8 if "word" in text else 0)

    async def test_many_messages_of_one_microsecond_are_all_found(self, store: SqlStore) -> None:
        await store.write([_said(number, f"word w{number}")._replace(created_at_us=START_US) for number in range(20)])
        await refreshed(store, 3)

        assert len(await store.search_messages(FoundQuery(search=parse("word")))) == 20

    async def test_what_comes_again_is_found_once(self, backend: Backend) -> None:
        for _ in range(3):
            await backend.store.write([_said(0, "word"), _said(1, "word")])
            await refreshed(backend.store)

        assert await found(backend.store, "word") == [1, 0]
        assert len(backend.words()) in (0, 2)

    async def test_a_replaced_message_is_found_by_what_it_says_now(self, backend: Backend) -> None:
        for version, text in ((1, "once upon"), (2, "once upon a time"), (5, "a time")):
            await backend.store.write([_said(0, text, version=version, state="streaming")])
            await refreshed(backend.store)

            assert await found(backend.store, text) == [0]
        assert await found(backend.store, "upon") == []
        assert [each for each in backend.words() if "upon" in each] == []

    async def test_a_replaced_message_is_never_found_by_what_it_said(self, store: SqlStore) -> None:
        await store.write([_said(0, "secret")])
        await refreshed(store)
        await store.write([_said(0, "[masked]", version=1)])

        assert await found(store, "secret") == []

    async def test_a_replacement_with_another_time_is_seen_where_the_message_is(self, store: SqlStore) -> None:
        await store.write([_said(0, "old")])
        await refreshed(store)

        await store.write([_said(0, "new", version=1)._replace(created_at_us=FAR_US)])
        await refreshed(store)

        assert (await found(store, "old"), await found(store, "new")) == ([], [0])

    async def test_late_messages_are_found_whatever_was_looked_at_before(self, store: SqlStore) -> None:
        year_us = 365 * 86_400_000_000
        late = _said(1, "late")._replace(created_at_us=START_US - year_us)
        await store.write([_said(0, "word")])
        await refreshed(store)

        await store.write([late, _said(2, "word")])
        await refreshed(store)

        assert len(await store.search_messages(FoundQuery(search=parse("late")))) == 1
        assert await found(store, "word") == [2, 0]

    async def test_a_message_without_words_costs_the_index_nothing(self, backend: Backend) -> None:
        await backend.store.write([_said(0, "...!"), _said(1, "")._replace(content=None), log(0)])
        await refreshed(backend.store)

        assert list(backend.words()) == []

    async def test_a_message_that_loses_its_words_leaves_the_index(self, backend: Backend) -> None:
        await backend.store.write([_said(0, "word")])
        await refreshed(backend.store)
        await backend.store.write([_said(0, "", version=1)])
        await refreshed(backend.store)

        assert await found(backend.store, "word") == []
        assert list(backend.words()) == []

    async def test_reindexing_changes_nothing_that_was_right(self, backend: Backend) -> None:
        await backend.store.reindex()
        await backend.store.write([_said(number, "word") for number in range(9)])
        await refreshed(backend.store)
        seen = backend.words()

        await backend.store.reindex()
        await refreshed(backend.store, 4)

        assert backend.words() == seen
        assert len(await found(backend.store, "word")) == 9

    # Deletions

    async def test_a_deleted_message_is_not_found_from_then_on(self, store: SqlStore) -> None:
        await store.write([_said(0, "word"), _said(1, "word")])
        await refreshed(store)
        await store.write([hidden(9, 0)])
        assert await found(store, "word") == [1]

        await store.write([hidden(9, 2), _said(2, "word")])
        await refreshed(store)
        assert await found(store, "word") == [1]

    @pytest.mark.parametrize("refreshed_first", [True, False])
    async def test_the_words_of_a_deleted_session_go_with_it(self, backend: Backend, refreshed_first: bool) -> None:
        others = [_said(number, "word", session_id="other") for number in (3, 4)]
        await backend.store.write([*(_said(number, "word secret") for number in range(3)), *others])
        if refreshed_first:
            await refreshed(backend.store)
        await backend.store.write([forgotten(9, "s")])
        if refreshed_first:
            assert await found(backend.store, "word") == [4, 3]

        await refreshed(backend.store)

        assert await found(backend.store, "word") == [4, 3]
        assert [each for each in backend.words() if "secret" in each] == []

    async def test_a_session_that_begins_anew_with_old_ids_is_found_by_what_it_says_now(self, backend: Backend) -> None:
        await backend.store.write([_said(0, "old words")])
        await refreshed(backend.store)
        anew = _said(0, "new words")._replace(created_at_us=START_US + 20)
        await backend.store.write([forgotten(9, "s"), anew])
        assert await found(backend.store, "old") == []
        await refreshed(backend.store)

        assert (await found(backend.store, "old"), await found(backend.store, "new")) == ([], [20])

    async def test_words_go_with_messages_that_are_past_their_time(self, backend: Backend) -> None:
        await backend.store.write([_said(number, f"word n{number}") for number in range(6)])
        await refreshed(backend.store)

        while await backend.store.remove_due("messages", START_US + 4, FAR_US, 2):
            pass
        assert await found(backend.store, "word") == [5, 4]
        await refreshed(backend.store)

        assert await found(backend.store, "word") == [5, 4]
        assert len(backend.words()) in (0, 2)

    # One test for several backends is the point of a contract, not an accident.
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    async def test_whatever_is_written_is_found_by_what_it_says(self, data: st.DataObject) -> None:
        """Redelivery, replacement, deletion and retention, with slices of any size in between."""
        async with self.fresh() as backend:  # type: ignore[attr-defined] # of SqlStoreConformance
            for _ in range(data.draw(st.integers(1, 5))):
                await backend.store.write(data.draw(st.lists(_RECORDS, max_size=6)))
                for _ in range(data.draw(st.integers(0, 2))):
                    await backend.store.refresh_search(data.draw(st.integers(2, 5)))
                if data.draw(st.booleans()):
                    await backend.store.remove_due("messages", START_US + data.draw(st.integers(0, 5)), FAR_US, 3)
            await refreshed(backend.store, data.draw(st.integers(2, 7)))

            live = [each for each in backend.messages() if each.deleted_at_us is None]
            for word in ("one", "two"):
                search = Search((Term((word,)),))
                seen = await backend.store.search_messages(FoundQuery(search=search))
                assert {each.id for each in seen} == {
                    format_id(each.id) for each in live if holds(search, each.content or "")
                }
            kept = sum(bool(each.content) for each in backend.messages())
            assert len(backend.words()) <= kept


def _said(number: int, text: str, **fields: Any) -> Message:
    return message(number)._replace(content=text, **fields)


_NUMBERS = st.integers(0, 4)
_RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        lambda number, text, version, session, moved: _said(
            number, text, version=version, session_id=session
        )._replace(created_at_us=START_US + moved),
        _NUMBERS, st.sampled_from(["one", "two", "one two", "", "three"]), st.integers(0, 3),
        st.sampled_from("st"), st.integers(0, 6),
    ),
    st.builds(lambda number, at, session: hidden(at, number, session), _NUMBERS, _NUMBERS, st.sampled_from("st")),
    st.builds(forgotten, _NUMBERS, st.sampled_from("st")),
)  # fmt: skip


async def refreshed(store: SqlStore, limit: int = 100) -> None:
    """Have everything found that is stored."""
    while await store.refresh_search(limit):
        pass


async def found(store: SqlStore, asked: str, **filters: Any) -> list[int]:
    """The numbers of the messages that are found, as their times tell them."""
    messages = await store.search_messages(FoundQuery(search=parse(asked), **filters))
    return [_number(each.created_at) for each in messages]


def _number(created_at: Any) -> int:
    at_us: int = to_us(created_at, "created_at")
    return at_us - START_US
