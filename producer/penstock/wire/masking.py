"""Secrets in text and JSON, found by their shape and replaced by `[masked:kind]`.

Every pattern is linear in the text's length: what may repeat is possessive, or bounded, or cannot begin anew inside
itself. A pattern runs only over text that holds one of its anchors, which costs a substring search.

Masked text stays as it is when it is masked again. A mask also takes the rest of its secret with it, since the rest may
come later: with a stream that was stored as interrupted and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

_SHORTEST = 6
"""Characters of `a@b.co`; anything shorter is no secret that has a shape."""


class _Rule(NamedTuple):
    anchors: tuple[str, ...]
    """Without any of them in a text the pattern cannot match."""
    pattern: re.Pattern[str]
    replacement: str


def _rule(kind: str, anchors: str, pattern: str, before: str = "", after: str = "") -> _Rule:
    """A rule; *before* and *after* are what stays of the match on either side."""
    return _Rule(tuple(anchors.split(" ")), re.compile(pattern, re.ASCII), f"{before}[masked:{kind}]{after}")


def _keys(anchors: str, rest: str, *, alone: bool = False) -> _Rule:
    """API keys: one of *anchors*, then *rest*. With *alone* no letter or digit stands before: `task-` is no `sk-`."""
    begin = "|".join(_alone(anchor) if alone else re.escape(anchor) for anchor in anchors.split(" "))
    return _rule("api_key", anchors, f"(?:{begin}){rest}")


def _alone(anchor: str) -> str:
    # After the anchor and not before, so that the search can look for the anchor's letters.
    # `\n` in text that is JSON ends in a letter that belongs to no word.
    text = re.escape(anchor)
    return rf"{text}(?:(?<![A-Za-z0-9]{text})|(?<=\\[nrt]{text}))"


_LABEL = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_KEY_BEGIN = rf"(?:-----BEGIN {_LABEL}|\[masked:private_key\])"
_KEY_WHOLE = rf"[^\[-]*+(?:-(?!----)[^\[-]*+)*+-----END {_LABEL}"
_KEY_LINES = r"(?:(?:\s|\\[nr])*+[A-Za-z0-9+/=]{16,}+)++(?:\s|\\[nr])*+[A-Za-z0-9+/=]*+"
"""The beginning of a key whose end is missing."""

_PRIVATE_KEYS = (
    # RFC 7468 (PEM) and RFC 9580, 6.2 (OpenPGP armor).
    _rule("private_key", "PRIVATE [masked:private_key]", rf"{_KEY_BEGIN}(?:{_KEY_WHOLE}|{_KEY_LINES})"),
)

_PASSWORDS = (
    # RFC 3986, 3.2.1: a user's name and password end at the last @ before a slash.
    _rule("password", "://", r"""(://[^\s:/\["'<>`]{0,256}:)[^\s/"'<>`]{1,2048}@""", r"\1", "@"),
    # Cut off before the @, as in a stream that goes on. Digits alone are a port.
    _rule("password", "://", r"""(://[^\s:/@\["'<>`]{0,256}:)(?!\d{1,5}\b)[^\s/@"'<>`]{1,2048}+\Z""", r"\1"),
    _rule(
        "password",
        "=",
        r"""([?&;][\w.-]{0,32}(?i:password|passwd|pwd|secret|token|api_?key)=)[^\s&#;"'<>`]++""",
        r"\1",
    ),
)

