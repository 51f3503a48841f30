"""Several labels a row, against scikit-learn; thresholds against every possible cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, f1_score

from slimbert.data.metrics import (
    exact_share,
    f1_of_counts,
    label_counts,
    label_f1,
    label_scores,
    macro_label_f1,
    micro_label_f1,
    threshold_of_second,
    thresholds,
    wilson,
)

tables = st.tuples(st.integers(1, 20), st.integers(2, 5)).flatmap(lambda shape: st.tuples(*[arrays(bool, shape)] * 2))
shares = st.one_of(st.integers(0, 10).map(lambda n: n / 10), st.floats(0, 1))


@given(tables)
def test_scores_equal_scikit_learn(pair):
    labels, answers = pair
    expected = f1_score(labels, answers, average=None, zero_division=0)
    np.testing.assert_allclose(label_f1(labels, answers), expected, atol=1e-12)
    expected = f1_score(labels, answers, average="micro", zero_division=0)
    assert micro_label_f1(labels, answers) == pytest.approx(expected, abs=1e-12)
    assert float(f1_of_counts(label_counts(labels, answers).sum(axis=0))) == micro_label_f1(labels, answers)
    seen = np.flatnonzero((labels | answers).any(axis=0))
    expected = f1_score(labels, answers, labels=seen, average="macro", zero_division=0) if len(seen) else 0.0
    assert macro_label_f1(labels, answers) == pytest.approx(expected, abs=1e-12)
    assert exact_share(labels, answers) == accuracy_score(labels, answers)


def test_what_is_reported():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=bool)
    answers = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=bool)
    found = label_scores(labels, answers)
    low, high = wilson(2, 4)
    assert found.pop("micro_f1_low") <= found["micro_f1"] <= found.pop("micro_f1_high")
    assert found == pytest.approx(
        {
            "rows": 4,
            "micro_f1": 6 / 8,
            "macro_f1": (4 / 5 + 2 / 3) / 2,
            "exact": 0.5,
            "exact_low": low,
            "exact_high": high,
        }
    )


def best_f1(there: np.ndarray, probabilities: np.ndarray) -> float:
    cuts = [*probabilities, 2.0]
    return max(float(f1_of_counts(counts(there, probabilities >= cut))) for cut in cuts)


def counts(there: np.ndarray, answered: np.ndarray) -> np.ndarray:
    return np.array([(there & answered).sum(), answered.sum(), there.sum()])


@given(st.lists(st.tuples(st.booleans(), shares), min_size=1, max_size=25))
def test_no_cut_is_better_and_the_middle_is_kept(rows):
    there, probabilities = (np.array(column) for column in zip(*rows, strict=True))
    found = thresholds(there[:, None], probabilities[:, None])
    assert found.shape == (1,)
    reached = float(f1_of_counts(counts(there, probabilities >= found[0])))
    if not there.any():
        assert found[0] == 0.5
        return
    assert reached == best_f1(there, probabilities)
    if float(f1_of_counts(counts(there, probabilities >= 0.5))) == reached:
        assert found[0] == 0.5


@pytest.mark.parametrize(
    ("there", "probabilities", "expected"),
    [
        ([1, 1, 0, 0], [0.9, 0.8, 0.4, 0.1], 0.5),  # anything from above 0.4 to 0.8 separates them
        ([1, 1, 0, 0], [0.4, 0.3, 0.2, 0.1], 0.25),
        ([1, 1, 0, 0], [0.9, 0.8, 0.7, 0.1], 0.75),
        ([1, 1], [0.3, 0.2], 0.1),  # all are answered: half-way from the lowest to 0
        ([1, 0, 0, 1], [0.9, 0.8, 0.2, 0.1], 0.85),  # F1 2/3 at 0.85 (0.8 < t <= 0.9) and 4/6 at 0.05: the nearer
        ([0, 0], [0.9, 0.1], 0.5),
        ([1, 0], [0.7, 0.7], 0.5),
    ],
)
def test_ties_go_to_the_middle(there, probabilities, expected):
    found = thresholds(np.array(there, dtype=bool)[:, None], np.array(probabilities)[:, None])
    assert found[0] == pytest.approx(expected)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_neighbouring_numbers_are_told_apart(kind):
    low = kind(0.7)
    probabilities = np.array([[low], [np.nextafter(low, kind(1))]])
    labels = np.array([[False], [True]])
    np.testing.assert_array_equal(probabilities >= thresholds(labels, probabilities), labels)


def test_labels_are_independent():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.random((30, 6)) < 0.3, rng.random((30, 6))
    alone = [thresholds(labels[:, [c]], probabilities[:, [c]])[0] for c in range(6)]
    np.testing.assert_array_equal(thresholds(labels, probabilities), alone)


def test_bad_tables_are_refused():
    labels = np.ones((3, 2), dtype=bool)
    with pytest.raises(ValueError, match=r"\[3, 2\] beside \[2, 2\]"):
        micro_label_f1(labels, labels[:2])
    with pytest.raises(ValueError, match="not empty"):
        label_scores(labels[:0], labels[:0])
    with pytest.raises(ValueError, match="no numbers"):
        thresholds(labels, np.full((3, 2), np.nan))


def test_the_second_of_two_classes_has_a_threshold_where_its_f1_counts():
    labels, shares = np.array([0, 0, 1, 0, 1]), np.array([0.05, 0.1, 0.3, 0.2, 0.4])
    both = np.stack([1 - shares, shares], axis=1)
    limit = threshold_of_second("f1", labels, both)
    assert limit is not None and 0.2 < limit <= 0.3
    assert threshold_of_second("accuracy", labels, both) is None
    assert threshold_of_second("f1", labels, np.full((5, 3), 1 / 3)) is None
