"""A model of pairs on top: the order is that of its probabilities, among the hits that it was given."""

from pathlib import Path

import pytest

from jobs.search.toy import encoder, judge, texts
from slimbert.errors import InputError
from slimbert.jobs.predict import load
from slimbert.jobs.search import rerank
from slimbert.jobs.search.index import open_index
from slimbert.jobs.search.rerank import Reranker
from slimbert.model.exits import DactConfig
from slimbert.model.heads import MaskedLmConfig, SequenceConfig


def test_hits_are_ordered_by_probability(built: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rerank, "PAIRS", 16)  # queries share and cross portions
    opened, queries = open_index(built, device="cpu"), texts(3, seed=5)
    before = opened.search(queries, top=20)
    found = opened.search(queries, top=6, rerank=Reranker(pairs, depth=20, device="cpu"))
    predictor = load(pairs, device="cpu")
    for query, first, second in zip(queries, before, found, strict=True):
        answers = [answer.scores["yes"] for answer in predictor.predict([(query, hit.text) for hit in first])]
        assert [hit.score for hit in second] == pytest.approx(sorted(answers, reverse=True)[:6], abs=1e-5)
        assert {hit.place for hit in second} <= {hit.place for hit in first}
    turned = opened.search(queries, top=20, rerank=Reranker(pairs, label="no", depth=20, device="cpu"))
    for one, other in zip(opened.search(queries, top=20, rerank=Reranker(pairs, device="cpu", depth=5)), turned):
        assert [hit.score for hit in one] == pytest.approx([1 - hit.score for hit in reversed(other)], abs=1e-5)


def test_a_model_that_stops_early_judges_too(tmp_path: Path):
    head = DactConfig(labels=("no", "yes"), units=2)
    early = Reranker(judge(tmp_path / "early", head=head), device="cpu")
    found = early.order(["bama dene"], [["firi", "goso kutu", "lama"]])
    answers = early.predictor.predict([("bama dene", text) for text in ("firi", "goso kutu", "lama")])
    assert [score for _, score in found[0]] == sorted([one.scores["yes"] for one in answers], reverse=True)


def test_nothing_found_nothing_judged(built: Path, pairs: Path):
    found = open_index(built, device="cpu").search(
        ["unheard", "bama"], method="bm25", rerank=Reranker(pairs, device="cpu")
    )
    assert found[0] == [] and found[1]


def test_models_that_judge_no_pairs(tmp_path: Path, pairs: Path):
    single = encoder(
        tmp_path / "single", head=SequenceConfig(labels=("a", "b")), task={"text_columns": ["text"], "max_len": 24}
    )
    for folder in (single, encoder(tmp_path / "lm", head=MaskedLmConfig())):
        with pytest.raises(InputError, match=r"it does not judge pairs of texts; .*--task pair"):
            Reranker(folder, device="cpu")
    three = judge(tmp_path / "three", labels=("no", "maybe", "yes"))
    with pytest.raises(InputError, match=r"which label means a hit.*'no', 'maybe', 'yes'; name it: --rerank-label"):
        Reranker(three, device="cpu")
    assert Reranker(three, label="maybe", device="cpu").label == "maybe"
    assert Reranker(pairs, device="cpu").label == "yes"
    with pytest.raises(InputError, match="--rerank-label: no label 'ja'; choose one of 'no', 'yes'"):
        Reranker(pairs, label="ja", device="cpu")
