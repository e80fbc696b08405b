"""Which settings a run's figures speak for."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.cli.bench_levers import Medians, Setup, levers
from penstock.producer import ProducerSettings
from penstock.worker.settings import WorkerConfig

FINE = Medians(
    call_us=3,
    call_p99_us=20,
    into=100_000,
    into_limit=150_000,
    drained=80_000,
    drained_limit=90_000,
    stored_ms=30,
    stored_p99_ms=60,
    round_trip_ms=0.1,
)
USUAL = Setup(ProducerSettings(), WorkerConfig(), "everysec", has_uvloop=True, is_postgres=True)


def test_where_all_is_well_no_lever_is_told() -> None:
    assert levers(FINE, USUAL) == []


@pytest.mark.parametrize(
    ("found", "setup", "told"),
    [
        ({"call_us": 30}, {}, "no setting helps"),
        ({}, {"appendfsync": "always"}, "everysec"),
        ({}, {"producer": ProducerSettings(durability="fsync")}, "PENSTOCK_DURABILITY=fast"),
        ({"round_trip_ms": 2}, {}, "PENSTOCK_COMPRESSION=zstd"),
        ({}, {"has_uvloop": False}, "penstock[uvloop]"),
        ({}, {"worker": WorkerConfig(batch_records=100)}, "PENSTOCK_BATCH_RECORDS is 100"),
        ({"drained": 20_000}, {}, "another `penstock worker`"),
        ({"drained": 20_000}, {"is_postgres": False}, "one writer"),
        ({"stored_ms": 120}, {"producer": ProducerSettings(linger_ms=100)}, "PENSTOCK_LINGER_MS is 100"),
        ({"stored_ms": 120}, {}, "longer than it should"),
    ],
)
def test_each_figure_that_is_not_well_names_its_lever(
    found: dict[str, float], setup: dict[str, Any], told: str
) -> None:
    (line,) = levers(FINE._replace(**found), USUAL._replace(**setup))

    assert told in line


@pytest.mark.parametrize(
    ("found", "setup"),
    [
        ({"round_trip_ms": 2}, {"producer": ProducerSettings(compression="zstd")}),
        ({}, {"has_uvloop": False, "worker": WorkerConfig(uvloop="never")}),
    ],
)
def test_a_lever_that_is_pulled_already_is_not_told(found: dict[str, float], setup: dict[str, Any]) -> None:
    assert levers(FINE._replace(**found), USUAL._replace(**setup)) == []
