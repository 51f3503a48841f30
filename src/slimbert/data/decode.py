"""Scores -> the best answer that may be given: tags that follow one another, a span that ends behind its beginning.

Tags: the legal sequence with the greatest sum of scores, by dynamic programming (Viterbi 1967):

    best[n, t] = score[n, t] + max over s, after which t may stand, of best[n - 1, s]

Spans: Devlin et al. 2018, arXiv:1810.04805, sections 4.2 and 4.3: the span from i to j scores S.T_i + E.T_j, j >= i; no
answer scores S.C + E.C, C being the first piece, and the least such score of all windows counts (their code for SQuAD
2.0). Ours looks at all spans of at most `longest` pieces, theirs at those of the 20 best beginnings and ends.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from .contexts import PairWindow
from .schemes import OUTSIDE, parts, spans_of
from .words import Place

Scores = NDArray[np.floating]
Ints = NDArray[np.int64]
LONGEST_ANSWER = 30  # pieces; max_answer_length of Devlin et al.'s code
_AT_ONCE = 256  # sentences; a bound on memory


class Entity(TypedDict):
    """text[start:end] of the whole text is `text`; score: mean over its words."""

    text: str
    label: str
    start: int
    end: int
    score: float


class Span(NamedTuple):
    """Characters [start, end) of the context, and S.T_i + E.T_j."""

    start: int
    end: int
    score: float


class Answer(NamedTuple):
    """The best span of the context (score -inf where there is none), and what no answer scores."""

    text: str
    start: int
    end: int
    score: float
    null_score: float


def transitions(tags: Sequence[str]) -> NDArray[np.bool_]:
    """[T + 2, T + 2]: whether tag j may follow tag i, in IOB2 or BIOES; row T is the beginning, column T + 1 the end.

    I-X and E-X only behind B-X or I-X. In BIOES, which any E-X or S-X makes it, behind B-X and I-X nothing else. Tags
    without a prefix may stand anywhere.
    """
    known = [*map(parts, tags), (OUTSIDE, ""), (OUTSIDE, "")]  # beginning and end are as outside of entities
    closing = any(prefix in ("E", "S") for prefix, _ in known)
    prefixes, names = np.array([prefix for prefix, _ in known]), np.array([name for _, name in known])
    open_before = np.isin(prefixes, ["B", "I"])[:, None]
    goes_on = np.isin(prefixes, ["I", "E"])[None, :]
    same = names[:, None] == names[None, :]
    allowed = np.where(goes_on, open_before & same, ~open_before | (not closing))
    allowed[:, -2] = allowed[-1, :] = False
    return allowed


def viterbi(scores: Scores, allowed: NDArray[np.bool_]) -> Ints:
    """The legal sequence [N] with the greatest sum of `scores` [N, T]. allowed: [T + 2, T + 2], of `transitions`.

    Where the best tag of every word makes a legal sequence, that is the answer. ValueError: a score is nan, or no legal
    sequence scores more than -inf.
    """
    return viterbi_all([scores], allowed)[0]


def viterbi_all(scores: Sequence[Scores], allowed: NDArray[np.bool_]) -> list[Ints]:
    """`viterbi` of many sentences: scores [N_i, T] -> [N_i] each, any of them empty."""
    made: list[Ints] = []
    for first in range(0, len(scores), _AT_ONCE):
        made += _decoded(scores[first : first + _AT_ONCE], allowed)
    return made


def _decoded(scores: Sequence[Scores], allowed: NDArray[np.bool_]) -> list[Ints]:
    """Word by word, all sentences at once."""
    lengths = np.array([len(own) for own in scores], np.int64)
    count, longest, tags = len(scores), int(lengths.max()), len(allowed) - 2
    padded = np.zeros((count, longest, tags))
    for row, own in enumerate(scores):
        padded[row, : len(own)] = own
    if np.isnan(padded).any():
        raise ValueError("a score is nan")
    cost = np.where(allowed, 0.0, -np.inf)
    step, ending = cost[:tags, :tags], cost[:tags, tags + 1]
    before = np.zeros((count, longest, tags), np.int64)
    best = cost[tags, :tags] + padded[:, 0] if longest else np.zeros((count, tags))
    last = best.copy()  # [B, T], `best` of the last word of each sentence
    for place in range(1, longest):
        through = best[:, :, None] + step  # [B, from, to]
        before[:, place] = through.argmax(1)
        best = through.max(1) + padded[:, place]
        last[place < lengths] = best[place < lengths]
    return [
        _path(own, before[row], last[row] + ending, allowed) if len(own) else np.zeros(0, np.int64)
        for row, own in enumerate(scores)
    ]


def _path(scores: Scores, before: Ints, last: Scores, allowed: NDArray[np.bool_]) -> Ints:
    """Back from the best last tag; the greedy tags where they are legal, so that equal scores change nothing."""
    greedy = scores.argmax(1)
    whole = np.concatenate([[len(allowed) - 2], greedy, [len(allowed) - 1]])
    if allowed[whole[:-1], whole[1:]].all():
        return greedy
    path = np.empty(len(scores), np.int64)
    path[-1] = last.argmax()
    if last[path[-1]] == -np.inf:
        raise ValueError("no legal sequence of tags has a score")
    for place in range(len(scores) - 1, 0, -1):
        path[place - 1] = before[place, path[place]]
    return path


def entities_in(text: str, word_spans: Sequence[Place], tags: Sequence[str], scores: Sequence[float]) -> list[Entity]:
    """The entities of one text. word_spans: characters of each word; scores: of each word's tag."""
    found: list[Entity] = []
    for label, first, last in spans_of(tags):
        start, end = word_spans[first][0], word_spans[last][1]
        score = float(np.mean(scores[first : last + 1]))
        found.append({"text": text[start:end], "label": label, "start": start, "end": end, "score": score})
    return found


