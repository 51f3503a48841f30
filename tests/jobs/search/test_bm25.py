"""BM25 by its formula, and as bm25s itself ranks; what is stored holds no object."""

import json
import math
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.search.toy import texts
from slimbert.errors import InputError
from slimbert.jobs.search.bm25 import K1, B, Bm25, build_bm25, words

DOCUMENTS = ["The cat sat.", "the dog, the dog!", "a cat and a dog", "...", "bird"]


def built(folder: Path, documents: list[str]) -> Bm25:
    folder.mkdir(exist_ok=True)
    build_bm25(iter(documents), folder)
    return Bm25(folder)


def formula(query: str, documents: list[str]) -> list[float]:
    """Lucene's BM25, written out. A document without a word counts one, the empty one."""
    split = [words(text) or [""] for text in documents]
    mean = sum(map(len, split)) / len(split)
    scores = []
    for document in split:
        score = 0.0
        for word in words(query):
            with_it = sum(word in other for other in split)
            rarity = math.log(1 + (len(split) - with_it + 0.5) / (with_it + 0.5))
            often = document.count(word)
            score += rarity * often / (often + K1 * (1 - B + B * len(document) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["cat", "the dog", "dog dog bird", "cat unheard of", "The CAT."])
def test_scores_by_the_formula(tmp_path: Path, query: str):
    expected = formula(query, DOCUMENTS)
    order = sorted((i for i, score in enumerate(expected) if score > 0), key=lambda i: (-expected[i], i))
    numbers, scores = built(tmp_path, DOCUMENTS).search([query], top=9)[0]
    assert numbers.tolist() == order
    assert scores.tolist() == pytest.approx([expected[i] for i in order], rel=1e-5)  # float32


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), top=st.integers(1, 40))
def test_ranks_as_bm25s_itself(tmp_path: Path, seed: int, top: int):
    documents, query = texts(30, seed=seed), texts(1, seed=seed + 1)[0]
    own = bm25s.BM25(k1=K1, b=B, method="lucene")
    own.index([text.split() for text in documents], show_progress=False)
    expected = own.get_scores(query.split())
    numbers, scores = built(tmp_path, documents).search([query], top=top)[0]
    order = sorted(np.flatnonzero(expected > 0), key=lambda i: (-expected[i], i))[:top]
    np.testing.assert_allclose(scores, np.sort(expected[expected > 0])[::-1][:top], rtol=1e-5)
    if len(set(np.round(expected, 4))) == len(expected):  # no ties that rounding could turn over
        assert numbers.tolist() == [int(i) for i in order]


def test_only_passages_that_share_a_word_are_found(tmp_path: Path):
    found = built(tmp_path, DOCUMENTS).search(["fish", "...", "bird"], top=5)
    assert [numbers.tolist() for numbers, _ in found] == [[], [], [4]]
    assert built(tmp_path / "none", ["...", "!"]).search(["cat", "!"], top=5)[1][0].tolist() == []


def test_words():
    assert words("Don't PANIC: Straße, naïve\u0301 ﬁne snake_case 42!") == [
        *("don", "t", "panic", "strasse"),
        *words("naïve\u0301"),
        *("fine", "snake_case", "42"),
    ]
    assert words("東京タワー is tall") == ["東", "京", "タ", "ワ", "ー", "is", "tall"]
    assert words(" \n") == []


def test_what_is_stored_is_arrays_and_json(tmp_path: Path):
    built(tmp_path, DOCUMENTS)
    for path in tmp_path.iterdir():
        if path.suffix == ".npy":
            assert np.load(path, allow_pickle=False).dtype != object
        else:
            assert path.suffix == ".json"
            json.loads(path.read_text())


def test_a_pickle_is_refused(tmp_path: Path):
    built(tmp_path, DOCUMENTS)
    name = next(path for path in tmp_path.glob("data*.npy"))
    np.save(name, np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="no sound BM25 index"):
        Bm25(tmp_path)


def test_without_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("slimbert.jobs.search.bm25.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "slimbert\[search\]"'):
        Bm25(tmp_path)
