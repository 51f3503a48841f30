"""SQuAD as a search: which questions belong to which paragraph, what to learn from it, and how answers are counted."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arms import sample

from slimbert.data.metrics import Paired, bootstrap_interval, paired_bootstrap, recall_at, reciprocal_rank_at
from slimbert.data.splits import same_texts
from slimbert.data.tasks import Split, Task, fingerprint
from slimbert.jobs.search.bm25 import Bm25, build_bm25
from slimbert.jobs.search.build import index
from slimbert.jobs.search.index import Index, Method, open_index
from slimbert.jobs.search.rerank import Reranker

TOP, NEAR = 10, 20  # hits that count; hits of BM25 from which a wrong one is drawn
ALONE = 20  # questions that are asked one by one
HELD = 200  # validation questions of a training run
PLACES = "0123456789A"  # a sign for the place of the right paragraph among the first 10; 0: not among them


class Asked:
    """Questions, and the paragraphs that they belong to, in the file of a corpus."""

    def __init__(self, test: Split, work: Path, questions: int) -> None:
        """test: all questions, whose paragraphs are searched; questions: how many are asked."""
        contexts = list(dict.fromkeys(one.context for one in test.texts))
        place = {text: str(number) for number, text in enumerate(contexts)}
        self.file, self.paragraphs = work / "paragraphs.jsonl", len(contexts)
        lines = "".join(json.dumps({"id": place[text], "text": text}) + "\n" for text in contexts)
        if not self.file.exists() or self.file.read_text() != lines:  # an index knows its file by the time of writing
            self.file.write_text(lines)
        some = sample(test, questions)
        self.queries = [one.question for one in some.texts]
        self.right = [{place[one.context]} for one in some.texts]

    def first(self, count: int) -> tuple[list[str], list[set[str]]]:
        """A sample of the questions, and what is right for them."""
        chosen = np.sort(np.random.default_rng(2).permutation(len(self.queries))[:count])
        return [self.queries[i] for i in chosen], [self.right[i] for i in chosen]

    def indexed(self, encoder: Path, out: Path) -> Index:
        index(encoder, self.file, out=out, device="cpu", quiet=True)
        return open_index(out, verify=False, device="cpu")


def answered(
    found: Index,
    queries: Sequence[str],
    right: Sequence[set[str]],
    *,
    method: Method,
    rerank: Reranker | None = None,
) -> dict[str, Any]:
    """Scores of a method with the interval of MRR@10, milliseconds per query asked together and alone, and the places
    of the right paragraphs, see PLACES."""

    def ask(some: Sequence[str]) -> list[list[str]]:
        return [[hit.id for hit in hits] for hits in found.search(some, top=TOP, method=method, rerank=rerank)]

    ask(queries[:1])  # what is loaded first is not timed
    began = time.perf_counter()
    ranked = ask(queries)
    together = 1000 * (time.perf_counter() - began) / len(queries)
    began = time.perf_counter()
    for query in queries[:ALONE]:
        ask([query])
    alone = 1000 * (time.perf_counter() - began) / len(queries[:ALONE])
    ranks = reciprocal_rank_at(ranked, right, k=TOP)
    low, high = bootstrap_interval(ranks)
    one, ten = (float(recall_at(ranked, right, k=k).mean()) for k in (1, TOP))
    scores = {"queries": len(queries), "mrr_10": float(ranks.mean()), "mrr_low": low, "mrr_high": high}
    places = "".join(PLACES[round(1 / rank) if rank else 0] for rank in ranks.tolist())
    return {**scores, "recall_1": one, "recall_10": ten, "ms_together": together, "ms_alone": alone, "places": places}


def apart(first: str, second: str) -> Paired:
    """The difference in MRR@10 of two methods that answered the same questions, from their places."""
    ranks = [[1 / PLACES.index(sign) if sign != "0" else 0.0 for sign in places] for places in (first, second)]
    return paired_bootstrap(*ranks)


def pairs(task: Task, rows: int) -> Task:
    """Training questions with the paragraphs that answer them, to tune vectors."""
    train, held = (
        Split([(one.question, one.context) for one in part.texts], same_texts([one.context for one in part.texts]))
        for part in (sample(task.train, rows), sample(task.validation, HELD))
    )
    return Task(
        "embedding",
        (),
        ("question", "context"),
        "",
        train,
        held,
        None,
        (),
        fingerprint((), train, held),
        "mrr",
    )


def judgements(task: Task, rows: int) -> Task:
    """Training questions, each with its paragraph (yes) and with one of the first that BM25 finds, drawn from those
    that do not answer (no). Always the first of them would teach that the best match of words is wrong."""
    contexts = list(dict.fromkeys(one.context for part in (task.train, task.validation) for one in part.texts))
    with tempfile.TemporaryDirectory() as folder:
        build_bm25(contexts, Path(folder))
        words = Bm25(Path(folder))
        train, held = (
            _judged(part, contexts, words)
            for part in (sample(task.train, rows, seed=1), sample(task.validation, HELD // 2, seed=1))
        )
    labels = ("no", "yes")
    sha256 = fingerprint(labels, train, held)
    return Task("pair", labels, ("question", "paragraph"), "label", train, held, None, (), sha256)


def _judged(split: Split, contexts: Sequence[str], words: Bm25) -> Split:
    texts, labels = [], []
    draw = np.random.default_rng(3)
    found = words.search([one.question for one in split.texts], top=NEAR)
    for one, answers, (places, _) in zip(split.texts, split.labels, found, strict=True):
        said = [text for text, _ in answers]
        near = [contexts[place] for place in places if contexts[place] != one.context]
        wrong = [text for text in near if not any(answer in text for answer in said)]
        other = [wrong[draw.integers(len(wrong))]] if wrong else []
        texts += [(one.question, text) for text in (one.context, *other)]
        labels += [1] + [0] * len(other)
    return Split(texts, np.array(labels, dtype=np.int64))
