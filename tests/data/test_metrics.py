"""Scores against scikit-learn and scipy; intervals against scipy, closed forms and coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from slimbert.data.metrics import accuracy, f1, macro_f1, over_seeds, score, wilson


def answers(classes: int = 4):
    return st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=40).map(
        lambda rows: tuple(np.array(rows).T)
    )


@given(answers())
def test_scores_equal_scikit_learn(pair):
    labels, predictions = pair
    assert accuracy(labels, predictions) == accuracy_score(labels, predictions)
    present = sorted({*labels.tolist(), *predictions.tolist()})
    expected = f1_score(labels, predictions, labels=present, average="macro", zero_division=0)
    assert macro_f1(labels, predictions) == pytest.approx(expected, abs=1e-12)
    expected = f1_score(labels == 2, predictions == 2, zero_division=0)
    assert f1(labels, predictions, positive=2) == pytest.approx(expected, abs=1e-12)


@given(right=st.integers(0, 60), wrong=st.integers(0, 60), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(right, wrong, confidence):
    rows = right + wrong + 1
    expected = stats.binomtest(right, rows).proportion_ci(confidence, method="wilson")
    assert wilson(right, rows, confidence=confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_over_seeds_equals_scipy():
    scores = [0.81, 0.84, 0.80]
    found = over_seeds(scores)
    low, high = stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
    assert (found.mean, found.deviation) == pytest.approx((np.mean(scores), np.std(scores, ddof=1)))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert over_seeds([0.5]).mean == 0.5
    assert np.isnan(over_seeds([0.5]).low)


@given(answers(2))
def test_score_reports_everything(pair):
    labels, predictions = pair
    found = score(labels, predictions, classes=2)
    assert list(found) == ["rows", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "f1"]
    assert found["accuracy_low"] <= found["accuracy"] + 1e-12
    assert found["accuracy"] <= found["accuracy_high"] + 1e-12
    assert "f1" not in score(labels, predictions, classes=3)


def test_unequal_lengths_are_refused():
    for metric in (accuracy, f1, macro_f1):
        with pytest.raises(ValueError, match="3 labels and 2 predictions"):
            metric(np.zeros(3, dtype=np.int64), np.zeros(2, dtype=np.int64))