def best_span(
    start: Scores,
    end: Scores,
    context_mask: NDArray[np.bool_],
    offsets: NDArray[np.int32],
    *,
    longest: int = LONGEST_ANSWER,
) -> Span | None:
    """The best span of at most `longest` pieces inside the context, the first of equals; None where there is none.

    start, end: [S] scores of a span's first and last piece; context_mask: [S], true on one run of pieces; offsets: [S,
    2]. ValueError: a score of the context is nan.
    """
    inside = np.flatnonzero(context_mask)
    if not len(inside):
        return None
    total = _span_scores(start[inside], end[inside], longest)
    first, more = divmod(int(total.argmax()), longest)
    if total[first, more] == -np.inf:
        return None
    return Span(int(offsets[inside[first], 0]), int(offsets[inside[first + more], 1]), float(total[first, more]))


def _span_scores(start: Scores, end: Scores, longest: int) -> NDArray[np.float64]:
    """[S, longest]: of the spans from piece i to piece i + l; -inf behind the last piece."""
    if np.isnan(start).any() or np.isnan(end).any():
        raise ValueError("a score is nan")
    behind = np.full(longest - 1, -np.inf)
    ends = np.lib.stride_tricks.sliding_window_view(np.concatenate([end.astype(np.float64), behind]), longest)
    return start.astype(np.float64)[:, None] + ends


def answer_of(
    context: str,
    windows: Sequence[PairWindow],
    starts: Sequence[Scores],
    ends: Sequence[Scores],
    *,
    longest: int = LONGEST_ANSWER,
) -> Answer:
    """The best span over all windows of one question, without blanks at its ends. starts, ends: [S] of each window."""
    best = Span(0, 0, -np.inf)
    for window, start, end in zip(windows, starts, ends, strict=True):
        span = best_span(start, end, window.context_mask, window.offsets, longest=longest)
        if span is not None and span.score > best.score:
            best = span
    null = min(float(start[0]) + float(end[0]) for start, end in zip(starts, ends, strict=True))
    text = context[best.start : best.end]
    first = best.start + len(text) - len(text.lstrip())
    text = text.strip()
    return Answer(text, first, first + len(text), best.score, null)
