"""Scores as functions of rows: equal to the scores that are reported, and compared as the slow way compares them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimbert.data.metrics import (
    Measured,
    answer_measures,
    bootstrap_statistic,
    class_measures,
    class_scores,
    differ,
    f1,
    label_measures,
    label_scores,
    matthews,
    number_measures,
    rank_measures,
    ranks,
    regression_scores,
    scores_with,
    spearman,
    squad_scores,
    tag_measures,
    tag_scores,
)


@given(st.integers(2, 4).flatmap(lambda c: st.lists(st.tuples(*[st.integers(0, c - 1)] * 2), min_size=1, max_size=30)))
def test_classes(rows):
    labels, answers = np.array(rows).T
    size = max(2, int(max(labels.max(), answers.max())) + 1)
    found = class_measures(labels, answers, classes=size, metric="matthews")
    assert found["accuracy"].value() == pytest.approx(class_scores(labels, answers, classes=size)["accuracy"])
    assert found["matthews"].value() == pytest.approx(matthews(labels, answers), abs=1e-9)
    assert ("f1" in found) == (size == 2)
    if size == 2:
        assert found["f1"].value() == pytest.approx(f1(labels, answers))


def test_matthews_where_all_are_of_one_class():
    """In some draws only one class is left: 0, without a warning."""
    labels, answers = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1])
    found = class_measures(labels, answers, classes=2, metric="matthews")["matthews"]
    assert found.score(np.array([[1.0, 1.0, 0.0, 1.0, 0.0]])).tolist() == [0.0]
    assert -1 <= differ(found, found).low <= 0


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def test_labels_numbers_tags_answers_and_places():
    there, given_ = draw(0, 40, 3) < 0.4, draw(1, 40, 3) < 0.4
    reported = label_scores(there, given_)
    assert {name: one.value() for name, one in label_measures(there, given_).items()} == pytest.approx(
        {name: reported[name] for name in ("micro_f1", "exact")}
    )
    assert reported["micro_f1_low"] <= reported["micro_f1"] <= reported["micro_f1_high"]
    truth, answers = draw(2, 50), draw(3, 50)
    numbers = regression_scores(truth, answers)
    assert {name: one.value() for name, one in number_measures(truth, answers).items()} == pytest.approx(
        {name: numbers[name] for name in ("spearman", "pearson", "rmse", "mae")}
    )
    tags = [["B-A", "I-A", "O"], ["O", "B-B"], [], ["B-A"]], [["B-A", "O", "O"], ["O", "B-B"], [], ["B-B"]]
    names = ["O", "B-A", "I-A", "B-B", "I-B"]
    assert {name: one.value() for name, one in tag_measures(*tags, names=names).items()} == pytest.approx(
        {name: tag_scores(*tags, names=names)[name] for name in ("f1", "word_accuracy")}
    )
    words = [["x", "y"], ["y"]], [["x", "x"], ["y"]]
    found = tag_measures(*words, names=["x", "y"])
    assert {name: one.value() for name, one in found.items()} == {"word_accuracy": pytest.approx(2 / 3)}
    nothing = [["O", "O"]], [["O", "O"]]
    assert tag_scores(*nothing, names=names)["f1"] == 0 == tag_measures(*nothing, names=names)["f1"].value()
    spans = [["the cat"], [], ["dog", "a big dog"]], ["cat", "something", "big dog"]
    assert {name: one.value() for name, one in answer_measures(*spans).items()} == pytest.approx(
        {name: squad_scores(*spans)[name] for name in ("f1", "exact")}
    )
    places = rank_measures(np.array([1, 2, 11, 1]), top=10)
    assert {name: one.value() for name, one in places.items()} == {"mrr": 0.625, "recall_1": 0.5, "recall_10": 0.75}


@pytest.mark.parametrize("metric", ["f1", "matthews"])
def test_the_metric_has_an_interval(metric: str):
    labels, answers = (draw(0, 200) < 0.3).astype(int), (draw(0, 200) < 0.4).astype(int)
    found = scores_with(metric, labels, answers, classes=2)
    assert found[metric] == pytest.approx({"f1": f1, "matthews": matthews}[metric](labels, answers))
    assert found[f"{metric}_low"] < found[metric] < found[f"{metric}_high"]
    assert "accuracy_low" in found and f"{metric}_low" not in scores_with("accuracy", labels, answers, classes=2)


def test_differences_of_correlations_equal_the_slow_way():
    truth = draw(4, 150)
    good, poor = truth + 0.1 * draw(5, 150), truth + 0.8 * draw(6, 150)
    found = differ(number_measures(truth, good)["spearman"], number_measures(truth, poor)["spearman"])
    assert found.difference == pytest.approx(spearman(truth, good) - spearman(truth, poor))
    slow = bootstrap_statistic([truth, good, poor], lambda t, a, b: spearman(t, a) - spearman(t, b))
    assert (found.low, found.high) == pytest.approx(slow)  # the same draws
    assert found.low > 0 and found.p == pytest.approx(2 / 2001)
    back = differ(number_measures(truth, poor)["spearman"], number_measures(truth, good)["spearman"])
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))
    same = differ(number_measures(truth, good)["spearman"], number_measures(truth, good)["spearman"])
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_other_rows_are_refused():
    short, long = (number_measures(draw(0, n), draw(1, n)) for n in (4, 5))
    for name in short:
        with pytest.raises(ValueError, match="those of the same rows"):
            differ(short[name], long[name])
    assert isinstance(short["mae"], Measured)


def test_ranks_count_the_equal_ones_against():
    scores = np.array([[0.3, 0.9, 0.9], [0.5, 0.5, 0.5]])
    assert ranks(scores, np.array([0, 2])).tolist() == [3, 3]
    assert ranks(scores, np.array([1, 0])).tolist() == [2, 3]
