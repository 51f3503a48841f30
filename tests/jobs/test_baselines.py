"""Baselines: closed forms at toy size, and known levels on real corpora."""

import json
from dataclasses import replace

import numpy as np
import pytest

from slimbert.data.squad import Question
from slimbert.data.tasks import Split, Task, load_task
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.baselines import bm25_ranking, majority, missing, tfidf, whole_sentences
from slimbert.jobs.baselines.classes import GRID
from slimbert.jobs.static import static_vectors
from slimbert.jobs.tasks import Description, kind_of
from slimbert.jobs.tasks.embedding import rank_scores


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
    on_validation = tfidf(replace(made, test=None))
    assert on_validation.score["accuracy"] == found.chosen["validation_accuracy"]


def test_tfidf_compares_the_texts_of_a_pair():
    made = task(pairs(300, seed=0), pairs(100, seed=1), pairs(200, seed=2))
    assert tfidf(made).score["accuracy"] > 0.95


def test_the_result_is_json():
    made = task(rows(30, seed=0), rows(9, seed=1), rows(12, seed=2))
    for found in (majority(made), tfidf(made)):
        json.dumps([found.name, found.score, found.chosen, found.seconds])


def test_the_sentence_that_shares_most_words_answers():
    context = "The red fox sleeps. A dog barks."
    barks = Question("1", "What does a dog do?", context, (("A dog barks", context.index("A dog")),))
    flies = Question("2", "Who but the red fox can fly?", context, ())
    half = Split([barks, flies], [barks.answers, flies.answers])
    found = whole_sentences(Task("qa", (), ("question", "context"), "answers", half, half, half, (), "", "f1"))
    assert found.predictions == ["A dog barks.", "The red fox sleeps."]
    assert found.score == {"rows": 2, "f1": 0.5, "f1_low": 0.0, "f1_high": 1.0, "exact": 0.5}


# texts that belong together


def together(texts: list[tuple[str, str]]) -> Task:
    numbers: dict[str, int] = {}
    half = Split(texts, np.array([numbers.setdefault(row[1], len(numbers)) for row in texts], dtype=np.int64))
    return Task("embedding", (), ("query", "passage"), "", half, half, half, (), "", "mrr")


def test_bm25_ranks_all_different_second_texts():
    """By hand: the word that only one passage has; a query without any known word stands behind all of them."""
    passages = ["the red fox runs", "the blue fox sleeps", "a cat in the sun"]
    made = together([("red?", passages[0]), ("sleeps", passages[1]), ("nothing", passages[2]), ("cat", passages[2])])
    found = bm25_ranking(made, score=rank_scores)
    assert found.predictions.tolist() == [1, 1, 3, 1]
    assert found.score["mrr"] == pytest.approx((1 + 1 + 1 / 3 + 1) / 4)


def test_static_embeddings_are_means_of_the_table():
    tokenizer = TextTokenizer.train(["bama dene firi", "goso kutu lama"] * 3, 60)
    table = np.random.default_rng(0).normal(size=(tokenizer.vocab_size, 5)).astype(np.float32)
    texts = ["bama dene", "dene bama", "lama", ""]
    found = static_vectors(table, tokenizer, texts, max_len=32)
    for text, vector in zip(texts[:3], found):
        ids = tokenizer.encode([text], 32)[0][1:-1]
        mean = table[ids].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)  # without order
    assert found[3].tolist() == [0] * 5
    cut = static_vectors(table, tokenizer, ["bama dene firi goso"], max_len=4)  # [CLS], two pieces, [SEP]
    short = tokenizer.encode(["bama dene firi goso"], 4)[0][1:-1]
    np.testing.assert_allclose(cut[0] @ table[short].mean(axis=0), np.linalg.norm(table[short].mean(axis=0)), rtol=1e-5)


def test_static_embeddings_score_pairs(monkeypatch: pytest.MonkeyPatch):
    """Two texts of equal words are nearest to one another; without bm25s its ranking is left out, and that is said."""
    texts = [("bama dene", "dene bama"), ("firi goso", "goso firi"), ("kutu lama", "lama kutu")]
    tokenizer = TextTokenizer.train([text for row in texts for text in row] * 3, 60)
    table = np.random.default_rng(1).normal(size=(tokenizer.vocab_size, 16)).astype(np.float32)
    kind = kind_of(tokenizer, Description(kind="embedding", text_columns=("query", "passage"), metric="mrr"), ())
    made = together(texts)
    found = {one.name: one.score["mrr"] for one in kind.baselines(made, table=table)}
    assert found == {"BM25": 1.0, "TF-IDF vectors": 1.0, "mean of static token embeddings": 1.0}
    assert missing(made) == ()
    monkeypatch.setattr("slimbert.jobs.search.bm25.find_spec", lambda name: None)
    assert "BM25" not in [one.name for one in kind.baselines(made, table=table)]
    assert missing(made) == ('BM25 is not among the baselines: it needs pip install "slimbert[search]"',)
    assert missing(task(rows(30, seed=0), rows(9, seed=1), None)) == ()


@pytest.mark.data
@pytest.mark.parametrize(("name", "least"), [("amazon_polarity_md", 0.80), ("product_match/abt_buy", 0.90)])
def test_known_levels(data_folder, name, least):
    made = load_task(data_folder / name)
    guess, trained = majority(made), tfidf(made)
    assert trained.score["accuracy"] > max(least, guess.score["accuracy"])
