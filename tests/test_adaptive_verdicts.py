"""The benchmark of adaptive depth: its areas, intervals and promises."""

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_benchmarks import BENCHMARKS


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("depth_verdicts")


def right(*shares: float, rows: int = 200) -> Any:
    """Rows of which these shares are answered right, the same rows first."""
    return np.arange(rows) < np.array(shares)[:, None] * rows


# areas


def test_a_mixture_of_two_depths_costs_what_lies_between(verdicts: ModuleType):
    shares, scores = np.array([1.0, 0.2, 0.5]), np.array([[0.8, 0.6, 0.9], [0.6, 0.6, 0.6]])
    found = verdicts.reached(shares, scores, np.array([0.1, 0.2, 0.35, 0.5, 0.75, 1.0]))
    assert np.isnan(found[:, 0]).all()
    assert found[0, 1:] == pytest.approx([0.6, 0.75, 0.9, 0.9, 0.9])
    assert found[1, 1:] == pytest.approx([0.6] * 5)


def test_a_depth_below_the_line_between_two_others_counts_for_nothing(verdicts: ModuleType):
    grid = np.linspace(0.2, 1, 33)
    with_it = verdicts.reached(np.array([0.2, 0.6, 1.0]), np.array([[0.5, 0.6, 0.9]]), grid)
    without = verdicts.reached(np.array([0.2, 1.0]), np.array([[0.5, 0.9]]), grid)
    assert with_it == pytest.approx(without)


points = st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=1, max_size=8)


@given(points)
def test_what_is_reached_is_the_least_concave_rising_line_above_all_depths(some: list[tuple[float, float]]):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        reached = importlib.import_module("depth_verdicts").reached
    shares, scores = (np.array(column) for column in zip(*some, strict=True))
    grid = np.linspace(shares.min(), 1.0, 50)
    found = reached(shares, scores[None], grid)[0]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= -1e-9).all()
    if shares.min() < 1:
        assert (np.diff(found, 2) <= 1e-9).all()
    assert (reached(shares, scores[None], shares)[0] >= scores - 1e-9).all()
    assert found.max() <= scores.max() + 1e-9


@given(points, st.floats(0.01, 1))
def test_the_best_mixture_reaches_the_line(some: list[tuple[float, float]], share: float):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        verdicts = importlib.import_module("depth_verdicts")
    shares, scores = (np.array(column) for column in zip(*some, strict=True))
    found = verdicts.mixture(shares, scores, share)
    line = verdicts.reached(shares, scores[None], np.array([share]))[0, 0]
    if found is None:
        assert np.isnan(line)
        return
    assert found @ scores == pytest.approx(line, abs=1e-6)
    assert found @ shares <= share + 1e-6
    assert found.sum() == pytest.approx(1) and (found >= 0).all() and (found > 0).sum() <= 2


def test_depths_by_chance_cost_and_score_what_lies_between(verdicts: ModuleType):
    run = verdicts.Measured(np.array([1.0, 0.5, 0.2]), right(0.9, 0.8, 0.5))
    both = verdicts.mixed(run, np.array([0.25, 0.75, 0.0]))
    assert both.shares == pytest.approx([0.625])
    assert both.right.shape == (1, 200) and both.right.mean() == pytest.approx(0.825)
    found, _ = verdicts.apart([both], [verdicts.at_depth(run, 1)], verdicts.only)
    assert found.difference == pytest.approx(0.025)
    alone, _ = verdicts.apart([verdicts.mixed(run, np.eye(3)[1])], [verdicts.at_depth(run, 1)], verdicts.only)
    assert (alone.difference, alone.low, alone.high) == pytest.approx((0, 0, 0), abs=1e-6)


def test_depths_are_chosen_by_what_validation_says_of_them(verdicts: ModuleType):
    """Shares of the dense model, which costs 100 on the test, where the full depth costs 110."""
    dense = {"points": [{"macs_per_text": 100}]}
    points_of_test = [{"macs_per_text": macs} for macs in (110, 50)]
    validation = [{"macs_per_text": 55, "score": 0.9}, {"macs_per_text": 20, "score": 0.8}]
    shares, scores = verdicts.on_validation({"points": points_of_test, "validation": validation}, dense)
    assert shares == pytest.approx([1.1, 0.4])
    assert scores.tolist() == [0.9, 0.8]
    assert verdicts.mixture(shares, scores, 0.39) is None
    assert verdicts.mixture(shares, scores, 0.75) == pytest.approx([0.5, 0.5])