# The makes' own documentation tells the prefixes; lengths are those of gitleaks 8 (config/gitleaks.toml), taken as
# least lengths, so that a make that lengthens its keys is still masked to the end.
_API_KEYS = (
    # OpenAI (sk-, sk-proj-, sk-svcacct-), Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek, Langfuse, LiteLLM.
    # Words joined by hyphens have neither digits nor capitals.
    _keys("sk-", r"(?=[\w-]{0,64}?[0-9A-Z])[\w-]{20,}+", alone=True),
    _keys("sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", r"\w{10,}+"),  # Stripe, Clerk
    _keys("whsec_", r"[\w+/=]{24,}+"),  # webhooks of Stripe, Svix, OpenAI
    _keys("ghp_ gho_ ghu_ ghs_ ghr_", r"\w{36,}+"),  # GitHub
    _keys("github_pat_", r"\w{22,}+"),
    _keys("glpat- gldt- glrt- glptt- glcbt- glft- gloas-", r"[\w-]{20,}+(?:\.[\w-]{9,}+)*+"),  # GitLab
    _keys("xoxa- xoxb- xoxc- xoxd- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-", r"[\w%-]{10,}+"),  # Slack
    _keys("xoxe.xoxb- xoxe.xoxp-", r"[\w-]{10,}+"),
    _keys("hooks.slack.com/services/ hooks.slack.com/workflows/ hooks.slack.com/triggers/", r"[\w/-]{20,}+"),
    _keys("AKIA ASIA ABIA ACCA", r"[A-Z0-9]{16,}+", alone=True),  # AWS: the key's id, and below the key
    _rule(
        "api_key",
        "ccess CCESS",
        r"""((?i:secret[_-]?access[_-]?key)\\?["']?\s{0,4}[:=]{1,2}\s{0,4}\\?["']?)[A-Za-z0-9/+]{40,}+""",
        r"\1",
    ),
    _rule("api_key", "AccountKey= SharedAccessKey=", r"((?:Account|SharedAccess)Key=)[\w+/=]{40,}+", r"\1"),  # Azure
    _keys("AIza", r"[\w-]{35,}+"),  # Google
    _keys("ya29.", r"[\w-]{20,}+"),
    _keys("GOCSPX-", r"[\w-]{28,}+"),
    _keys("hf_ api_org_", r"[A-Za-z0-9]{30,}+", alone=True),  # Hugging Face
    _keys("gsk_ xai- pplx- pcsk_ csk- ntn_ r8_", r"\w{37,}+", alone=True),  # Groq, xAI, Perplexity, Pinecone, ...
    _keys("nvapi- tvly- lsv2_pt_ lsv2_sk_ lin_api_ glsa_ hvs. hvb.", r"[\w-]{20,}+"),  # NVIDIA, Tavily, LangSmith, ...
    _keys("npm_", r"[A-Za-z0-9]{36,}+", alone=True),
    _keys("pypi-", r"[\w-]{50,}+"),
    _keys("SG.", r"[\w-]{16,}+\.[\w-]{16,}+", alone=True),  # SendGrid
    _keys("SK key- dapi", r"[0-9a-f]{32,}+", alone=True),  # Twilio, Mailgun, Databricks
    _keys("dop_v1_ doo_v1_ dor_v1_", r"[0-9a-f]{64,}+"),  # DigitalOcean
    _keys("shpat_ shpca_ shppa_ shpss_", r"[0-9a-fA-F]{32,}+"),  # Shopify
    _keys("ATATT3", r"[\w=-]{60,}+"),  # Atlassian
    _keys("secret_", r"[A-Za-z0-9]{43,}+", alone=True),  # Notion
    _keys("AGE-SECRET-KEY-1", r"[A-Z0-9]{58,}+"),
    _keys("ops_eyJ", r"[\w+/=]{100,}+"),  # 1Password
    _rule("api_key", ":AA", r"[0-9]{8,10}:AA[\w-]{32,}+"),  # Telegram
)

_TOKENS = (
    # RFC 7519 and 7516: the header is JSON, so its base64 begins with eyJ; two to four more parts.
    _rule("token", "eyJ", rf"{_alone('eyJ')}[\w-]{{8,1024}}+\.[\w-]*+\.[\w-]*+(?:\.[\w-]++){{0,2}}"),
    # RFC 6750, 2.1. A word of the language is no token.
    _rule(
        "token",
        "earer EARER",
        r"((?i:bearer)\s{1,4})(?![A-Za-z]?[a-z.-]*+(?![\w.~+/=-]))[\w.~+/=-]{8,}+",
        r"\1",
    ),
    # RFC 7617
    _rule(
        "token",
        "asic ASIC",
        r"""((?i:authorization)\\?["']?\s{0,4}[:=]\s{0,4}\\?["']?(?i:basic)\s{1,4})[\w+/=-]{6,}+""",
        r"\1",
    ),
)

_EMAILS = (
    # RFC 5321, 4.1.2, without quoted and without international names.
    _rule("email", "@", r"(?<![\w.%+-])[\w.%+-]++@(?:[A-Za-z0-9-]{1,63}+\.){1,8}[A-Za-z]{2,24}+"),
)

