"""Baselines: closed forms at toy size, and known levels on real corpora."""

import json
from dataclasses import replace

import numpy as np
import pytest

from slimbert.data.squad import Question
from slimbert.data.tagging import Tagged, of_text, of_words
from slimbert.data.tasks import Split, Task, load_task
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.baselines import (
    bm25_ranking,
    frequent_labels,
    frequent_tags,
    majority,
    mean_number,
    missing,
    tfidf,
    tfidf_labels,
    tfidf_ridge,
    whole_sentences,
)
from slimbert.jobs.baselines.classes import GRID
from slimbert.jobs.baselines.numbers import GRID as PENALTIES
from slimbert.jobs.baselines.words import vectorizer
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


# numbers, several labels, tags


def sums(count: int, *, seed: int) -> Split:
    """Two words of twenty; the number of a text is the sum of theirs."""
    drawn = np.random.default_rng(seed).integers(0, 20, (count, 2))
    return Split([f"word{a} word{b}" for a, b in drawn], drawn.sum(axis=1).astype(np.float64))


def test_ridge_is_the_closed_form_of_the_penalty_that_validation_chooses():
    """w = (X'X + aI)^-1 X'(y - mean), X without its mean; beside it the mean of train, on the same rows."""
    train, held, test = (sums(count, seed=seed) for seed, count in enumerate((60, 30, 40)))
    made = Task("regression", ("score",), ("text",), "score", train, held, test, (), "", "spearman")
    plain = mean_number(made)
    assert plain.predictions.tolist() == [train.labels.mean()] * 40
    assert plain.score["rmse"] == pytest.approx(float(np.sqrt(np.mean((test.labels - train.labels.mean()) ** 2))))
    words = vectorizer(train.texts)
    known, checked, asked = (words.transform(part.texts).toarray() for part in (train, held, test))
    middle, off = known.mean(axis=0), train.labels - train.labels.mean()

    def answers(rows: np.ndarray, penalty: float) -> np.ndarray:
        centred = known - middle
        weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(len(middle)), centred.T @ off)
        return (rows - middle) @ weights + train.labels.mean()

    errors = [float(np.sqrt(np.mean((held.labels - answers(checked, one)) ** 2))) for one in PENALTIES]
    found = tfidf_ridge(made)
    assert found.chosen["alpha"] == PENALTIES[int(np.argmin(errors))]
    assert found.chosen["validation_rmse"] == pytest.approx(min(errors), rel=1e-2)  # the solver stops at 1e-4
    np.testing.assert_allclose(found.predictions, answers(asked, found.chosen["alpha"]), atol=0.05)
    assert found.score["spearman"] > 0.8 and found.score["rmse"] < plain.score["rmse"] / 2


def sets(train: list[list[int]], test: list[list[int]]) -> Task:
    parts = [Split(["a text"] * len(rows), np.array(rows, dtype=bool)) for rows in (train, test, test)]
    return Task("multilabel", ("x", "y", "z"), ("text",), "labels", *parts, (), "", "micro_f1")


def test_the_labels_of_half_the_rows_are_given_always():
    found = frequent_labels(sets([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], [[1, 1, 0], [0, 0, 1]]))
    assert found.predictions.tolist() == [[True, True, False]] * 2  # on 3, 2 and 0 of 4
    assert found.score["micro_f1"] == pytest.approx(2 * 2 / (4 + 3))
    found = frequent_labels(sets([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], [[0, 1, 1]]))
    assert found.predictions.tolist() == [[False, True, False]]  # none on half of them: the most frequent


def test_a_regression_for_each_label():
    """Each label has a word of its own; one is on every row of train."""
    parts = []
    for seed, count in enumerate((80, 40, 40)):
        there = np.random.default_rng(seed).random((count, 2)) < 0.5
        texts = [" ".join(["so", *(word for word, yes in zip(("red", "blue"), row) if yes)]) for row in there]
        parts.append(Split(texts, np.concatenate([there, np.ones((count, 1), dtype=bool)], axis=1)))
    found = tfidf_labels(Task("multilabel", ("r", "b", "all"), ("text",), "labels", *parts, (), "", "micro_f1"))
    assert found.predictions.tolist() == parts[2].labels.tolist() and found.score["micro_f1"] == 1.0


def tagged(labels: tuple[str, ...], *parts: list[Tagged]) -> Task:
    """With tags by number; the last part is that of validation and of the test."""
    train, test = (
        Split(
            [replace(one, tags=None) for one in rows],
            [np.array([labels.index(tag) for tag in one.tags or ()]) for one in rows],
        )
        for rows in parts
    )
    return Task("ner", labels, ("tokens",), "ner_tags", train, test, test, (), "", "f1")


ENTITIES = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def test_each_word_has_its_most_frequent_tag():
    """By hand: bank is outside twice of three times, ada a person twice; a word that train does not have is outside."""
    train = [
        of_words(["ada", "bank"], ["B-PER", "O"]),
        of_words(["bank", "bank"], ["B-LOC", "O"]),
        of_words(["ada", "ada", "oslo"], ["B-PER", "B-LOC", "B-LOC"]),
    ]
    test = [of_words(["ada", "bank", "oslo", "new"], ["B-PER", "B-LOC", "B-LOC", "B-PER"])]
    found = frequent_tags(tagged(ENTITIES, train, test))
    assert found.predictions == [["B-PER", "O", "B-LOC", "O"]]
    assert [found.score[name] for name in ("precision", "recall", "word_accuracy")] == [1.0, 0.5, 0.5]
    assert found.score["f1"] == pytest.approx(2 / 3)


def test_an_unknown_word_has_the_most_frequent_class_where_there_is_no_outside():
    train = [of_words(["a", "cat", "naps"], ["DET", "NOUN", "VERB"]), of_words(["cats"], ["NOUN"])]
    found = frequent_tags(
        tagged(("DET", "NOUN", "VERB"), train, [of_words(["a", "dog", "naps"], ["DET", "VERB", "VERB"])])
    )
    assert found.predictions == [["DET", "NOUN", "VERB"]]
    assert found.score["word_accuracy"] == pytest.approx(2 / 3)


def test_a_word_that_a_span_cuts_is_known_as_a_whole():
    train = [of_text("USD100 paid", [(0, 3, "CUR")]), of_text("it paid", [])]
    assert train[0].words == ("USD", "100", "paid")
    found = frequent_tags(tagged(("O", "B-CUR", "I-CUR"), train, train))
    assert found.predictions == [["B-CUR", "I-CUR", "O"], ["O", "O"]]


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
