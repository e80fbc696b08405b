"""What a search is written in: words, "phrases", beginnings* and -exclusions."""

from __future__ import annotations

import re

from penstock.query.page import InvalidQuery
from penstock.stores.search import Search, Term, words

MAX_WORDS = 64
"""Most words of one search, those of phrases among them."""

_ITEM = re.compile(r'(-?)(?:"([^"]*)(?:"|\Z)|([^\s"]+))')


def parse(text: str) -> Search:
    """*text* as a search.

    Words that stand apart must all occur, in any order; those in quotes follow one another, and so do the parts of
    what is written together, as `e-mail` is. Signs that are no part of a word mean nothing.

    Raises:
        InvalidQuery: Nothing is wanted, or too much.
    """
    wanted: list[Term] = []
    unwanted: list[Term] = []
    for minus, phrase, bare in _ITEM.findall(text):
        term = Term(tuple(words(phrase or bare)), not phrase and _goes_on(bare))
        if term.words:
            (unwanted if minus else wanted).append(term)
    if not wanted:
        raise InvalidQuery(f"a search needs a word that is wanted, and {text!r:.100} has none; try: word -unwanted")
    if (count := sum(len(term.words) for term in (*wanted, *unwanted))) > MAX_WORDS:
        raise InvalidQuery(f"a search of {count:,} words; {MAX_WORDS} are accepted: leave some out")
    return Search(tuple(dict.fromkeys(wanted)), tuple(dict.fromkeys(unwanted)))


def _goes_on(bare: str) -> bool:
    """Whether a `*` stands behind a word, and not behind some other sign."""
    body = bare.rstrip("*")
    return body != bare and bool(words(body[-1:]))
