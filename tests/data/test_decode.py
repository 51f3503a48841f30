"""The best legal answer: equal to trying all of them, for tags and for spans."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data.tongues import KINDS
from slimbert.data.contexts import PairWindow, encode_with_offsets
from slimbert.data.decode import answer_of, best_span, entities_in, transitions, viterbi, viterbi_all
from slimbert.data.schemes import spans_of, tags_of
from slimbert.data.tagging import of_text

IOB2 = ("O", "B-X", "I-X", "B-Y", "I-Y")
BIOES = ("O", "B-X", "I-X", "E-X", "S-X")
SETS = st.sampled_from([IOB2, BIOES, ("B-X", "I-X"), ("NN", "VB")])


def scores_of(count: int, tags: int, seed: int, spread: int) -> np.ndarray:
    """[N, T] whole numbers, so that sums are exact; a small spread makes many of them equal."""
    return np.random.default_rng(seed).integers(-spread, spread + 1, (count, tags)).astype(np.float32)


def legal(path: tuple[int, ...], allowed: np.ndarray) -> bool:
    """A step from the beginning, every step between, and a step to the end."""
    end = len(allowed) - 1
    return all(allowed[a, b] for a, b in itertools.pairwise([end - 1, *path, end]))


# tags


@settings(deadline=None)
@given(tags=SETS, count=st.integers(1, 4), seed=st.integers(0, 10_000), spread=st.sampled_from([1, 100]))
def test_viterbi_is_the_best_of_all_legal_sequences(tags: tuple, count: int, seed: int, spread: int) -> None:
    scores, allowed = scores_of(count, len(tags), seed, spread), transitions(tags)

    def total(path: tuple[int, ...]) -> float:
        return sum(float(scores[place, tag]) for place, tag in enumerate(path))

    every = [path for path in itertools.product(range(len(tags)), repeat=count) if legal(path, allowed)]
    found = tuple(viterbi(scores, allowed).tolist())
    assert legal(found, allowed)
    assert total(found) == max(map(total, every))
    greedy = tuple(scores.argmax(1).tolist())
    if legal(greedy, allowed):
        assert found == greedy


@given(lengths=st.lists(st.integers(0, 6), max_size=300), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_many_sentences_are_decoded_as_one_by_one(lengths: list[int], seed: int) -> None:
    allowed = transitions(BIOES)
    scores = [scores_of(count, len(BIOES), seed + n, 9) for n, count in enumerate(lengths)]
    for one, found in zip(scores, viterbi_all(scores, allowed)):
        assert found.tolist() == viterbi(one, allowed).tolist()
        assert len(found) == len(one)


@given(tags=st.sampled_from([IOB2, BIOES]), path=st.lists(st.integers(0, 4), max_size=5))
def test_legal_is_what_says_its_spans_in_full(tags: tuple, path: list[int]) -> None:
    """A sequence is legal where writing its spans anew gives it back."""
    named = [tags[tag] for tag in path]
    again = list(tags_of(spans_of(named), len(named)))
    if tags == BIOES:
        for _, first, last in spans_of(named):
            again[last] = "S-X" if first == last else "E-X"
    assert legal(tuple(path), transitions(tags)) == (again == named)


def test_what_cannot_be_decoded_is_named() -> None:
    allowed = transitions(("O", "I-X"))
    assert viterbi(np.array([[-5.0, 9.0]]), allowed).tolist() == [0]
    with pytest.raises(ValueError, match="nan"):
        viterbi(np.full((2, 2), np.nan), allowed)
    with pytest.raises(ValueError, match="no legal sequence"):
        viterbi(np.array([[-np.inf, 9.0]]), allowed)
    assert viterbi(np.zeros((0, 2)), allowed).tolist() == []


def test_entities_are_cut_out_of_the_text() -> None:
    text = of_text("Ann  Lee, of Neu-Ulm.")
    tags = ["B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "I-LOC", "O"]
    found = entities_in(text.text, text.spans, tags, np.linspace(0.1, 0.8, 8).tolist())
    assert [(one["text"], one["label"], one["start"], one["end"]) for one in found] == [
        ("Ann  Lee", "PER", 0, 8),
        ("Neu-Ulm", "LOC", 13, 20),
    ]
    assert [one["score"] for one in found] == pytest.approx([0.15, 0.6])
    assert entities_in("", [], [], []) == []


@given(text=st.text(max_size=40), data=st.data())
def test_entities_of_any_text_are_its_slices(text: str, data: st.DataObject) -> None:
    """Whatever the characters and the (legal) tags: text[start:end] is the entity, from its first word to its last."""
    assume(text.encode(errors="replace").decode() == text)  # no half of a surrogate pair
    one = of_text(text)
    path = data.draw(st.lists(st.integers(0, 4), min_size=len(one.words), max_size=len(one.words)))
    scores = np.eye(5)[path] * 2.0  # what is answered is the best legal sequence, not the best tags
    tags = [IOB2[tag] for tag in viterbi(scores, transitions(IOB2))] if path else []
    found = entities_in(text, one.spans, tags, [1.0] * len(tags))
    assert [one["label"] for one in found] == [label for label, _, _ in spans_of(tags)]
    for entity, (_, first, last) in zip(found, spans_of(tags), strict=True):
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert (entity["start"], entity["end"]) == (one.spans[first][0], one.spans[last][1])
        assert entity["text"].startswith(one.words[first]) and entity["text"].endswith(one.words[last])


# spans


def piecewise(count: int, before: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """(context_mask, offsets): `before` pieces of a question, `count` of a context, one at the end."""
    mask = np.array([False] * before + [True] * count + [False])
    offsets = np.zeros((len(mask), 2), np.int32)
    offsets[mask] = np.arange(count)[:, None] * 3 + np.array([0, 2])
    return mask, offsets


@settings(deadline=None)
@given(
    count=st.integers(0, 9),
    longest=st.integers(1, 12),
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([1, 50]),
)
def test_the_best_span_is_the_best_of_all(count: int, longest: int, seed: int, spread: int) -> None:
    mask, offsets = piecewise(count)
    start, end = scores_of(2, len(mask), seed, spread)
    every = [
        (-float(start[i] + end[j]), i, j)
        for i in np.flatnonzero(mask)
        for j in np.flatnonzero(mask)
        if i <= j < i + longest
    ]
    expected = [(offsets[i, 0], offsets[j, 1], -score) for score, i, j in sorted(every)]
    found = best_span(start, end, mask, offsets, longest=longest)
    assert found == (expected[0] if expected else None)


def windows_of(context: str) -> list[PairWindow]:
    windows = encode_with_offsets(KINDS["wordpiece"](), [("quick fox", context)], max_len=16, stride=6)
    assert len(windows) > 2
    return windows


def test_the_answer_is_the_best_of_all_windows() -> None:
    context = "  The lazy dog jumps over the quick fox unbelievably quickly ; the quick dog jumps over the lazy fox  "
    windows = windows_of(context)
    rng = np.random.default_rng(0)
    starts, ends = ([rng.normal(size=len(w.ids)) for w in windows] for _ in range(2))
    at = context.index("over the quick fox")
    place = next(p for w in windows if (p := w.locate(at, at + 18)))
    number = next(n for n, w in enumerate(windows) if w.locate(at, at + 18))
    starts[number][place[0]], ends[number][place[1]] = 9.0, 8.0
    starts[1][0], ends[1][0] = -5.0, -4.5
    found = answer_of(context, windows, starts, ends)
    assert found == ("over the quick fox", at, at + 18, 17.0, -9.5)
    assert answer_of(context, windows, starts, ends, longest=1).score < 17.0
    every = [best_span(s, e, w.context_mask, w.offsets) for w, s, e in zip(windows, starts, ends)]
    assert found.score == max(span.score for span in every if span is not None)


def test_an_answer_has_no_blanks_at_its_ends_and_may_be_missing() -> None:
    places = np.array([[0, 0], [0, 1], [1, 4], [0, 0]], np.int32)
    ids = np.zeros(4, np.int32)
    window = PairWindow(0, ids, ids, places, np.array([False, True, True, False]), False)
    scores = np.array([1.0, 2.0, 2.0, 9.0])
    assert answer_of(" fox ", [window], [scores], [np.array([1.0, 0.0, 2.0, 9.0])]) == ("fox", 1, 4, 4.0, 2.0)
    empty = encode_with_offsets(KINDS["wordpiece"](), [("quick fox", "")], max_len=20)
    zeros = [np.zeros(len(w.ids)) for w in empty]
    assert answer_of("", empty, zeros, zeros) == ("", 0, 0, -np.inf, 0.0)
    with pytest.raises(ValueError, match="nan"):
        answer_of(" fox ", [window], [scores * np.nan], [scores])
