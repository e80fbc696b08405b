"""Settings come from a mapping, and a bad one is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from penstock.wire.errors import PenstockError
from penstock.wire.settings import InvalidSetting, from_mapping
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
        ("PENSTOCK_BATCH_RECORDS", "many", "int is needed"),
        ("PENSTOCK_PARTITIONS", "4.5", "int is needed"),
        ("PENSTOCK_CLOSE_TIMEOUT_S", "soon", "float is needed"),
        ("PENSTOCK_OVERFLOW", "spill", "one of block, drop is needed"),
        ("PENSTOCK_STRICT", "maybe", "yes or no is needed"),
    ],
)
def test_bad_value_is_told_with_its_variable(name: str, value: str, needed: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        from_mapping(Sample, {name: value})

    assert str(caught.value) == f"{name} is {value!r}; {needed}"
    assert isinstance(caught.value, PenstockError)


def test_a_file_says_what_the_environment_does_not(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text('lease_ms = 7000\nslice_ms = 1000\nsql_url = "sqlite:///mine.db"\n')

    found = from_mapping(
        WorkerConfig,
        {"PENSTOCK_CONFIG": str(file), "PENSTOCK_SLICE_MS": "2000", "DATABASE_URL": "postgresql://the/apps"},
    )

    assert (found.lease_ms, found.slice_ms, found.sql_url) == (7000, 2000, "sqlite:///mine.db")


@pytest.mark.parametrize(
    ("text", "told"), [(None, "cannot be read"), ("lease_ms =", "cannot be read"), ("[worker]", "worker is a table")]
)
def test_a_file_that_is_no_list_of_settings_is_refused(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "penstock.toml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(InvalidSetting, match=told):
        from_mapping(WorkerConfig, {"PENSTOCK_CONFIG": str(file)})