def test_areas_in_closed_form(verdicts: ModuleType):
    shares = np.array([0.25, 1.0])
    assert verdicts.area(0.25, 1.0)(shares, np.array([[0.7, 0.7]])) == pytest.approx([0.7])
    assert verdicts.area(0.25, 1.0)(shares, np.array([[0.5, 0.9]])) == pytest.approx([0.7])
    assert verdicts.area(0.25, 0.5)(shares, np.array([[0.5, 0.8]])) == pytest.approx([0.55])
    assert np.isnan(verdicts.area(0.1, 1.0)(shares, np.array([[0.5, 0.8]])))[0]


def test_areas_are_compared_from_where_all_reach_something(verdicts: ModuleType):
    one = [verdicts.Measured(np.array([1.0, 0.3]), right(0.9, 0.8))]
    other = [verdicts.Measured(np.array([1.0, 0.4]), right(0.9, 0.8))]
    assert verdicts.common((one, other)) == 0.4
    both = verdicts.joined([*one, *other])
    assert both.shares.tolist() == [1.0, 0.3, 1.0, 0.4] and both.right.shape == (4, 200)


# intervals


def test_an_arm_is_not_apart_from_itself(verdicts: ModuleType):
    runs = [verdicts.Measured(np.array([1.0, 0.5]), right(0.9, 0.8)) for _ in range(3)]
    found, spread = verdicts.apart(runs, runs, verdicts.area(0.5, 1.0))
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert spread == 0.0


def test_a_difference_of_paired_rows_is_surer_than_its_rows_are_many(verdicts: ModuleType):
    """Rows that both answer alike cancel: 10 rows of 200 differ, so its deviation is sqrt(0.05 * 0.95 / 200)."""
    better = [verdicts.Measured(np.array([1.0]), right(0.8))]
    worse = [verdicts.Measured(np.array([1.0]), right(0.75))]
    found, spread = verdicts.apart(better, worse, verdicts.only)
    assert found.difference == pytest.approx(0.05)
    assert spread is None
    reach = 1.96 * (0.05 * 0.95 / 200) ** 0.5
    assert found.low == pytest.approx(0.05 - reach, abs=0.01)
    assert found.high == pytest.approx(0.05 + reach, abs=0.01)
    assert "**not surely above**" not in verdicts.said_above(found, spread, what="a", peer="b")


def test_what_is_said_of_a_difference(verdicts: ModuleType):
    paired = verdicts.Paired
    above, unsure, below = (
        paired(0.01, 0.002, 0.02, 0.01),
        paired(0.0, -0.01, 0.01, 1.0),
        paired(-0.02, -0.03, -0.01, 0),
    )
    said = [verdicts.said_above(one, 0.001, what="area", peer="it") for one in (above, unsure, below)]
    assert said[0].startswith("area: +1.00 points (95% interval +0.20 to +2.00; deviation over the seeds 0.10) over it")
    assert [text.rpartition(": ")[2] for text in said] == ["above.", "**not surely above**.", "**below**."]
    assert "not below beyond" in verdicts.said_not_below(unsure, None, what="x", peer="y")
    assert "**below beyond the interval**" in verdicts.said_not_below(below, None, what="x", peer="y")


def test_rows_are_packed_and_unpacked(verdicts: ModuleType):
    row = np.random.default_rng(0).random(5463) < 0.9
    digits = verdicts.packed(row)
    assert len(digits) == 2 * -(-5463 // 8)
    assert (verdicts.unpacked(digits, 5463) == row).all()


def test_a_promise_is_kept_within_15_percent(verdicts: ModuleType):
    over, kept = verdicts.kept_promise(0.57, 0.5)
    assert over == pytest.approx(0.14) and kept
    assert not verdicts.kept_promise(0.58, 0.5)[1]
    assert verdicts.kept_promise(0.4, 0.5)[1]


def test_a_depth_is_chosen_on_validation(verdicts: ModuleType):
    test = [{"macs_per_text": macs} for macs in (100, 60, 40, 20)]
    validation = [{"score": score} for score in (0.9, 0.91, 0.896, 0.8)]
    assert verdicts.chosen(test, validation, 0.005) == 2
    assert verdicts.chosen(test, validation, 0.2) == 3
    assert verdicts.chosen(test, [{"score": 0.9}, *[{"score": 0.5}] * 3], 0.005) == 0
