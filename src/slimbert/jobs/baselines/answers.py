"""Answers without an encoder: the sentence of the context that shares most words with the question."""

import re
import time

from ...data.metrics import squad_scores
from ...data.squad import Question
from ...data.tasks import Task
from .baseline import Baseline, scored_rows

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


def whole_sentences(task: Task) -> Baseline:
    """The sentence with the greatest share of the question's words; the earlier one of equals."""
    began = time.perf_counter()
    rows = scored_rows(task)
    answers = [_sentence(one) for one in rows.texts]
    truth = [[text for text, _ in found] for found in rows.labels]
    found = squad_scores(truth, answers)
    scores = {name: found[name] for name in ("rows", "f1", "f1_low", "f1_high", "exact")}
    return Baseline("best matching sentence", answers, scores, {}, time.perf_counter() - began)


def _sentence(one: Question) -> str:
    asked = set(re.findall(r"\w+", one.question.lower()))
    sentences = [match.group().strip() for match in _SENTENCE.finditer(one.context)]
    return max(sentences, key=lambda text: len(asked & set(re.findall(r"\w+", text.lower()))), default=one.context)
