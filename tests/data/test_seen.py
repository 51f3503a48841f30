"""Hashes of training texts: equal content equal hash, whatever stands around it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slimbert.data.squad import Question
from slimbert.data.tagging import of_words
from slimbert.data.tasks import count_trained_on, write_trained_on
from slimbert.data.tasks.seen import text_hashes


@given(st.lists(st.one_of(st.text(max_size=4), st.tuples(st.text(max_size=3), st.text(max_size=3))), max_size=20))
def test_equal_texts_and_no_others_have_equal_hashes(texts: list):
    hashes = text_hashes(texts).tolist()
    for one, hashed in zip(texts, hashes, strict=True):
        assert [one == other for other in texts] == [hashed == other for other in hashes]


def test_what_does_not_count():
    question = Question("1", "who?", "Ada was here", (("Ada", 0),))
    words = of_words(["Ada", "was"], ["B-PER", "O"], place="a:1")
    pairs = [
        (question, replace(question, id="2", answers=())),
        (words, of_words(["Ada", "was"], place="b:7")),
        (("query", "right", "wrong"), ("query", "right")),
    ]
    for one, other in pairs:
        assert text_hashes([one]) == text_hashes([other])
    assert len(np.unique(text_hashes(["ab", ("a", "b"), ("ab", ""), ("", "ab")]))) == 4


def test_a_folder_remembers(tmp_path: Path):
    assert count_trained_on(["a"], tmp_path) is None
    write_trained_on(["a", "b", "a"], tmp_path)
    assert np.load(tmp_path / "trained_on.npy", allow_pickle=False).shape == (2,)
    assert count_trained_on(["c", "a", "a"], tmp_path) == 2
    write_trained_on([], tmp_path)
    assert count_trained_on(["a"], tmp_path) == 0
