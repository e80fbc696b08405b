"""What a word is, what a search asks for, and where an index has to look."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.query import InvalidQuery
from penstock.query.search_text import MAX_WORDS, parse
from penstock.stores.pending import Pending, reaching
from penstock.stores.search import (
    MAX_WORD_CHARS,
    Search,
    Span,
    Term,
    holds,
    needle,
    padded,
    snippet,
    spans,
    words,
)

TEXTS = st.text() | st.text(st.sampled_from("aB é\u0301ßﬁ世界が🎉👍🏽_-'\"*0½İǰ\u0345"), max_size=12)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The quick, brown fox", ["the", "quick", "brown", "fox"]),
        ("Café CAFE\u0301 ñandú Ёлка Łódź", ["cafe", "cafe", "nandu", "елка", "łodz"]),
        ("Straße ﬁne Ａ½ x² İstanbul", ["strasse", "fine", "a1", "2", "x2", "istanbul"]),
        ("snake_case e-mail don't 3.14", ["snake", "case", "e", "mail", "don", "t", "3", "14"]),
        ("世界 ab東c かが", ["世", "界", "ab", "東", "c", "か", "が"]),
        ("학교 ไทย हिन्दी שָׁלוֹם", ["학", "교", "ไ", "ท", "ย", "हिन्दी", "שלום"]),
        ("👩‍🚀🎉 👍🏽", ["👩", "🚀", "🎉", "👍", "🏽"]),
        ("... -- '\"; \t\n", []),
        ("x" * 500, ["x" * MAX_WORD_CHARS]),
    ],
)
def test_words_are_told_apart_and_made_alike(text: str, found: list[str]) -> None:
    assert words(text) == found


@given(TEXTS)
@example("ǰ\u0345")
def test_a_word_holds_nothing_that_a_database_would_read_as_more(text: str) -> None:
    for word in words(text):
        assert not set(word) & set(" \"'\\*:&|!()<>-_^+\0\n\t")
        assert 0 < len(word) <= MAX_WORD_CHARS


@given(TEXTS)
def test_what_is_found_is_found_again_by_itself(text: str) -> None:
    found = words(text)

    assert words(" ".join(found)) == found
    if 0 < len(found) <= MAX_WORDS:
        assert holds(parse(" ".join(found)), text)


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("one two", Search((Term(("one",)), Term(("two",))))),
        ('"one two" three', Search((Term(("one", "two")), Term(("three",))))),
        ('one" two', Search((Term(("one",)), Term(("two",))))),
        ("e-mail* -x -y*", Search((Term(("e", "mail"), prefix=True),), (Term(("x",)), Term(("y",), prefix=True)))),
        ('one -"two three"', Search((Term(("one",)),), (Term(("two", "three")),))),
        ("one one ONE *  - &&", Search((Term(("one",)),))),
        ("a** b-*", Search((Term(("a",), prefix=True), Term(("b",))))),
        ("世界*", Search((Term(("世", "界"), prefix=True),))),
    ],
)
def test_a_search_is_read_as_it_is_written(text: str, search: Search) -> None:
    assert parse(text) == search


@pytest.mark.parametrize("text", ["", "  ", "-one", '-"one two" -three*', "* - ! ''", '""'])
def test_a_search_that_wants_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="a word that is wanted"):
        parse(text)


def test_a_search_for_too_much_is_refused_with_the_limit() -> None:
    parse("一" * MAX_WORDS)

    with pytest.raises(InvalidQuery, match="65 words; 64 are accepted"):
        parse("一" * (MAX_WORDS + 1))


def test_a_term_is_found_among_words_where_it_stands() -> None:
    within = padded(["one", "two", "three"])

    found = [Term(("two",)), Term(("one", "two")), Term(("thr",), prefix=True), Term(("two", "t"), prefix=True)]
    assert [needle(term) in within for term in found] == [True] * 4
    missed = [Term(("wo",)), Term(("two", "one")), Term(("thr",)), Term(("hree",), prefix=True)]
    assert [needle(term) in within for term in missed] == [False] * 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The Café\n\tis  open", "The Café is open"),
        ("x " * 100 + "café " + "y " * 100, "…" + "x " * 19 + "café " + ("y " * 59).strip() + "…"),
        ("世" * 100 + "cafe", "…" + "世" * 40 + "cafe"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_a_snippet_shows_the_place_that_was_searched_for(text: str, shown: str) -> None:
    assert snippet(parse("CAFE"), text) == shown


@given(TEXTS, TEXTS)
def test_every_text_has_a_snippet(text: str, asked: str) -> None:
    if words(asked):
        assert len(snippet(Search((Term(tuple(words(asked))),)), text)) <= 162


SECOND = 1_000_000


def test_one_late_message_makes_a_span_of_its_own() -> None:
    assert spans([]) == []
    assert spans([5, 3, 9]) == [Span(3, 9)]
    assert spans([9 * SECOND, 3, 9 * SECOND + 5]) == [Span(3, 3), Span(9 * SECOND, 9 * SECOND + 5)]


@given(st.lists(st.integers(0, 10**15) | st.integers(0, 10**7), max_size=300))
def test_spans_are_few_and_hold_every_time_and_end_where_there_is_one(times: list[int]) -> None:
    found = spans(times)

    assert len(found) <= 101
    assert all(any(span.since_us <= at <= span.until_us for span in found) for at in times)
    assert {edge for span in found for edge in span} <= set(times)
    assert all(one.until_us < other.since_us for one, other in pairwise(found))


def test_spans_that_run_into_each_other_are_worked_off_together() -> None:
    pending = [Pending(1, 50, 90, b"x"), Pending(2, 60, 80, b""), Pending(3, 10, 50, b""), Pending(4, 0, 9, b"")]

    assert reaching(pending) == (Pending(None, 10, 90, b"x"), [1, 2, 3])
