"""What is taken for a secret, what is not, and that masking is harmless to the rest and never slow."""

from __future__ import annotations

import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.masking import mask_json, mask_text

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\nabc=\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r"
AWS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

API_KEYS = [
    "sk-proj-abcdefghijk0123456789XYZ",
    "sk-ant-api03-" + "aB3_-" * 18 + "AA",
    "sk-or-v1-" + "0a" * 32,
    "sk_live_" + "4eC39HqLyjWDarjtT1",
    "whsec_" + "a1B2" * 8,
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "11ABCDEFG0" * 8,
    "glpat-" + "a1B2_" * 4,
    "xoxb-123456789012-abcdefABCDEF",
    "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX".removeprefix("https://"),
    "AKIAIOSFODNN7EXAMPLE",
    "AIza" + "a1B2_" * 7,
    "ya29." + "a0AfH6SM" * 4,
    "hf_" + "aBcDe" * 7,
    "gsk_" + "aB3" * 18,
    "npm_" + "aB3c" * 9,
    "pypi-AgEIcHlwaS5vcmc" + "aB3_" * 20,
    "SG." + "a1B2" * 5 + "_-." + "a1B2" * 10,
    "SK" + "0a" * 16,
    "dop_v1_" + "0a" * 32,
    "123456789:AA" + "a1B2" * 8 + "x",
]

SECRETS = [
    *((key, "[masked:api_key]") for key in API_KEYS),
    (f'"SecretAccessKey": "{AWS_KEY}"', '"SecretAccessKey": "[masked:api_key]"'),
    (f"AWS_SECRET_ACCESS_KEY={AWS_KEY}", "AWS_SECRET_ACCESS_KEY=[masked:api_key]"),
    ("AccountKey=" + "aB3/" * 21 + "==;", "AccountKey=[masked:api_key];"),
    (r'{"key":"\nsk-proj-abcdefghijk0123456789XYZ"}', r'{"key":"\n[masked:api_key]"}'),
    (JWT, "[masked:token]"),
    ("Authorization: Bearer 0123abcd", "Authorization: Bearer [masked:token]"),
    ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [masked:token]"),
    (PEM, "[masked:private_key]"),
    (PEM.replace("\n", "\\n"), "[masked:private_key]"),
    (PEM.partition("abc=")[0], "[masked:private_key]"),
    ("postgres://app:p@ss:w0rd@db/x", "postgres://app:[masked:password]@db/x"),
    ("redis://:hunter2@db:6379/0", "redis://:[masked:password]@db:6379/0"),
    ("redis://user:hunter2", "redis://user:[masked:password]"),
    ("https://x.org/?a=1&token=abc&b=2", "https://x.org/?a=1&token=[masked:password]&b=2"),
    ("first.last+tag@mail.example.co.uk", "[masked:email]"),
    ("4111111111111111", "[masked:card]"),
    ("4111-1111-1111-1111", "[masked:card]"),
    ("3782 822463 10005", "[masked:card]"),
    ("5234 4111 1111 1111 1111", "5234 [masked:card]"),
]

HARMLESS = [
    "",
    "The quick brown fox, 2024-11-21 12:10:15.",
    "task-abcdefghijklmnopqrstuvwxyz-0123456789",
    "risk-assessment-of-the-whole-department-2024",
    "a sk-learn-based-pipeline-for-regression",
    "the bearer responsibilities. Bearer of-bad-news",
    "http://localhost:8080",
    "see http://[::1]:8080/@me, or http://host:80.",
    "4111111111111112 is no card, 1732190000000000 a time, 0.4111111111111111 a fraction",
    "2024-01-01 2024-01-02 2024-01-03",
    "0190f3e5-7c2a-7d3e-8a4b-41111111111a",
    "someone@localhost, @handle, a @ b",
    "-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEA7bq\n-----END CERTIFICATE-----",
]


@pytest.mark.parametrize(("secret", "masked"), SECRETS)
def test_a_secret_is_masked_wherever_it_stands(secret: str, masked: str) -> None:
    assert mask_text(secret) == masked
    assert mask_text(f"before {secret}") == f"before {masked}"
    assert mask_text(f"钥匙:{secret}") == f"钥匙:{masked}"


