"""Baselines: closed forms at toy size, and known levels on real corpora."""

import json

import numpy as np
import pytest

from slimbert.data.tasks import Split, Task, load_task
from slimbert.jobs.baselines import baselines, majority, tfidf
from slimbert.jobs.baselines.classes import GRID


def task(train: Split, validation: Split, test: Split | None) -> Task:
    kind = "classification" if isinstance(train.texts[0], str) else "pair"
    columns = ("text",) if kind == "classification" else ("a", "b")
    return Task(kind, ("no", "yes"), columns, "label", train, validation, test, (), "")


def rows(count: int, *, seed: int) -> Split:
    """Texts of class 1 hold "good", those of class 0 "bad", among words that say nothing; two thirds are class 1."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 3 > 0).astype(np.int64)
    texts = [
        f"word{a} {('bad', 'good')[label]} word{b}" for label, (a, b) in zip(labels, rng.integers(0, 50, (count, 2)))
    ]
    return Split(texts, labels)


def pairs(count: int, *, seed: int) -> Split:
    """Class 1 where both texts hold the same two words: no single word tells."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    first = rng.integers(0, 30, (count, 2))
    second = np.where(labels[:, None] == 1, first[:, ::-1], rng.integers(0, 30, (count, 2)))
    return Split([(f"w{a} w{b}", f"w{c} w{d}") for (a, b), (c, d) in zip(first, second)], labels)


def test_majority_is_the_class_of_train():
    found = majority(task(rows(30, seed=0), rows(9, seed=1), rows(12, seed=2)))
    assert found.predictions.tolist() == [1] * 12
    assert found.score["accuracy"] == pytest.approx(8 / 12)


def test_tfidf_learns_words_and_chooses_on_validation():
    made = task(rows(60, seed=0), rows(30, seed=1), rows(30, seed=2))
    found = tfidf(made)
    assert found.score["accuracy"] == 1.0
    assert found.chosen["C"] in GRID
    assert found.predictions.tolist() == tfidf(made).predictions.tolist()
    on_validation = tfidf(made, on=made.validation)
    assert on_validation.score["accuracy"] == found.chosen["validation_accuracy"]
    assert len(tfidf(task(made.train, made.validation, None)).predictions) == len(made.validation)


def test_tfidf_compares_the_texts_of_a_pair():
    made = task(pairs(300, seed=0), pairs(100, seed=1), pairs(200, seed=2))
    assert tfidf(made).score["accuracy"] > 0.95


def test_the_result_is_json():
    made = task(rows(30, seed=0), rows(9, seed=1), rows(12, seed=2))
    for found in baselines(made):
        json.dumps([found.name, found.score, found.chosen, found.seconds])


@pytest.mark.data
@pytest.mark.parametrize(("name", "least"), [("amazon_polarity_md", 0.80), ("product_match/abt_buy", 0.90)])
def test_known_levels(data_folder, name, least):
    guess, trained = baselines(load_task(data_folder / name))
    assert trained.score["accuracy"] > max(least, guess.score["accuracy"])
