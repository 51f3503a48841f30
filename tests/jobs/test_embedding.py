"""Vectors as a job: pairs come near one another, batches larger than memory give the same gradients, others read it."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from jobs.small import WORDS
from slimbert.data.tasks import Split, load_task
from slimbert.data.tasks.pairs import Candidates, negatives
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.answers import vectors as embedded
from slimbert.jobs.compare import compare
from slimbert.jobs.evaluate import evaluate
from slimbert.jobs.finetune import finetune, settings_of
from slimbert.jobs.predict import load
from slimbert.jobs.tasks import Description, kind_of
from slimbert.jobs.tasks.embedding import rank_scores
from slimbert.train.contrast import in_batch, scored

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
HERE: dict[str, Any] = {"device": "cpu", "quiet": True}


def write(path: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def pairs(count: int, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """A word of the first text stands for one of the second: the next in the list of words."""
    draw = random.Random(seed)
    first, second = [], []
    for _ in range(count):
        chosen = [draw.randrange(len(WORDS)) for _ in range(3)]
        first.append(" ".join(WORDS[i] for i in chosen))
        second.append(" ".join(WORDS[(i + 1) % len(WORDS)] for i in chosen))
    return first, second


@pytest.mark.parametrize(
    "options", [(), ("max_len=16", "chunk=64", "batch_size=24"), ("widths=[8,16]",)], ids=["plain", "chunks", "widths"]
)
def test_what_belongs_together_comes_near(encoder: Path, tmp_path: Path, options: tuple):
    first, second = pairs(400)
    data = write(tmp_path / "a.parquet", query=first, passage=second)
    made = finetune(encoder, data, out=tmp_path / "run", settings=("lr=2e-3", "min_updates=200", *options), **HERE)
    assert (made.kind, made.metric) == ("embedding", "mrr")
    assert made.test is not None
    assert made.test["mrr"] > 0.6 > max(score["mrr"] for score in made.baselines.values())
    assert list(made.baselines) == ["BM25", "TF-IDF vectors", "mean of static token embeddings"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "| MRR@10 |" in card and "| MRR@10 of BM25 |" in card and "| labels |" not in card
    run = load(tmp_path / "run")
    near, far = run.predict([(first[0], second[0]), (first[0], second[1])])
    assert near.similarity > far.similarity
    vectors = run.embed([first[0], second[0]])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(near.similarity, abs=1e-5)
    compared_with_itself(tmp_path / "run", data, rows=400, scores=["mrr", "recall_1", "recall_10"])
    (tmp_path / "texts.txt").write_text("\n".join(second[:3]))
    (tmp_path / "texts.csv").write_text("\n".join(["text", *second[:3]]))
    alone = [vector for some in embedded(tmp_path / "run", second[:3]) for vector in some]
    np.testing.assert_allclose([one.vector for one in alone], run.embed(second[:3]), atol=1e-6)
    for name in ("texts.txt", "texts.csv"):
        assert [vector for some in embedded(tmp_path / "run", file=tmp_path / name) for vector in some] == alone
    asked = embedded(tmp_path / "run", file=data, text_columns=("passage",))
    assert next(asked)[0] == alone[0]
    with pytest.raises(InputError, match="--text-column: 2 given, a vector is of one text"):
        next(embedded(tmp_path / "run", file=data, text_columns=("query", "passage")))


def compared_with_itself(run: Path, data: Path, *, rows: int, scores: list[str]) -> None:
    """`compare` names the scores of `evaluate`, the most important first, and finds no difference."""
    scored, same = evaluate(run, data, device="cpu"), compare(run, run, data, device="cpu")
    assert scored.score["rows"] == same.rows == rows
    assert [scored.metric, same.metric] == [scores[0]] * 2 and scored.labels == ()
    assert [one.metric for one in same.differences] == scores
    for one in same.differences:
        assert one.first == one.second == pytest.approx(scored.score[one.metric], abs=1e-9)
        assert (one.difference, one.low, one.high) == (0, 0, 0)


def test_scored_pairs(encoder: Path, tmp_path: Path):
    first, second = pairs(300)
    near = [5.0 if i % 2 else 0.5 for i in range(300)]
    other = [second[i] if i % 2 else second[(i + 7) % 300] for i in range(300)]
    data = write(
        tmp_path / "a.parquet", sentence1=first, sentence2=other, label=[one + i / 1e4 for i, one in enumerate(near)]
    )
    made = finetune(
        encoder, data, kind="embedding", out=tmp_path / "run", settings=("lr=2e-3", "min_updates=300"), **HERE
    )
    assert made.metric == "spearman"
    assert made.test is not None and made.test["spearman"] > 0.4
    assert made.test["spearman_low"] < made.test["spearman"] < made.test["spearman_high"]
    assert list(made.baselines) == ["TF-IDF vectors", "mean of static token embeddings"]
    assert len(made.labels) == 2
    compared_with_itself(tmp_path / "run", data, rows=300, scores=["spearman", "pearson", "rmse", "mae"])


def test_hard_negatives(encoder: Path, tmp_path: Path):
    first, second = pairs(60)
    data = write(tmp_path / "a.parquet", anchor=first, positive=second, negative=second[::-1])
    quick = ("min_updates=4", "epochs=1", "evaluations=1")
    made = finetune(encoder, data, out=tmp_path / "run", settings=quick, **HERE)
    assert made.kind == "embedding"
    assert load_task(data).text_columns == ("anchor", "positive", "negative")
    run = load(tmp_path / "run")
    assert run.task.text_columns == ("anchor", "positive")
    assert -1.001 <= run.predict([(first[0], second[0])])[0].similarity <= 1.001
    with pytest.raises(InputError, match=r"texts\[0\]: 1 texts where the model reads 2"):
        run.predict([first[0]])


def test_one_positive_stands_on_one_side(tmp_path: Path):
    first, second = pairs(120)
    data = write(tmp_path / "a.parquet", query=first, passage=[second[i // 4] for i in range(120)])
    task = load_task(data)
    assert task.test is not None
    sides = [{row[1] for row in part.texts} for part in (task.train, task.validation, task.test)]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_a_query_with_several_passages_stands_on_one_side(tmp_path: Path):
    first, second = pairs(120)
    data = write(tmp_path / "a.parquet", query=[first[i // 2] for i in range(120)], passage=second)
    task = load_task(data)
    assert task.test is not None
    sides = [{row[0] for row in part.texts} for part in (task.train, task.validation, task.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == len(set(first[:60]))


def test_widths_beyond_the_vector_are_refused(encoder: Path, tmp_path: Path):
    first, second = pairs(60)
    data = write(tmp_path / "a.parquet", query=first, passage=second)
    with pytest.raises(
        InputError, match=r"--set widths: 65, the vectors of this encoder have 64 numbers; give widths up"
    ):
        finetune(encoder, data, out=tmp_path / "run", settings=("widths=[32,65]",), **HERE)
    assert not (tmp_path / "run").exists()


def test_one_column_is_refused(encoder: Path, tmp_path: Path):
    data = write(tmp_path / "a.parquet", text=WORDS * 2, label=[0, 1] * len(WORDS))
    with pytest.raises(InputError, match="vectors need pairs"):
        finetune(encoder, data, kind="embedding", out=tmp_path / "run", **HERE)


# the loss


@pytest.mark.parametrize(
    ("labels", "anchors", "numbers", "right"),
    [
        # the first and the third row have the same positive, the second and the fourth ask the same
        ([0, 1, 0, 2], [0, 1, 2, 1], [-1, -1, -1, -1], {("p", 0, 2), ("p", 2, 0), ("p", 1, 3), ("p", 3, 1)}),
        # what is right for the third row, because the second asks the same, stands in the first, too
        ([0, 0, 1, 2], [0, 1, 1, 2], [-1] * 4, {("p", 0, 1), ("p", 1, 0), ("p", 1, 2), ("p", 2, 1), ("p", 2, 0)}),
        # a hard negative of the first row is right for the second, one of the third for the rows that ask the same
        ([0, 1, 2, 3], [0, 1, 2, 2], [1, -1, 3, -1], {("n", 1, 0), ("n", 2, 2), ("n", 3, 2), ("p", 2, 3), ("p", 3, 2)}),
    ],
)
def test_in_batch_negatives_by_hand(labels: list, anchors: list, numbers: list, right: set):
    vectors = functional.normalize(torch.randn(4, 3, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    total = 0.0
    for i in range(4):
        scores = {(k, j): float(vectors[i, 0] @ vectors[j, 1 + (k == "n")]) for k in "pn" for j in range(4)}
        seen = [value for (k, j), value in scores.items() if (k, i, j) not in right]
        total -= scores["p", i] - np.log(np.exp(seen).sum())
    batch = {"labels": torch.tensor(labels), "anchors": torch.tensor(anchors), "negatives": torch.tensor([numbers]).T}
    assert float(in_batch(vectors, batch, temperature=1.0)) == pytest.approx(total / 4, rel=1e-5)


def test_a_positive_that_is_the_negative_of_another_row_is_not_pushed_away():
    """Perfect vectors of two rows, each with the positive of the other as its hard negative: no loss is left."""
    texts = [("a", "x", "y"), ("b", "y", "x")]
    numbers = negatives(Split(texts, np.array([0, 1])))
    assert numbers.tolist() == [[1], [0]]
    vectors = torch.eye(2)[torch.tensor([[0, 0, 1], [1, 1, 0]])]
    batch = {"labels": torch.arange(2), "anchors": torch.arange(2), "negatives": torch.from_numpy(numbers)}
    assert float(in_batch(vectors, batch)) < 1e-6
    none = Split([("a", "x", "u", "x"), ("b", "y", "v", "w")], np.array([4, 2]))  # numbers of a greater whole
    assert negatives(none).tolist() == [[-1, 4], [-1, -1]]


def test_widths_are_the_mean_over_cut_vectors():
    vectors = functional.normalize(torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    batch = {"labels": torch.arange(4), "anchors": torch.arange(4)}
    cut = functional.normalize(vectors[..., :4], dim=-1)
    both = (in_batch(vectors, batch) + in_batch(cut, batch)) / 2
    torch.testing.assert_close(in_batch(vectors, batch, widths=(4,)), both)
    close = {"labels": torch.ones(4)}
    expected = ((vectors[:, 0] * vectors[:, 1]).sum(-1) - 1).square().mean()
    torch.testing.assert_close(scored(vectors, close), expected)


def test_the_temperature_and_the_widths_that_are_set_reach_the_loss():
    vectors = functional.normalize(torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    batch = {"labels": torch.arange(4), "anchors": torch.arange(4)}
    tokenizer = TextTokenizer.train(WORDS * 2, 60)
    kind = kind_of(tokenizer, Description(kind="embedding", text_columns=("a", "b"), metric="mrr"), ())
    train = Split([("bama", "dene")] * 4, np.arange(4))
    cosines = vectors[:, 0] @ vectors[:, 1].T
    for changes, temperature in (((), 0.05), (("temperature=0.2",), 0.2), (("temperature=1",), 1.0)):
        judge = kind.judge(train, settings_of(changes, seed=None, early=None))
        exponents = np.exp(cosines.double().numpy() / temperature)
        by_hand = -np.log(exponents.diagonal() / exponents.sum(axis=1)).mean()
        assert float(judge(vectors, batch)) == pytest.approx(by_hand, rel=1e-5)
    judge = kind.judge(train, settings_of(("widths=[4]", "temperature=0.2"), seed=None, early=None))
    torch.testing.assert_close(judge(vectors, batch), in_batch(vectors, batch, temperature=0.2, widths=(4,)))


def test_all_passages_of_a_query_are_right():
    """Perfect vectors find each passage at the first place, although another right one is as near."""
    texts = [("a", "x"), ("a", "y"), ("b", "z"), ("c", "x")]
    split = Split(texts, np.array([0, 1, 2, 0]))
    among = Candidates.of(split)
    assert [split.texts[row][1] for row in among.first] == ["x", "y", "z"]
    assert among.own.tolist() == [0, 1, 2, 0] and [one.tolist() for one in among.also] == [[1], [0], [], []]
    scores = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.5, 0.0]])
    assert among.places(scores, 0).tolist() == [1, 1, 1, 1] and among.places(scores[1:2], 1).tolist() == [1]
    assert scores[0, 1] == 1  # left as they were


@pytest.mark.parametrize(
    "names",
    [("anchor", "positive"), ("query", "answer"), ("title", "text"), ("sentence1", "sentence2"), ("Query", "Document")],
)
def test_scored_pairs_have_the_names_that_others_have(tmp_path: Path, names: tuple[str, str]):
    texts, scores = dict(zip(names, pairs(40))), [i / 40 for i in range(40)]
    task = load_task(write(tmp_path / "a.parquet", score=scores, **texts), kind="embedding")
    assert (task.text_columns, task.label_column, task.metric) == (names, "score", "spearman")
    said = f"sentence pairs in columns {names[0]!r} and {names[1]!r} (by their names)"
    assert said in task.notes and "scores in 'score' (by its name)" in task.notes
    data = write(tmp_path / "b.parquet", close=scores, **texts)
    task = load_task(data, kind="embedding", label_column="close")
    assert (task.text_columns, task.label_column) == (names, "close")
    assert said in task.notes and "labels in 'close' (as asked)" in task.notes


def test_scores_beside_three_texts_are_of_two_of_them_or_left_out(tmp_path: Path):
    first, second = pairs(40)
    names, scores = ("anchor", "positive", "negative"), [i / 40 for i in range(40)]
    data = write(tmp_path / "a.parquet", **dict(zip(names, (first, second, second[::-1]))), score=scores)
    with pytest.raises(InputError, match=r"anchor, positive, negative beside scores in 'score'.* name two with"):
        load_task(data, kind="embedding")
    assert load_task(data, kind="embedding", text_columns=names[:2]).metric == "spearman"
    task = load_task(data, kind="embedding", text_columns=names)
    assert (task.text_columns, task.label_column, task.metric) == (names, "", "mrr")
    assert any("not used: score" in note for note in task.notes)


@pytest.mark.parametrize("name", ["category", "rating"])
def test_a_column_of_classes_beside_pairs_is_no_score(tmp_path: Path, name: str):
    first, second = pairs(40)
    columns = {name: ["x", "y"] * 20 if name == "category" else [1, 5] * 20, "question": first, "answer": second}
    task = load_task(write(tmp_path / "a.parquet", **columns), kind="embedding")
    assert (task.text_columns, task.label_column, task.metric) == (("question", "answer"), "", "mrr")
    assert any(f"not used: {name}" in note for note in task.notes)


def test_rank_scores():
    found = rank_scores(np.array([1, 2, 11, 1]))
    assert found["mrr"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert (found["recall_1"], found["recall_10"]) == (0.5, 0.75)


def test_sentence_transformers_reads_the_folder(encoder: Path, tmp_path: Path):
    package = pytest.importorskip("sentence_transformers")
    import slimbert.hf  # noqa: F401 (registers the classes)

    first, second = pairs(60)
    data = write(tmp_path / "a.parquet", query=first, passage=second)
    quick = ("min_updates=4", "epochs=1", "evaluations=1")
    finetune(encoder, data, out=tmp_path / "run", settings=quick, with_baselines=False, **HERE)
    theirs = package.SentenceTransformer(str(tmp_path / "run"), device="cpu").encode(first[:5])
    np.testing.assert_allclose(theirs, load(tmp_path / "run").embed(first[:5]), atol=1e-5)
    assert TextTokenizer.load(tmp_path / "run").vocab_size
