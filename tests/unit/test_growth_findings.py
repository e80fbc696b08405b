"""What `benchmarks/growth` says of a curve."""

from __future__ import annotations

import pytest

from benchmarks.growth.findings import Extent, Findings, in_words, slope


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 2.0])
def test_the_slope_of_a_power_is_its_exponent(exponent: float) -> None:
    assert slope([(x, 7 * x**exponent) for x in (10, 100, 1_000, 10_000)]) == pytest.approx(exponent)


def test_a_curve_of_one_place_has_no_slope() -> None:
    assert slope([(10, 3), (10, 4)]) is None


def test_a_figure_that_hardly_changes_is_called_flat() -> None:
    assert in_words(0.02) == "slope 0.02 = flat"
    assert in_words(-0.001) == "slope 0.00 = flat"
    assert in_words(0.3) == "slope 0.30"


def test_what_was_found_before_a_failure_stays() -> None:
    found = Findings(head=("x", "y"))
    found.row(1, "2")
    found.point("y", "a", 1, 2)
    found.point("y", "a", 10, 2)

    assert found.rows == [["1", "2"]]
    assert found.panels["y"].curves == {"a": [(1, 2), (10, 2)]}


def test_a_run_to_try_it_out_has_enough_records_to_count() -> None:
    assert Extent(scale=0.0001).of(100_000) == 1_000