@pytest.mark.parametrize("secret", [*API_KEYS, JWT, PEM, "a@b.co", "4111111111111111", "redis://u:p@h"])
def test_what_stands_behind_a_secret_is_kept(secret: str) -> None:
    for after in (" and", "\n", ", ", '"', "，好"):  # noqa: RUF001 - a comma as people write it
        assert mask_text(secret + after) == mask_text(secret) + after


@pytest.mark.parametrize("text", HARMLESS)
def test_text_without_secrets_is_returned_as_the_same_object(text: str) -> None:
    assert mask_text(text) is text


@pytest.mark.parametrize("cut", range(20, len(PEM), 7))
def test_what_follows_a_masked_beginning_is_masked_too(cut: int) -> None:
    """A stream that was stored as interrupted goes on: its text so far is masked already."""
    assert mask_text(mask_text(f"key {PEM[:cut]}") + PEM[cut:] + " end") == "key [masked:private_key] end"


@pytest.mark.parametrize("secret", [*API_KEYS[:7], JWT])
def test_the_rest_of_a_masked_token_is_masked_too(secret: str) -> None:
    kind = "token" if secret == JWT else "api_key"

    for cut in range(1, len(secret)):
        assert mask_text(mask_text(secret[:cut]) + secret[cut:]) == f"[masked:{kind}]"


PIECES = st.sampled_from(
    [
        *(secret for secret, _ in SECRETS),
        *HARMLESS,
        *"@:/.-_ 4\n\\[]?=&;'\"aZ0é",
        *("://", "sk-", "eyJ", "Bearer ", "PRIVATE KEY-----", "-----BEGIN ", "-----END ", "a@b.co", "1111"),
        *("[masked:email]", "[masked:api_key]", "[masked:password]", "[masked:private_key]", "[masked:", "token="),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)


@given(TEXTS)
def test_masked_text_stays_as_it_is(text: str) -> None:
    masked = mask_text(text)

    assert mask_text(masked) == masked
    assert masked != text or masked is text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def shape(value: object) -> object:
    """*value* without its texts."""
    if isinstance(value, dict):
        return [shape(item) for item in value.values()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return str if isinstance(value, str) else value


@given(JSON)
def test_masked_json_is_json_of_the_same_shape(value: object) -> None:
    encoded = orjson.dumps(value)

    masked = mask_json(encoded)

    assert shape(orjson.loads(masked)) == shape(value)
    assert mask_json(masked) == masked


@given(JSON)
def test_json_without_secrets_is_returned_as_the_same_object(value: object) -> None:
    encoded = mask_json(orjson.dumps(value))

    assert mask_json(encoded) is encoded


def test_every_string_of_json_is_masked_and_no_entry_is_lost() -> None:
    encoded = b'{"a@b.co":1,"c@d.co":{"x":["sk-proj-abcdefghijk0123456789XYZ",2.50,null]}}'

    assert mask_json(encoded) == b'{"[masked:email]":1,"[masked:email]#2":{"x":["[masked:api_key]",2.5,null]}}'


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="unexpected"):
        mask_json(b"{not json")


HOSTILE = [
    *("a", "1", "1 ", "5555 ", "4111 1111 1111 1112 ", "sk-", "sk-A", "a@", "@", "a.", "x@y.", "a@" + "x.1." * 40),
    *("://", "://a:", "://a:b@", "?", "?a", "&token=", "-", "\\", "[masked:private_key]", "[masked:token]."),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----END PRIVATE KEY-----", "A" * 16 + " "),
    *("eyJ", "-eyJ12345678", "eyJaaaaaaaa.", "Bearer ", "Bearer a", "authorization: basic ", "secret_access_key"),
    *("AKIA", "SG.", "1234567890:AA", "xoxb-", "hf_"),
]
ANCHORS = " @ sk- eyJ PRIVATE earer asic = :// ccess [masked:private_key] [masked:token] :AA -----END PRIVATE KEY-----"


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_megabyte_of_anything_takes_seconds_and_not_minutes(piece: str) -> None:
    text = (piece * (1_000_000 // len(piece))) + ANCHORS

    began = time.process_time()
    mask_text(text)

    assert time.process_time() - began < 5
