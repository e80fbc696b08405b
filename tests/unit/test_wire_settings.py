"""Settings come from a mapping, and a bad one is named."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.producer import ProducerSettings
from penstock.wire.errors import PenstockError
from penstock.wire.settings import InvalidSetting, from_mapping
from penstock.wire.settings_file import _filled
from penstock.worker.settings import WorkerConfig


@dataclass(frozen=True, kw_only=True)
class Sample:
    redis_url: str = "redis://default"
    sql_url: str = "sqlite:///default"
    batch_records: int = 10
    partitions: int | None = None
    close_timeout_s: float = 1.5
    strict: bool = False
    overflow: Literal["block", "drop"] = "block"


def test_nothing_given_is_all_defaults() -> None:
    assert from_mapping(Sample, {}) == Sample()


def test_every_type_is_read_from_text() -> None:
    given = {
        "PENSTOCK_REDIS_URL": "redis://here",
        "PENSTOCK_BATCH_RECORDS": "20",
        "PENSTOCK_PARTITIONS": "4",
        "PENSTOCK_CLOSE_TIMEOUT_S": "0.25",
        "PENSTOCK_STRICT": "Yes",
        "PENSTOCK_OVERFLOW": "drop",
    }

    assert from_mapping(Sample, given) == Sample(
        redis_url="redis://here", batch_records=20, partitions=4, close_timeout_s=0.25, strict=True, overflow="drop"
    )


@pytest.mark.parametrize("word", ["0", "false", "NO", "off"])
def test_words_for_no(word: str) -> None:
    assert from_mapping(Sample, {"PENSTOCK_STRICT": word}).strict is False


def test_empty_variable_is_the_same_as_none() -> None:
    assert from_mapping(Sample, {"PENSTOCK_BATCH_RECORDS": "", "PENSTOCK_REDIS_URL": ""}) == Sample()


def test_names_of_platforms_are_read_and_ours_win() -> None:
    platform = {"REDIS_URL": "redis://platform", "DATABASE_URL": "sqlite:///platform"}

    assert from_mapping(Sample, platform) == Sample(redis_url="redis://platform", sql_url="sqlite:///platform")
    assert from_mapping(Sample, {**platform, "PENSTOCK_REDIS_URL": "redis://ours"}).redis_url == "redis://ours"


def test_foreign_variables_are_left_alone() -> None:
    assert from_mapping(Sample, {"BATCH_RECORDS": "x", "PENSTOCK_OTHER": "x"}) == Sample()


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("PENSTOCK_BATCH_RECORDS", "many", "a whole number is needed"),
        ("PENSTOCK_PARTITIONS", "4.5", "a whole number is needed"),
        ("PENSTOCK_CLOSE_TIMEOUT_S", "soon", "a number is needed"),
        ("PENSTOCK_OVERFLOW", "spill", "one of block, drop is needed"),
        ("PENSTOCK_STRICT", "maybe", "yes or no is needed"),
    ],
)
def test_bad_value_is_told_with_its_variable(name: str, value: str, needed: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        from_mapping(Sample, {name: value})

    assert str(caught.value) == f"{name} is {value!r}; {needed}"
    assert isinstance(caught.value, PenstockError)


FORMS = {
    "penstock.toml": 'lease_ms = 7000\nslice_ms = 1000\nsql_url = "sqlite:///mine.db"\n',
    "headings.toml": '[worker]\nlease_ms = 7000\nslice_ms = 1000\n[reader]\nsql_url = "sqlite:///mine.db"\n',
    "penstock.yaml": "lease_ms: 7000\nslice_ms: 1000\nsql_url: sqlite:///mine.db\n",
    "headings.yml": "producer:\nworker:\n  lease_ms: 7000\n  slice_ms: 1000\nsql_url: sqlite:///mine.db\n",
}


def written(folder: Path, name: str, text: str) -> dict[str, str]:
    """The environment that names a file of *text*."""
    file = folder / name
    file.write_text(text)
    return {"PENSTOCK_CONFIG": str(file)}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_says_what_the_environment_does_not(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, name, FORMS[name])

    found = from_mapping(WorkerConfig, {**file, "PENSTOCK_SLICE_MS": "2000", "DATABASE_URL": "postgresql://the/apps"})

    assert (found.lease_ms, found.slice_ms, found.sql_url) == (7000, 2000, "sqlite:///mine.db")


def test_empty_variable_leaves_the_file_its_say(tmp_path: Path) -> None:
    file = written(tmp_path, "penstock.toml", "batch_records = 20")

    assert from_mapping(Sample, {**file, "PENSTOCK_BATCH_RECORDS": ""}).batch_records == 20


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "\ufeffSTRICT = true\npartitions = 4\nclose_timeout_s = 0.25"),
        ("a.toml", "strict = true\npartitions = 4\nclose_timeout_s = 0.25"),
        ("a.yaml", "strict: yes\npartitions: 4\nclose_timeout_s: .25"),
        ("a.yaml", "{strict: on, partitions: '4', close_timeout_s: 0.25}"),
    ],
)
def test_every_type_is_read_from_a_file(name: str, text: str, tmp_path: Path) -> None:
    assert from_mapping(Sample, written(tmp_path, name, text)) == Sample(
        strict=True, partitions=4, close_timeout_s=0.25
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "worker:\n", "partitions:\nredis_url: ''\n"])
def test_a_file_that_says_nothing_leaves_the_defaults(text: str, tmp_path: Path) -> None:
    assert from_mapping(Sample, written(tmp_path, "a.yaml", text)) == Sample()


@pytest.mark.parametrize("word", ["no", "007", "1e3", "2026-01-01", "0x10"])
def test_a_word_in_yaml_stays_as_it_is_written(word: str, tmp_path: Path) -> None:
    assert from_mapping(Sample, written(tmp_path, "a.yaml", f"redis_url: {word}")).redis_url == word


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${HOST}", "queue"),
        ("redis://:${PASSWORD}@${HOST}:6379", "redis://:a$${HOST}@queue:6379"),
        ("${PORT:-6379}", "6379"),
        ("${HOST:-other}", "queue"),
        ("${EMPTY:-other}", "other"),
        ("x${EMPTY}y", "xy"),
        ("${URL:-redis://a:b@c/0?d=e}", "redis://a:b@c/0?d=e"),
        ("$$", "$"),
        ("$${HOST}", "${HOST}"),
        ("a$b $HOST $", "a$b $HOST $"),
        ("${EMPTY:-}", "redis://default"),
    ],
)
def test_variables_in_a_file_are_filled_in(text: str, filled: str, tmp_path: Path) -> None:
    """Once: what a variable holds is not looked into."""
    variables = {"HOST": "queue", "PASSWORD": "a$${HOST}", "EMPTY": ""}

    for file in (
        written(tmp_path, "a.toml", f"redis_url = '{text}'"),
        written(tmp_path, "a.yml", f"redis_url: '{text}'"),
    ):
        assert from_mapping(Sample, {**file, **variables}).redis_url == filled


def test_a_number_may_come_from_a_variable(tmp_path: Path) -> None:
    file = written(tmp_path, "a.yaml", "batch_records: ${MANY:-30}")

    assert from_mapping(Sample, file).batch_records == 30
    assert from_mapping(Sample, {**file, "MANY": "40"}).batch_records == 40


def test_variables_in_the_environment_are_left_as_they_are() -> None:
    assert from_mapping(Sample, {"PENSTOCK_REDIS_URL": "${HOST}$$", "HOST": "x"}).redis_url == "${HOST}$$"


@pytest.mark.parametrize(
    ("name", "text"), [("a.toml", '# linger\n[worker]\nsql_url = "${NOT_SET}"'), ("a.yaml", "\n\nsql_url: ${NOT_SET}")]
)
def test_a_variable_that_is_not_set_is_told_with_file_line_and_name(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting) as caught:
        from_mapping(Sample, written(tmp_path, name, text))

    assert str(caught.value).startswith(f"sql_url in {tmp_path / name}, line 3 needs the variable NOT_SET")


def test_a_variable_that_only_others_need_may_be_missing(tmp_path: Path) -> None:
    """A producer shares the file, and not the database's password."""
    file = written(tmp_path, "a.toml", 'sql_url = "postgresql://u:${NOT_SET}@h/db"\nlinger_ms = 9')

    assert from_mapping(ProducerSettings, file).linger_ms == 9


