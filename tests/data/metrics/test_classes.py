"""Scores against scikit-learn; Wilson's interval against scipy."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, matthews_corrcoef

from slimbert.data import metrics
from slimbert.data.metrics import accuracy, class_scores, confusion, f1, f1_of_counts, macro_f1, matthews, wilson


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
    np.testing.assert_array_equal(
        confusion(labels, predictions, classes=4), confusion_matrix(labels, predictions, labels=range(4))
    )


@pytest.mark.parametrize("classes", [2, 4])
@given(data=st.data())
def test_matthews_equals_scikit_learn(classes, data):
    labels, predictions = data.draw(answers(classes))
    assume(len({*labels.tolist(), *predictions.tolist()}) > 1)
    assert matthews(labels, predictions) == pytest.approx(matthews_corrcoef(labels, predictions), abs=1e-12)


def test_matthews_of_known_answers():
    labels = np.array([0, 1, 0, 1, 1])
    assert matthews(labels, labels) == pytest.approx(1)
    assert matthews(labels, 1 - labels) == pytest.approx(-1)
    assert matthews(labels, np.ones_like(labels)) == matthews(np.ones_like(labels), labels) == 0
    assert matthews(np.zeros_like(labels), np.zeros_like(labels)) == 0
    many = np.repeat(labels, 400_000)  # squares of the counts would not fit 64 bits when multiplied
    assert matthews(many, np.roll(many, 400_000)) == pytest.approx(matthews(labels, np.roll(labels, 1)))


def test_confusion_refuses_unknown_classes():
    labels = np.array([0, 1, 2])
    with pytest.raises(ValueError, match="labels from 0 to 2: need 0 to 1"):
        confusion(labels, np.zeros_like(labels), classes=2)
    with pytest.raises(ValueError, match="predictions from -1 to -1"):
        confusion(labels, np.full_like(labels, -1), classes=3)


def test_f1_of_counts_is_one_function_of_any_shape():
    counts = np.array([[[2, 4, 3], [0, 0, 0]], [[0, 2, 0], [5, 5, 5]]])
    np.testing.assert_allclose(f1_of_counts(counts), [[4 / 7, 0], [0, 1]])
    assert f1_of_counts(counts[0, 0] / 7) == pytest.approx(4 / 7)


@given(right=st.integers(0, 60), wrong=st.integers(0, 60), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(right, wrong, confidence):
    rows = right + wrong + 1
    expected = stats.binomtest(right, rows).proportion_ci(confidence, method="wilson")
    assert wilson(right, rows, confidence=confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(answers(2))
def test_score_reports_everything(pair):
    labels, predictions = pair
    found = class_scores(labels, predictions, classes=2)
    assert list(found) == ["rows", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "f1"]
    assert found["accuracy_low"] <= found["accuracy"] + 1e-12
    assert found["accuracy"] <= found["accuracy_high"] + 1e-12
    assert "f1" not in class_scores(labels, predictions, classes=3)


def test_unequal_lengths_are_refused():
    for metric in (accuracy, f1, macro_f1, matthews):
        with pytest.raises(ValueError, match="3 labels and 2 predictions"):
            metric(np.zeros(3, dtype=np.int64), np.zeros(2, dtype=np.int64))


def test_every_public_name_exists():
    assert len(metrics.__all__) == len(set(metrics.__all__))
    assert all(callable(getattr(metrics, name)) for name in set(metrics.__all__) - {"Interval", "Statistic"})
