"""Correlations against scipy."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from slimbert.data.metrics import correlation_interval, mae, pearson, regression_scores, rmse, spearman

numbers = st.one_of(st.integers(0, 5).map(float), st.floats(-1e3, 1e3, allow_subnormal=False, width=16))
pairs = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30).map(lambda rows: tuple(np.array(rows).T))


@given(pairs)
def test_correlations_equal_scipy(pair):
    x, y = pair
    assume(np.ptp(x) > 1e-2 and np.ptp(y) > 1e-2)  # below, scipy warns that its own result may be off
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


@given(pairs)
def test_distances(pair):
    x, y = pair
    assert rmse(x, y) == pytest.approx(np.linalg.norm(x - y) / len(x) ** 0.5)
    assert mae(x, y) == pytest.approx(abs(x - y).sum() / len(x))
    assert mae(x, y) <= rmse(x, y) * (1 + 1e-12)


@pytest.mark.parametrize("constant", [[0.1, 0.1, 0.1], [0.0, 0.0, 0.0], [1e300, 1e300, 1e300]])
def test_nothing_to_follow_is_no_correlation(constant):
    other = [1.0, 2.0, 3.0]
    for score in (pearson, spearman):
        assert score(constant, other) == score(other, constant) == score(constant, constant) == 0.0
    assert pearson([3.0], [2.0]) == 0.0


def test_scale_does_not_matter():
    x, y = np.array([1.0, 2.0, 4.0, 3.0]), np.array([0.5, 3.0, 2.0, 2.5])
    for scale in (1e-200, 1e200):
        assert pearson(scale * x, y) == pytest.approx(pearson(x, y))
    assert pearson(x, 3 * x + 1) == pytest.approx(1)
    assert spearman(x, np.exp(x)) == 1.0
    assert spearman(x, -(x**3)) == -1.0


def test_what_is_reported():
    found = regression_scores([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    ends = {"pearson_low": -1, "pearson_high": 1, "spearman_low": -1, "spearman_high": 1}  # three rows say nothing
    scores = {"rows": 3, "pearson": 0.5, "spearman": 0.5, "rmse": (2 / 3) ** 0.5, "mae": 2 / 3}
    assert found == pytest.approx(scores | ends)
    constant = regression_scores([1.0, 2.0, 3.0, 4.0], [2.0] * 4)
    assert list(constant) == ["rows", "pearson", "spearman", "rmse", "mae"] and constant["spearman"] == 0


@given(pairs.filter(lambda pair: len(pair[0]) > 3))
def test_intervals_of_pearson_equal_scipy(pair):
    x, y = pair
    assume(np.ptp(x) > 1e-2 and np.ptp(y) > 1e-2)
    assume(abs(pearson(x, y)) < 1 - 1e-9)
    expected = stats.pearsonr(x, y).confidence_interval()
    assert correlation_interval(pearson(x, y), len(x)) == pytest.approx(tuple(expected), abs=1e-6)
    low, high = correlation_interval(spearman(x, y), len(x), ranked=True)
    assert -1 <= low <= spearman(x, y) <= high <= 1


def test_interval_of_spearman_covers_as_often_as_it_says():
    """400 samples of 60 rows with a correlation of ranks of 0.67: it lies within about 95 of 100 intervals."""
    rng = np.random.default_rng(0)
    true = 6 / np.pi * np.arcsin(0.69 / 2)  # of normal numbers with Pearson's 0.69
    covered = 0
    for _ in range(400):
        x = rng.normal(size=60)
        y = 0.69 * x + (1 - 0.69**2) ** 0.5 * rng.normal(size=60)
        low, high = correlation_interval(spearman(x, y), 60, ranked=True)
        covered += low <= true <= high
    assert 0.91 <= covered / 400 <= 0.985  # 95% +- 3 deviations of 1.1%


def test_perfect_correlations_are_sure():
    assert correlation_interval(1.0, 10) == (1.0, 1.0)
    assert correlation_interval(-1.0, 10, ranked=True) == (-1.0, -1.0)
    assert correlation_interval(0.3, 3) == (-1.0, 1.0)


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match=r"truth \[2\] and answers \[3\]"):
        pearson([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no numbers"):
        rmse([1.0, float("nan")], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one row"):
        mae([], [])
