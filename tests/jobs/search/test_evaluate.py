"""Scores of an index by hand, every method beside the others."""

from pathlib import Path

import pytest

from slimbert.errors import InputError
from slimbert.jobs.search.build import index
from slimbert.jobs.search.evaluate import evaluate
from slimbert.jobs.search.index import Hit, Index, open_index
from slimbert.jobs.search.rerank import Reranker

FOUND = {"first": ["a", "b", "c"], "second": ["d", "d", "a"], "third": []}


def test_scores_by_hand(built: Path, monkeypatch: pytest.MonkeyPatch):
    """Ids b; d and a (d found twice, in two passages); a query that finds nothing."""

    def fake(self: Index, queries: list[str], **options: object) -> list[list[Hit]]:
        return [[Hit("", 1.0, "", name) for name in FOUND[query]] for query in queries]

    monkeypatch.setattr(Index, "search", fake)
    row = evaluate(open_index(built), list(FOUND), [{"b"}, {"a", "d"}, {"x"}], methods=["bm25"])[0]
    assert row.method == "bm25"
    assert row.mrr_10 == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert row.recall_1 == pytest.approx((0 + 1 / 2 + 0) / 3)
    assert row.recall_10 == row.recall_100 == pytest.approx(2 / 3)
    assert row.ndcg_10 == pytest.approx((0.63093 + 1 + 0) / 3, abs=1e-5)  # 1 / log2(3)
    assert row.milliseconds > 0


def test_every_method_and_re_ranked(built: Path, pairs: Path):
    opened = open_index(built, device="cpu")
    wanted = [opened.texts[number] for number in (1, 35, 52)]
    queries, relevant = [one.text for one in wanted], [{one.id} for one in wanted]
    rows = evaluate(opened, queries, relevant, rerank=Reranker(pairs, device="cpu"))
    names = ["vectors", "bm25", "hybrid"]
    assert [row.method for row in rows] == [*names, "static", *(f"{name}, re-ranked" for name in names)]
    assert rows[0].recall_1 == 1  # a text is nearest to itself
    assert all(row.recall_100 == 1 for row in (rows[0], rows[2]))


def test_passages_of_a_document_count_once(model: Path, tmp_path: Path):
    (tmp_path / "c.txt").write_text(" ".join(["bama dene"] * 60) + "\n\nfiri goso")
    index(model, tmp_path / "c.txt", out=tmp_path / "i", windows=True, device="cpu", quiet=True)
    rows = evaluate(open_index(tmp_path / "i", device="cpu"), ["bama dene"], [{"2"}], methods=["vectors"])
    assert rows[0].mrr_10 == 1 / 2


def test_what_cannot_be_evaluated(built: Path):
    opened = open_index(built)
    with pytest.raises(InputError, match="2 queries and 1 sets of ids"):
        evaluate(opened, ["a", "b"], [{"1"}])
    with pytest.raises(InputError, match="0 queries"):
        evaluate(opened, [], [])
    with pytest.raises(InputError, match=r"relevant\[0\]: set\(\) is no set of ids"):
        evaluate(opened, ["a"], [set()])
    with pytest.raises(InputError, match=r"relevant\[0\]: \{7\} is no set of ids; name one or more, each as a text"):
        evaluate(opened, ["a"], [{7}])  # type: ignore[arg-type]
