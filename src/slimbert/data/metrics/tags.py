"""What is reported of a tagger: entities where the tags have prefixes, words where they are classes."""

from collections.abc import Sequence

import numpy as np

from .classes import f1_of_counts, macro_f1, wilson
from .entities import OUTSIDE, entity_counts, entity_scores
from .seeds import bootstrap_score


def tag_scores(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """Rows, then F1 of entities with its interval, precision, recall, macro F1, and the share of words with the right
    tag; for tags without B- or I- that share comes first, with Wilson's interval and the macro F1 of the classes."""
    right, words, classes = _words(truth, answers)
    if not any(tag[:2] in ("B-", "I-") for row in truth for tag in row):
        low, high = wilson(right, words)
        shares = {"word_accuracy": right / words, "word_accuracy_low": low, "word_accuracy_high": high}
        return {"rows": len(truth), **shares, "macro_f1": classes}
    found = entity_scores(truth, answers)
    low, high = bootstrap_score(entity_counts(truth, answers), f1_of_counts)
    main = {"rows": len(truth), "f1": found["f1"], "f1_low": low, "f1_high": high}
    others = {"precision": found["precision"], "recall": found["recall"], "macro_f1": found["macro_f1"]}
    return {**main, **others, "word_accuracy": right / words}


def _words(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> tuple[int, int, float]:
    """Words that are right, words in all, macro F1 of the tags."""
    number: dict[str, int] = {OUTSIDE: 0}
    both = [
        np.array([number.setdefault(tag, len(number)) for row in rows for tag in row], dtype=np.int64)
        for rows in (truth, answers)
    ]
    return int((both[0] == both[1]).sum()), len(both[0]), macro_f1(*both)
