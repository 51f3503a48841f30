"""Rankings against trec_eval, and by hand. Beside ranx they were held once: docs/log.md."""

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from slimbert.data.metrics import bootstrap_interval, ndcg_at, ranking_scores, recall_at, reciprocal_rank_at


def test_by_hand():
    ranked = [["a", "b", "c", "d"], ["x", "y"], ["p", "q"]]
    relevant = [{"b", "d", "z"}, ["x"], {"r"}]
    np.testing.assert_allclose(recall_at(ranked, relevant, k=2), [1 / 3, 1, 0])
    np.testing.assert_allclose(recall_at(ranked, relevant, k=9), [2 / 3, 1, 0])
    np.testing.assert_allclose(reciprocal_rank_at(ranked, relevant, k=2), [1 / 2, 1, 0])
    np.testing.assert_allclose(reciprocal_rank_at(ranked, relevant, k=1), [0, 1, 0])
    best = 1 + 1 / np.log2(3) + 1 / 2
    np.testing.assert_allclose(ndcg_at(ranked, relevant, k=4), [(1 / np.log2(3) + 1 / np.log2(5)) / best, 1, 0])


def test_graded_gains_by_hand():
    ranked, relevant = [["a", "b", "c"]], [{"c": 3, "a": 1, "b": 0, "e": 2}]
    linear = (1 + 3 / 2) / (3 + 2 / np.log2(3) + 1 / 2)
    assert ndcg_at(ranked, relevant, k=3) == pytest.approx([linear])
    exponential = (1 + 7 / 2) / (7 + 3 / np.log2(3) + 1 / 2)
    assert ndcg_at(ranked, relevant, k=3, gain="exponential") == pytest.approx([exponential])
    assert recall_at(ranked, relevant, k=2) == pytest.approx([1 / 3])  # gain 0 is not relevant


def test_what_is_reported():
    ranked, relevant = [["a", "b"], ["c", "d"]], [{"b"}, {"c"}]
    found = ranking_scores(ranked, relevant, cutoffs=(1, 2))
    assert list(found) == ["queries", "recall@1", "mrr@1", "ndcg@1", "recall@2", "mrr@2", "ndcg@2"]
    assert (found["queries"], found["recall@1"], found["mrr@2"]) == (2, 0.5, 0.75)
    low, high = bootstrap_interval(reciprocal_rank_at(ranked, relevant, k=2))
    assert (low, high) == (0.5, 1.0)


@st.composite
def queries(draw):
    ranked = draw(st.lists(st.permutations(range(8)).map(lambda p: p[:5]), min_size=1, max_size=4))
    gains = st.dictionaries(st.integers(0, 10), st.integers(0, 3), max_size=6)
    return ranked, [draw(gains) for _ in ranked], draw(st.integers(1, 7))


@given(queries())
def test_laws(drawn):
    ranked, relevant, k = drawn
    for score in (recall_at, reciprocal_rank_at, ndcg_at):
        found = score(ranked, relevant, k=k)
        assert ((found >= 0) & (found <= 1 + 1e-12)).all()
        assert (score(ranked, relevant, k=k) <= score(ranked, relevant, k=k + 1) + 1e-12).all() or score is ndcg_at
        nothing = [not any(gains.values()) for gains in relevant]
        assert (found[nothing] == 0).all()
    ideal = [sorted(gains, key=gains.get, reverse=True) for gains in relevant]
    for gain in ("linear", "exponential"):
        something = [any(gains.values()) for gains in relevant]
        np.testing.assert_allclose(ndcg_at(ideal, relevant, k=k, gain=gain), something)
    binary = [{document for document, gain in gains.items() if gain} for gains in relevant]
    np.testing.assert_array_equal(recall_at(ranked, binary, k=k), recall_at(ranked, relevant, k=k))


@given(queries())
def test_scores_equal_trec_eval(drawn):
    ranked, relevant, k = drawn
    truth = {str(q): {str(document): gain for document, gain in gains.items()} for q, gains in enumerate(relevant)}
    order = {str(q): {str(document): float(-rank) for rank, document in enumerate(row)} for q, row in enumerate(ranked)}
    judge = pytrec_eval.RelevanceEvaluator(truth, {f"recall.{k}", f"ndcg_cut.{k}", "recip_rank"})
    found = judge.evaluate(order)
    rows = [found.get(str(q), {}) for q in range(len(ranked))]  # it leaves out a query of which nothing is judged
    for name, ours in {
        f"recall_{k}": recall_at(ranked, relevant, k=k),
        f"ndcg_cut_{k}": ndcg_at(ranked, relevant, k=k),
        "recip_rank": reciprocal_rank_at(ranked, relevant, k=99),
    }.items():
        np.testing.assert_allclose(
            ours, [row.get(name, 0.0) for row in rows], atol=1e-9
        )  # it reckons partly in float32


def test_bad_rankings_are_refused():
    with pytest.raises(ValueError, match="1 rankings, 2 queries"):
        recall_at([["a"]], [{"a"}, {"b"}], k=1)
    with pytest.raises(ValueError, match="k = 0"):
        recall_at([["a"]], [{"a"}], k=0)
    with pytest.raises(ValueError, match="query 0: a document is ranked twice"):
        recall_at([["a", "a"]], [{"a"}], k=1)
    with pytest.raises(ValueError, match="query 0: gains must be 0 or more"):
        ndcg_at([["a"]], [{"a": -1}], k=1)
    with pytest.raises(ValueError, match="one text"):
        recall_at([["a"]], ["a"], k=1)
    with pytest.raises(ValueError, match="unknown gain 'cubic'"):
        ndcg_at([["a"]], [{"a"}], k=1, gain="cubic")
