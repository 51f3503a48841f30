"""Scores of answers cut out of a text, as SQuAD counts them: exact match and the F1 of words.

Both compare normalised texts (no case, punctuation, articles, extra spaces) and take the best over the true answers
of a question. F1 of two bags of words = 2 shared / (words of one + words of the other). Rajpurkar et al. 2016,
arXiv:1606.05250, section 6.1. A question without a true answer is right if and only if the answer is empty: Rajpurkar
et al. 2018, arXiv:1806.03822, section 5. True answers of which nothing is left are dropped, and two empty texts are
equal, as in version 2; version 1.1 differs only there. All scores are shares from 0 to 1, not percentages.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classes import Floats
from .seeds import bootstrap_interval

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII only, as published


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, English articles and extra spaces; articles are sought last."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(truth: Sequence[str], answer: str) -> float:
    """1.0 if the answer equals one of the true ones when normalised, else 0.0. No truth: 1.0 for an empty answer."""
    return float(normalise_answer(answer) in _normalised(truth))


def answer_f1(truth: Sequence[str], answer: str) -> float:
    """Highest F1 of words with one of the true answers. No truth: 1.0 for an empty answer, else 0.0."""
    words = normalise_answer(answer).split()
    return max(_overlap(true.split(), words) for true in _normalised(truth))


class AnswerRows(NamedTuple):
    """Per row [N]: exact match, F1, and whether the question has an answer."""

    exact: Floats
    f1: Floats
    answerable: NDArray[np.bool_]


def answer_rows(truth: Sequence[Sequence[str]], answers: Sequence[str]) -> AnswerRows:
    """The scores of each row, for intervals and thresholds. truth: the true answers of each question, or none."""
    if len(truth) != len(answers) or len(truth) == 0:
        raise ValueError(f"{len(truth)} questions and {len(answers)} answers: need equally many, at least one")
    exact = np.array([exact_match(true, answer) for true, answer in zip(truth, answers)])
    f1 = np.array([answer_f1(true, answer) for true, answer in zip(truth, answers)])
    return AnswerRows(exact, f1, np.array([len(true) > 0 for true in truth]))


def squad_scores(truth: Sequence[Sequence[str]], answers: Sequence[str]) -> dict[str, float]:
    """What is reported of a run: rows, f1 with its interval, exact; with questions without an answer also both kinds.

    The keys of the kinds are has_answer_rows, has_answer_exact, ..., no_answer_f1; a kind without rows has none.
    """
    exact, f1, answerable = answer_rows(truth, answers)
    low, high = bootstrap_interval(f1)
    scores = {"rows": len(f1), "f1": float(f1.mean()), "f1_low": low, "f1_high": high, "exact": float(exact.mean())}
    kinds = {} if answerable.all() else {"has_answer": answerable, "no_answer": ~answerable}
    for name, rows in kinds.items():
        if count := int(np.count_nonzero(rows)):
            means = {f"{name}_exact": float(exact[rows].mean()), f"{name}_f1": float(f1[rows].mean())}
            scores |= {f"{name}_rows": count, **means}
    return scores


class NullThreshold(NamedTuple):
    """Answers whose null score is above `threshold` are withheld; `score` is the mean score this should give."""

    threshold: float
    score: float


def best_threshold(
    scores: Floats, null_scores: Floats, *, answered: NDArray[np.bool_], answerable: NDArray[np.bool_]
) -> NullThreshold:
    """The null threshold with the highest mean score on these rows, which should be those of validation.

    scores: [N] F1 (or exact match) of the answers before any is withheld. null_scores: [N], the higher, the surer that
    there is no answer (a probability, or the null's logit minus the best span's). answered: [N] whether the answer has
    any text. answerable: [N] as in AnswerRows.

    As the evaluation script of SQuAD 2 finds it (`find_best_thresh`): begin with all answers withheld; let them
    through one by one from the lowest null score up; of equal scores the earliest wins. Letting one through adds its
    score, or for a question without answer takes away 1 if it has text. Where several rows have the same null score,
    the script looks also between them, and then `score` may be one that no threshold gives. Where withholding all is
    best, it says 0.0; so do we, unless some null score is not above that: then a value just below the lowest.
    """
    _same_rows(scores, null_scores, answered, answerable)
    nulls = null_scores.astype(np.float64)
    order = np.argsort(nulls, kind="stable")
    gains = np.where(answerable, scores, np.where(answered, -1.0, 0.0))[order]
    sums = np.cumsum(np.concatenate([[float(np.count_nonzero(~answerable))], gains]))
    best = int(np.argmax(sums))
    lowest = float(nulls[order[0]])
    nothing = 0.0 if lowest > 0 else float(np.nextafter(lowest, -np.inf))
    threshold = float(nulls[order[best - 1]]) if best else nothing
    return NullThreshold(threshold, float(sums[best]) / len(scores))


def withhold(answers: Sequence[str], null_scores: Floats, *, threshold: float) -> list[str]:
    """The answers, "" where the null score is above the threshold."""
    nulls = np.asarray(null_scores, dtype=np.float64)  # else the threshold would be rounded to their type
    return ["" if null > threshold else answer for answer, null in zip(answers, nulls, strict=True)]


def _normalised(truth: Sequence[str]) -> list[str]:
    if isinstance(truth, str):
        raise ValueError(f"the truth {truth!r} is one text: need a list of texts")
    return [text for text in map(normalise_answer, truth) if text] or [""]


def _overlap(first: Sequence[str], second: Sequence[str]) -> float:
    if not first or not second:
        return float(first == second)
    shared = (Counter(first) & Counter(second)).total()
    return 2 * shared / (len(first) + len(second))


def _same_rows(scores: Floats, null_scores: Floats, answered: NDArray[np.bool_], answerable: NDArray[np.bool_]) -> None:
    shapes = [list(array.shape) for array in (scores, null_scores, answered, answerable)]
    if any(shape != [len(scores)] for shape in shapes) or len(scores) == 0:
        raise ValueError(f"scores, null scores, answered, answerable of shapes {shapes}: need [N] each, not empty")
    if not np.isfinite(null_scores).all():
        raise ValueError("null scores that are no numbers (nan or infinite)")
