"""Words: what is found of a text, and what a search asks for. One meaning for every backend.

A word is a run of letters and digits, without case and without accents: `Café` and `cafe` are one word, and so are
`Straße` and `strasse`. Scripts that put no spaces between words, Chinese and Thai among them, have a word a character,
and so has every emoji: words that follow one another make a phrase, so a piece of such a text is found as it is. All
else parts words: `snake_case` and `e-mail` are two.

Backends are given words and never texts, since each has an opinion of its own on what a word is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import NamedTuple

MAX_TEXT_CHARS = 250_000
"""What lies behind is not found. In UTF-8 so many are less than the 1 MiB that PostgreSQL's `tsvector` takes."""

SLICE_CHARS = 500_000
"""A slice of the index takes no further message beyond so much text, since whoever writes waits for it meanwhile: some
40 ms of SQLite's thread. 500 messages of 100 KB took it for 3 s."""

MAX_WORD_CHARS = 100
"""A word counts by so many: nobody types the rest of a blob in Base64, and PostgreSQL takes 2,046 bytes."""

# Without Thai digits and the full stops of the scripts in between: what is no word anywhere parts words here too.
_ALONE = (
    "\u0e01-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e81-\u0ecd"  # Lao
    "\u1000-\u103f\u1050-\u109d"  # Myanmar
    "\u1780-\u17d3"  # Khmer
    "\u1100-\u11ff\uac00-\ud7a3"  # Hangul
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f"  # kana, bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff"  # emoji
)
_INDIC = "\u0900-\u0963\u0966-\u0dff"  # with the signs of vowels, which Python takes for no letters

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(f"[{_ALONE}]|(?:[^\\W_{_ALONE}]|[{_INDIC}])+")
_PIECE = re.compile(f"[{_ALONE}]|[^\\s{_ALONE}]+")
"""Of a text as it is: no word goes beyond one."""

_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670]")
"""Of Latin, Greek and Cyrillic, and what Hebrew and Arabic leave out as a rule. Elsewhere marks make another letter."""

_SNIPPET_CHARS = 160
_BEFORE_CHARS = 40


class Term(NamedTuple):
    """Words that must follow one another."""

    words: tuple[str, ...]
    prefix: bool = False
    """Whether the last one may go on."""


class Search(NamedTuple):
    """What is searched for: every wanted term, and none of the unwanted."""

    wanted: tuple[Term, ...]
    """At least one."""
    unwanted: tuple[Term, ...] = ()


def words(text: str) -> list[str]:
    """The words of *text*, in order."""
    text = text[:MAX_TEXT_CHARS]
    if text.isascii():
        found = _ASCII_WORD.findall(text.lower())
    else:
        plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        plain = unicodedata.normalize("NFC", _ACCENTS.sub("", plain))
        found = _WORD.findall(plain[:MAX_TEXT_CHARS])
    return [word[:MAX_WORD_CHARS] for word in found]


def padded(found: Sequence[str]) -> str:
    """Words as one text, in which the `needle` of a term is found where the term is."""
    return f" {' '.join(found)} "


def needle(term: Term) -> str:
    """What a `padded` text has in it where it has *term*."""
    return f" {' '.join(term.words)}{'' if term.prefix else ' '}"


def holds(search: Search, text: str) -> bool:
    """Whether *text* is what *search* is for."""
    within = padded(words(text))
    return all(needle(term) in within for term in search.wanted) and not any(
        needle(term) in within for term in search.unwanted
    )


def snippet(search: Search, text: str) -> str:
    """The part of *text* around the first place that is wanted, on one line, with `…` where it is cut."""
    at = _first_place(search, text)
    start = 0 if at <= _BEFORE_CHARS else _edge(text, at - _BEFORE_CHARS, at)
    end = start + _SNIPPET_CHARS
    shown = " ".join(text[start:end].split())
    return f"{'…' if start else ''}{shown}{'…' if end < len(text) else ''}"


def _edge(text: str, low: int, high: int) -> int:
    """Where a word begins between the two; *low* where none does."""
    space = text.find(" ", low, high)
    return low if space < 0 else space + 1


def _first_place(search: Search, text: str) -> int:
    """Where in *text* a wanted term is first; 0 where none is, as in a text that was replaced meanwhile."""
    places: list[int] = []
    found: list[str] = []
    for piece in _PIECE.finditer(text, 0, MAX_TEXT_CHARS):
        of_piece = words(piece[0])
        found += of_piece
        places += [piece.start()] * len(of_piece)
    within = padded(found)
    hits = [hit for term in search.wanted if (hit := within.find(needle(term))) >= 0]
    # So many words lie before a hit as spaces do.
    return places[within.count(" ", 0, min(hits))] if hits else 0


class Span(NamedTuple):
    """Messages created from one time to another, both included, that may lack in the index."""

    since_us: int
    until_us: int


_GAP_US = 1_000_000
_MOST_SPANS = 100


def spans(times: Collection[int]) -> list[Span]:
    """Few spans that hold all of *times*, and little between them: who looks there looks at every message in it.

    Messages of a batch are mostly of one second. One from last year among them makes a span of its own.
    """
    if not times:
        return []
    first, last = min(times), max(times)
    gap = max(_GAP_US, (last - first) // _MOST_SPANS)
    if last - first <= gap:
        return [Span(first, last)]
    found = [Span(first, first)]
    for at_us in sorted(times):
        if at_us - found[-1].until_us > gap:
            found.append(Span(at_us, at_us))
        else:
            found[-1] = Span(found[-1].since_us, at_us)
    return found
