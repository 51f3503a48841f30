"""Sentence pairs: `slimbert finetune` beside sentence-transformers trained the same way, STS-B, QQP, product matching.

    SLIMBERT_DATA=DIR python benchmarks/sentence_pairs.py [--rows 2000] [--seeds 3] [--tasks stsb qqp products]
    [--name sentence_pairs]

Each library as its documentation has it: for STS-B a bi-encoder whose cosine is trained against the score (Spearman on
the official test), for QQP and product matching (Amazon-Google) a model that reads both texts (F1 of the positive
label, on 2,000 rows of the official validation and on the official test). From which probability on it is given is
chosen on 500 rows that neither trains on, as `slimbert finetune` and the evaluator of sentence-transformers do.
MiniLM-L6 in both, the same rows, epochs, batch size (16), rate (5e-5), a tenth of the updates to warm up, no decay, 128
tokens at most. What differs: where a model reads both texts, ours puts rows of similar length into a batch, and reads
the mean of the tokens, the cross-encoder the first; ours tokenizes before the clock starts, sentence-transformers
inside it (a few thousand short texts a second). The libraries take turns, seed by seed. Resumes where it stopped;
nothing else may run.

About 50 minutes at 1,200 tokens/s, all 18 runs: 1.5 minutes each for STS-B, 1.3 for QQP, 4.5 for product matching,
which learns for four epochs, since one pair in ten is positive. sentence-transformers comes with the extra
`benchmarks`.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from arms import (
    ALL_UPDATES,
    arm_rows,
    corpus,
    every_seed,
    judged,
    listed,
    minilm,
    other_encoder,
    ours,
    parser,
    smaller,
    stop,
    table,
    versus,
)
from records import describe, keep, same_machine, same_settings

from slimbert.data.metrics import f1, spearman, thresholds
from slimbert.data.tasks import Task, load_task
from slimbert.train.environment import best_dtype

LR, BATCH, MAX_LEN, WARMUP = 5e-5, 16, 128, 0.1
VALIDATION, TEST = 500, 2500
PEER = "sentence-transformers"
Result = dict[str, Any]


class Set(NamedTuple):
    """A data set: the kind of task it is to us, the score, the epochs, the rows that are tested at most."""

    folder: str
    kind: str
    metric: str
    epochs: int
    test: int = TEST

    def load(self, rows: int) -> Task:
        pair = ("sentence1", "sentence2") if self.kind == "embedding" else None
        label = "label" if self.kind == "embedding" else None
        task = load_task(corpus(self.folder), kind=self.kind, text_columns=pair, label_column=label)
        return smaller(task, train=rows, validation=VALIDATION, test=self.test)


SETS = {
    "stsb": Set("stsb", "embedding", "spearman", 1),
    "qqp": Set("qqp", "qqp", "f1", 1, test=2000),
    "products": Set("product_match/amazon_google", "product_match", "f1", 4),
}


def mine(encoder: Path, task: Task, one: Set, seed: int) -> Result:
    settings = [f"epochs={one.epochs}", f"lr={LR}", f"batch_size={BATCH}", f"max_len={MAX_LEN}", *ALL_UPDATES]
    return ours(encoder, task, seed=seed, settings=[*settings, f"warmup={WARMUP}", "weight_decay=0"])


def theirs(encoder: Path, task: Task, one: Set, seed: int) -> Result:
    from peers.sbert import Way, bi_encoder, cross_encoder

    assert task.test is not None
    precision: Any = best_dtype("cpu")
    way = Way(epochs=one.epochs, batch_size=BATCH, lr=LR, max_len=MAX_LEN, precision=precision, seed=seed)
    train: Callable[..., Any] = bi_encoder if one.kind == "embedding" else cross_encoder
    asked = [*task.validation.texts, *task.test.texts]
    answers, seconds = train(encoder, task.train.texts, task.train.labels, asked, way)
    checked, found = np.split(answers, [len(task.validation)])
    if one.kind == "embedding":
        return {"spearman": spearman(task.test.labels, found), "seconds": seconds}
    limit = thresholds(task.validation.labels[:, None] == 1, checked[:, None])[0]
    return {
        "f1": f1(task.test.labels, (found >= limit).astype(np.int64)),
        "threshold": float(limit),
        "seconds": seconds,
    }


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="sentence_pairs", rows=2000, seeds=3)
    options.add_argument("--tasks", nargs="+", choices=list(SETS), default=list(SETS))
    chosen = options.parse_args(argv)
    if importlib.util.find_spec("sentence_transformers") is None:
        stop('sentence-transformers is not installed: pip install "slimbert[benchmarks]"')
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    said = {"rows": chosen.rows, "lr": LR, "batch_size": BATCH, "max_len": MAX_LEN, "precision": best_dtype("cpu")}
    same_settings(chosen.name, said | other_encoder(chosen.encoder))
    arms = {"slimbert": mine, PEER: theirs}
    tasks = {name: SETS[name].load(chosen.rows) for name in chosen.tasks}
    for name, task in tasks.items():
        given = encoder, task, SETS[name]
        runs = {arm: partial(run, *given) for arm, run in arms.items()}
        every_seed(chosen.name, runs, chosen.seeds, before=f"{name} ")
    found = {name: _found(chosen.name, name, task, chosen.seeds) for name, task in tasks.items()}
    keep(chosen.name, "summary", found)
    text = _text(chosen.name, found, chosen.seeds)
    describe(chosen.name, text)
    print(text)


def _found(record: str, name: str, task: Task, seeds: int) -> Result:
    assert task.test is not None
    rows = {"rows": len(task.train), "test_rows": len(task.test), "epochs": SETS[name].epochs}
    return rows | versus(record, SETS[name].metric, peer=PEER, seeds=seeds, before=f"{name} ")


def _text(record: str, found: dict[str, Result], seeds: int) -> str:
    columns = ["", "Spearman or F1", "seconds of updates, by seed", "TFLOP/s then"]
    rows, said = [], []
    for name, one in found.items():
        metric = SETS[name].metric
        rows += arm_rows(record, metric, (PEER, "slimbert"), seeds, before=f"{name} ")
        lines = judged(one, metric, peer=PEER)
        lines.append(f"{one['times_as_fast']:.2f} times as fast; {one['rows']:,} pairs, {one['epochs']} epoch(s)")
        said.append(f"{name}: " + " ".join(lines) + f", {one['test_rows']:,} tested.")
    said.append("Sub-samples of train, so neither side's score is what the whole set gives.")
    return f"{table(columns, rows)}\n\n{listed(said)}"


if __name__ == "__main__":
    main()
