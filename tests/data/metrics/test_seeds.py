"""Intervals against scipy, closed forms and coverage. Draws are seeded, so nothing here changes from run to run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from slimbert.data.metrics import (
    Paired,
    bootstrap_interval,
    bootstrap_score,
    bootstrap_statistic,
    f1_of_counts,
    over_seeds,
    paired_bootstrap,
    seeds,
    spearman,
)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(5).gamma(2.0, size=400)


def test_over_seeds_equals_scipy():
    scores = [0.81, 0.84, 0.80]
    found = over_seeds(scores)
    low, high = stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
    assert (found.mean, found.deviation) == pytest.approx((np.mean(scores), np.std(scores, ddof=1)))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert over_seeds([0.5]).mean == 0.5
    assert np.isnan(over_seeds([0.5]).low)


def test_interval_equals_scipys_percentile_bootstrap(values):
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    spread = values.std() / len(values) ** 0.5
    # each end is a quantile of 10,000 draws: deviation of about 0.027 spreads, for both sides 0.04; 4 of them
    assert bootstrap_interval(values) == pytest.approx((expected.low, expected.high), abs=0.16 * spread)


@pytest.mark.parametrize("way", ["drawn", "counted"])
def test_means_have_the_known_mean_and_variance(way, monkeypatch):
    """Both ways to draw give the bootstrap's distribution: mean of the rows, covariance of the rows / N."""
    monkeypatch.setattr(seeds, "FEW", -1.0 if way == "drawn" else 2.0)
    rows = np.random.default_rng(1).integers(0, 3, size=(50, 2)).astype(float)
    draws = 40_000
    means = seeds._means(rows, draws, 7)
    covariance = np.cov(rows.T, bias=True) / len(rows)
    deviation = np.sqrt(np.diag(covariance))
    assert means.shape == (draws, 2)
    np.testing.assert_allclose(means.mean(axis=0), rows.mean(axis=0), atol=5 * deviation.max() / draws**0.5)
    # a variance of 40,000 draws is known to a relative sqrt(2 / 40,000) = 0.7%; 5 of them
    np.testing.assert_allclose(np.cov(means.T), covariance, atol=0.035 * covariance.max())


@pytest.mark.parametrize("chunk", [1, 700, 1 << 21])
def test_pieces_change_nothing_but_the_memory(chunk, monkeypatch, values):
    monkeypatch.setattr(seeds, "CHUNK", chunk)
    expected = np.mean(values) + np.array([-1.96, 1.96]) * values.std() / len(values) ** 0.5
    assert bootstrap_interval(values, draws=2000) == pytest.approx(tuple(expected), abs=0.02)
    assert bootstrap_interval(values.round(), draws=999) == bootstrap_interval(values.round(), draws=999)


def test_interval_covers_as_often_as_it_says():
    """300 samples of 80 rows of which 70% are right: the true share lies within about 95 of 100 intervals."""
    rng = np.random.default_rng(3)
    intervals = [bootstrap_interval(rng.random(80) < 0.7, draws=1000, seed=number) for number in range(300)]
    covered = np.mean([low <= 0.7 <= high for low, high in intervals])
    assert 0.90 <= covered <= 0.98  # 95% less the bias of few rows, +- 3 deviations of 1.3%


def test_score_of_counts_equals_the_slow_way():
    counts = np.random.default_rng(2).integers(0, 4, size=(300, 3)).cumsum(axis=1)
    fast = bootstrap_score(counts, f1_of_counts)
    slow = bootstrap_statistic([counts], lambda rows: float(f1_of_counts(rows.sum(axis=0))), draws=4000)
    assert fast == pytest.approx(slow, abs=0.1 * (fast[1] - fast[0]))
    middle = float(f1_of_counts(counts.sum(axis=0)))
    assert fast[0] < middle < fast[1]


def test_statistic_takes_any_score():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=200)
    answers = truth + rng.normal(size=200)
    low, high = bootstrap_statistic([truth, answers], spearman, draws=500)
    assert low < spearman(truth, answers) < high
    # Fisher's z with Bonett & Wright's variance is close at 200 rows
    z, reach = np.arctanh(spearman(truth, answers)), 1.96 * np.sqrt((1 + spearman(truth, answers) ** 2 / 2) / 197)
    assert (low, high) == pytest.approx((np.tanh(z - reach), np.tanh(z + reach)), abs=0.03)


def test_equal_runs_do_not_differ(values):
    assert paired_bootstrap(values, values.copy()) == Paired(0.0, 0.0, 0.0, 1.0)
    counts = np.random.default_rng(2).integers(0, 4, size=(300, 3)).astype(float) / 3
    assert paired_bootstrap(counts, counts.copy(), statistic=f1_of_counts) == Paired(0.0, 0.0, 0.0, 1.0)


def test_paired_is_antisymmetric(values):
    other = values + np.random.default_rng(6).normal(0.05, 0.5, size=len(values))
    there, back = paired_bootstrap(values, other), paired_bootstrap(other, values)
    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low))
    assert back.p == there.p


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.1])
def test_paired_p_is_that_of_the_t_test(shift, values):
    """With 400 differences the mean is as good as normal."""
    other = values - shift + np.random.default_rng(8).normal(0, 0.8, size=len(values))
    found = paired_bootstrap(values, other)
    expected = stats.ttest_rel(values, other)
    assert found.difference == pytest.approx(np.mean(values - other))
    # a share of 10,000 draws: deviation of p at most 0.01, 3 of them
    assert found.p == pytest.approx(expected.pvalue, abs=0.03)
    low, high = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_pairing_helps():
    """Two runs that fail on the same rows: the difference is surer than either score."""
    rng = np.random.default_rng(9)
    a = rng.random(500) < 0.6
    b = a ^ (rng.random(500) < 0.02)
    found = paired_bootstrap(a, b)
    low, high = bootstrap_interval(a)
    assert found.high - found.low < 0.5 * (high - low)
    assert found.difference == pytest.approx(a.mean() - b.mean())


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
    seed=st.integers(0, 5),
)
@settings(max_examples=50)
def test_interval_and_p_agree(rows, seed):
    a, b = np.array(rows).T
    draws = 400
    found = paired_bootstrap(a, b, draws=draws, seed=seed)
    assert found.low <= found.high
    assert 0 < found.p <= 1
    slack = 6 / draws  # the ends are interpolated between draws, and p counts one draw more
    if found.low > 0 or found.high < 0:
        assert found.p <= 0.05 + slack
    if found.low < 0 < found.high:
        assert found.p >= 0.05 - slack


def test_nearly_nothing_is_sure_to_be_nothing():
    """0.1 + 0.2 and 0.3 differ by rounding only."""
    assert paired_bootstrap(np.full(20, 0.1 + 0.2), np.full(20, 0.3)).p == 1.0


def test_bad_rows_are_refused():
    with pytest.raises(ValueError, match="need finite ones"):
        bootstrap_interval([0.5, float("nan")])
    with pytest.raises(ValueError, match="at least one row"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="those of the same rows"):
        paired_bootstrap([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="3 numbers per row: say which statistic"):
        bootstrap_interval(np.ones((4, 3)))
    with pytest.raises(ValueError, match="equally many"):
        bootstrap_statistic([np.ones(3), np.ones(2)], spearman)
