"""What is reported of a tagger: entities where the tags have prefixes, words where they are classes."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..schemes import OUTSIDE
from .classes import Floats, f1_of_counts, macro_f1, wilson
from .entities import entity_counts, entity_scores
from .seeds import bootstrap_score


class TagScores(NamedTuple):
    """How a type of entity or a class of words fared: how many there are, the share of them that was found (None where
    there is none), F1."""

    there: int
    recall: float | None
    f1: float


def tag_scores(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], *, names: Sequence[str]
) -> dict[str, float]:
    """Rows, then F1 of entities with its interval, precision, recall, macro F1, and the share of words with the right
    tag; for tags without B- or I- that share comes first, with Wilson's interval and the macro F1 of the classes.

    names: all tags that there are, so that rows without any entity are scored like the others (F1 0 where none is).
    """
    right, words = (int(count) for count in right_words(truth, answers).sum(axis=0))
    if not has_entities(names):
        low, high = wilson(right, words)
        shares = {"word_accuracy": right / words, "word_accuracy_low": low, "word_accuracy_high": high}
        return {"rows": len(truth), **shares, "macro_f1": _macro_f1(truth, answers)}
    found = entity_scores(truth, answers)
    low, high = bootstrap_score(entity_counts(truth, answers), f1_of_counts)
    main = {"rows": len(truth), "f1": found["f1"], "f1_low": low, "f1_high": high}
    others = {"precision": found["precision"], "recall": found["recall"], "macro_f1": found["macro_f1"]}
    return {**main, **others, "word_accuracy": right / words}


def scores_by_tag(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], *, names: Sequence[str]
) -> dict[str, TagScores]:
    """Of every type of entity that is there or answered; of every such tag, by words, where tags are classes of words.

    names: as of `tag_scores`.
    """
    if has_entities(names):
        types = entity_scores(truth, answers)["types"].items()
        return {
            name: TagScores(one["entities"], one["recall"] if one["entities"] else None, one["f1"])
            for name, one in types
        }
    right, answered, there = Counter[str](), Counter[str](), Counter[str]()
    for row, answer in zip(truth, answers, strict=True):
        right.update(tag for tag, given in zip(row, answer, strict=True) if tag == given)
        answered.update(answer)
        there.update(row)
    counts = {name: (right[name], answered[name], there[name]) for name in names if answered[name] or there[name]}
    return {
        name: TagScores(count[2], count[0] / count[2] if count[2] else None, float(f1_of_counts(np.array(count))))
        for name, count in counts.items()
    }


def wrong_tags(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], *, names: Sequence[str]) -> Floats:
    """[N] per row: entities that are on one side only, or words with the wrong tag, where tags are classes of words."""
    if has_entities(names):
        right, answered, there = entity_counts(truth, answers).astype(np.float64).T
        wrong: Floats = answered + there - 2 * right
    else:
        right, words = right_words(truth, answers).T
        wrong = words - right
    return wrong


def has_entities(names: Sequence[str]) -> bool:
    """Whether one of these tags says B- or I-."""
    return any(tag[:2] in ("B-", "I-") for tag in names)


def right_words(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> Floats:
    """[N, 2] per row: words with the right tag, words."""
    pairs = zip(truth, answers, strict=True)
    counts = [(sum(a == b for a, b in zip(row, answer, strict=True)), len(row)) for row, answer in pairs]
    return np.array(counts, dtype=np.float64)


def _macro_f1(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> float:
    """Of the tags as classes of words."""
    number: dict[str, int] = {OUTSIDE: 0}
    both = [
        np.array([number.setdefault(tag, len(number)) for row in rows for tag in row], dtype=np.int64)
        for rows in (truth, answers)
    ]
    return macro_f1(*both)
