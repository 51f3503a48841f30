"""What is said of each tag and of each row: entities where tags have prefixes, words where they are classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimbert.data.metrics import (
    TagScores,
    entities,
    entity_scores,
    f1,
    scores_by_tag,
    tag_measures,
    tag_scores,
    wrong_tags,
)

WORDS = ("JJ", "NN", "O", "VB")
ENTITIES = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def rows_of(names: tuple[str, ...]) -> st.SearchStrategy:
    """Rows of (right tag, answered tag), with a word at least."""
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names))
    return st.lists(st.lists(pairs, max_size=6), min_size=1, max_size=4).filter(any)


def sides(rows: list[list[tuple[str, str]]]) -> tuple[list[list[str]], list[list[str]]]:
    return [[tag for tag, _ in row] for row in rows], [[tag for _, tag in row] for row in rows]


def test_equal_neighbours_are_two_words():
    """One of two nouns is wrong: the other is right still."""
    both = [["NN", "NN", "VB"], ["VB"]], [["NN", "VB", "VB"], ["VB"]]
    assert scores_by_tag(*both, names=WORDS) == {"NN": TagScores(2, 0.5, 2 / 3), "VB": TagScores(2, 1.0, 0.8)}
    assert wrong_tags(*both, names=WORDS).tolist() == [1, 0]


def test_neighbours_of_one_entity_are_one():
    both = [["B-PER", "I-PER", "B-PER"], ["O", "O"]], [["B-PER", "O", "B-PER"], ["B-LOC", "O"]]
    assert scores_by_tag(*both, names=ENTITIES) == {"LOC": TagScores(0, None, 0.0), "PER": TagScores(2, 0.5, 0.5)}
    assert wrong_tags(*both, names=ENTITIES).tolist() == [2, 1]


@given(rows_of(WORDS))
def test_classes_of_words_have_the_scores_of_classes(rows):
    truth, answers = sides(rows)
    found = scores_by_tag(truth, answers, names=WORDS)
    labels, given_ = (np.array([WORDS.index(tag) for row in some for tag in row]) for some in (truth, answers))
    assert list(found) == [name for i, name in enumerate(WORDS) if i in labels or i in given_]
    for name, one in found.items():
        place = WORDS.index(name)
        there = labels == place
        assert one.there == there.sum()
        assert one.recall == (pytest.approx((given_[there] == place).mean()) if there.any() else None)
        assert one.f1 == pytest.approx(f1(labels, given_, positive=place))
    assert np.mean([one.f1 for one in found.values()]) == pytest.approx(
        tag_scores(truth, answers, names=WORDS)["macro_f1"]
    )
    share = tag_measures(truth, answers, names=WORDS)["word_accuracy"].value()
    assert 1 - wrong_tags(truth, answers, names=WORDS).sum() / len(labels) == pytest.approx(share)


@given(rows_of(ENTITIES))
def test_entities_have_the_scores_of_entities(rows):
    truth, answers = sides(rows)
    expected = entity_scores(truth, answers)
    found = scores_by_tag(truth, answers, names=ENTITIES)
    assert set(found) == set(expected["types"])
    for name, one in found.items():
        of_type = expected["types"][name]
        assert (one.there, one.f1) == (of_type["entities"], of_type["f1"])
        assert one.recall == (of_type["recall"] if one.there else None)
    wrong = [len({*entities(row)} ^ {*entities(answer)}) for row, answer in zip(truth, answers)]
    assert wrong_tags(truth, answers, names=ENTITIES).tolist() == wrong
