"""A tag for every word without looking at the words beside it: the most frequent one of that word in train."""

import time
from collections import Counter, defaultdict

from ...data.metrics import tag_scores
from ...data.schemes import OUTSIDE
from ...data.tagging import joined, spread, whole
from ...data.tasks import Task
from .baseline import Baseline, scored_rows


def frequent_tags(task: Task) -> Baseline:
    """Each word gets its most frequent tag; one that train does not have is outside (or of the most frequent tag)."""
    began = time.perf_counter()
    rows = scored_rows(task)
    outside = task.labels.index(OUTSIDE) if OUTSIDE in task.labels else -1
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for one, tags in zip(task.train.texts, task.train.labels, strict=True):
        for word, tag in zip(whole(one).words, joined(one, tags.tolist(), outside=outside), strict=True):
            counts[word][tag] += 1
    every = sum(counts.values(), Counter[int]())
    other = every.most_common(1)[0][0] if outside < 0 else outside
    usual = {word: found.most_common(1)[0][0] for word, found in counts.items()}
    answers = [spread(one, [task.labels[usual.get(word, other)] for word in whole(one).words]) for one in rows.texts]
    truth = [[task.labels[tag] for tag in tags] for tags in rows.labels]
    scores = tag_scores(truth, answers, names=task.labels)
    return Baseline("most frequent tag of each word", answers, scores, {}, time.perf_counter() - began)