_RESTS = (
    _rule("api_key", "[masked:api_key]", r"\[masked:api_key\](?:[\w-]|\.(?=[\w-]))++"),
    _rule("token", "[masked:token]", r"\[masked:token\](?:[\w-]|\.(?=[\w-]))++"),
)

_RULES = (*_PRIVATE_KEYS, *_PASSWORDS, *_TOKENS, *_EMAILS, *_RESTS)
_RULES_FOR_LONG_WORDS = (*_PRIVATE_KEYS, *_PASSWORDS, *_API_KEYS, *_TOKENS, *_EMAILS, *_RESTS)

_LONG_WORD = re.compile(r"[^ \n]{15}")
"""Every API key has one, most prose has none, and to look for this once costs less than for a hundred anchors."""

# ISO/IEC 7812-1: 13 to 19 digits, together or in the groups that are printed on cards (4-4-4-4, 4-6-5, 4-6-4).
# The lookbehinds stand after the first digit so that the search can look for digits; the second is for fractions.
_CARD = re.compile(
    r"[2-6](?<![0-9][0-9])(?<![0-9]\.[0-9])(?:"
    r"[0-9]{12,18}+"
    r"|[0-9]{3}([ .\xa0-])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}+"
    r"|[0-9]{3}([ .\xa0-])[0-9]{6}\2[0-9]{4,5}+"
    r")(?![0-9])"
)
_NO_DIGITS = str.maketrans("", "", " .\xa0-")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def mask_text(text: str) -> str:
    """*text* with its secrets masked; the same object when it has none."""
    if len(text) < _SHORTEST:
        return text
    masked = _mask_once(text)
    if masked == text:
        return text
    # Where a secret stood right before another one, only its mask lets the other be seen.
    while (again := _mask_once(masked)) != masked:
        masked = again
    return masked


def mask_json(encoded: bytes) -> bytes:
    """The JSON *encoded* with the secrets in its strings and keys masked; the same object when it has none.

    Raises:
        ValueError: It is no JSON.
    """
    value = orjson.loads(encoded)
    masked = _mask_value(value)
    return encoded if masked is value else orjson.dumps(masked)


def _mask_once(text: str) -> str:
    for anchors, pattern, replacement in _RULES_FOR_LONG_WORDS if _LONG_WORD.search(text) else _RULES:
        for anchor in anchors:
            if anchor in text:
                text = pattern.sub(replacement, text)
                break
    return _mask_cards(text)


def _mask_cards(text: str) -> str:
    parts: list[str] = []
    at = kept = 0
    while match := _CARD.search(text, at):
        # What is no card may still hold the first digits of one.
        at = match.start() + 1
        if _passes_luhn(match[0].translate(_NO_DIGITS)):
            parts += (text[kept : match.start()], "[masked:card]")
            at = kept = match.end()
    return "".join((*parts, text[kept:])) if parts else text


def _passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    numbers = [ord(digit) - 48 for digit in reversed(digits)]
    return (sum(numbers[::2]) + sum(_DOUBLED[number] for number in numbers[1::2])) % 10 == 0


def _mask_value(value: Any) -> Any:
    """*value*, or where something in it was masked a copy."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, list):
        items = [_mask_value(item) for item in value]
        return items if _differ(items, value) else value
    if isinstance(value, dict):
        return _mask_object(value)
    return value


def _mask_object(value: dict[str, Any]) -> dict[str, Any]:
    keys = [mask_text(key) for key in value]
    items = [_mask_value(item) for item in value.values()]
    if not _differ(keys, value) and not _differ(items, value.values()):
        return value
    masked: dict[str, Any] = {}
    for key, item in zip(keys, items, strict=True):
        masked[next(name for name in _numbered(key) if name not in masked)] = item
    return masked


def _differ(new: list[Any], old: Iterable[Any]) -> bool:
    return any(one is not other for one, other in zip(new, old, strict=True))


def _numbered(key: str) -> Iterator[str]:
    """Names for a key: two secrets of one kind must not make one entry of two."""
    yield key
    number = 2
    while True:
        yield f"{key}#{number}"
        number += 1