def test_a_variable_that_is_not_set_does_not_matter_where_the_environment_says_more(tmp_path: Path) -> None:
    file = written(tmp_path, "a.toml", 'redis_url = "${NOT_SET}"')

    assert from_mapping(Sample, {**file, "PENSTOCK_REDIS_URL": "redis://ours"}).redis_url == "redis://ours"


def test_a_bad_value_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting) as caught:
        from_mapping(Sample, written(tmp_path, "a.toml", "# drain\nxbatch_records = 1\n\nbatch_records = 4.5\n"))

    assert str(caught.value) == f"batch_records in {tmp_path / 'a.toml'}, line 4 is '4.5'; a whole number is needed"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.toml", None, "cannot be read: No such file or directory"),
        ("a.toml", "lease_ms =", r"cannot be read: Invalid value .* as TOML; YAML is a file named \.yaml or \.yml"),
        ("a.toml", b"\xff", "cannot be read"),
        ("a.toml", "[workers]\nlease_ms = 1", r"lease_ms in .*, line 2 stands below \[workers\]; \[producer\], "),
        ("a.toml", "lease_ms = [1]", "line 1 is a table or a list"),
        ("a.toml", "[worker.more]\nlease_ms = 1", "more in .* is a table or a list"),
        ("a.toml", "lease_ms = 1\n[worker]\nlease_ms = 2", "lease_ms in .* stands twice"),
        ("a.toml", 'sql_url = "${A-B}"', r"line 1 has a \$\{ that begins no"),
        ("a.yaml", None, "cannot be read"),
        ("a.yaml", "a: b: c", r"cannot be read: mapping values are not allowed here \(at line 1\)"),
        ("a.yaml", "a: 1\n---\na: 1", "cannot be read: but found another document"),
        ("a.yaml", "a: \x00", "cannot be read: .*special characters are not allowed"),
        ("a.yaml", "? [a]\n: 1", r"a name is a word \(at line 1\)"),
        ("a.yaml", "- lease_ms", "cannot be read: no lines such as"),
        ("a.yaml", "lease_ms: [1]", "line 1 is a table or a list"),
        ("a.yaml", "lease_ms: 1\nlease_ms: 2", "lease_ms in .*, line 2 stands twice"),
    ],
)
def test_a_file_that_is_no_list_of_settings_is_refused(
    name: str, text: str | bytes | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(InvalidSetting, match=told):
        from_mapping(WorkerConfig, {"PENSTOCK_CONFIG": str(file)})


def test_a_broken_yaml_file_does_not_show_its_passwords(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting) as caught:
        from_mapping(Sample, written(tmp_path, "a.yaml", "redis_url: redis://:hunter2@h: x"))

    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_yaml_without_its_extra_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(InvalidSetting, match=r"pip install 'penstock\[yaml\]', or write TOML"):
        from_mapping(Sample, written(tmp_path, "a.yaml", "partitions: 4"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_with_its_dollars_doubled_comes_back(text: str) -> None:
    assert _filled(text.replace("$", "$$"), {}) == (text, [])
