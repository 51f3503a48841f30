"""SST-2: `slimbert finetune` of MiniLM-L6 beside a plain loop around transformers' model, score and time.

    SLIMBERT_DATA=DIR python benchmarks/sst2.py [--rows 67349] [--seeds 3] [--epochs 2] [--name sst2]

Same rows, epochs, learning rate, precision and length-sorted batches on both sides; the official validation is the
test (it is looked at once), a part of train the validation of `slimbert finetune`, and the plain loop trains on the
same rest. The arms take turns, seed by seed. Early stopping is off, so that both make the same updates; the one
validation comes behind the last of them, and its time is in neither figure. Resumes where it stopped; nothing else may
run on the machine.
"""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from arms import ALL_UPDATES, corpus, every_seed, minilm, parser, sample, versus
from arms import ours as finetuned
from records import done, keep, same_machine

from slimbert.data.metrics import accuracy
from slimbert.data.sampler import length_buckets
from slimbert.data.tasks import Task, load_task
from slimbert.data.tokenizer import TextTokenizer
from slimbert.hf.peers import Examples
from slimbert.hf.peers import finetune as plain_finetune
from slimbert.train.environment import best_dtype

LR, BATCH, MAX_LEN = 5e-5, 32, 128


def ours(encoder: Path, task: Task, epochs: int, seed: int) -> dict[str, float]:
    settings = [f"epochs={epochs}", f"lr={LR}", f"batch_size={BATCH}", f"max_len={MAX_LEN}", *ALL_UPDATES]
    found = finetuned(encoder, task, seed=seed, settings=settings)
    return {name: found[name] for name in ("accuracy", "seconds", "update_seconds")}


def plain(encoder: Path, task: Task, epochs: int, seed: int) -> dict[str, float]:
    tokenizer = TextTokenizer.load(encoder)
    assert task.test is not None
    sides = [
        Examples(ids=tokenizer.encode(split.texts, MAX_LEN), labels=split.labels)  # type: ignore[arg-type]
        for split in (task.train, task.test)
    ]
    lengths = np.array([len(row) for row in sides[0].ids])
    batches = [length_buckets(lengths, BATCH, seed=seed, epoch=epoch) for epoch in range(epochs)]
    result = plain_finetune(
        encoder, *sides, classes=len(task.labels), batches=batches, precision=best_dtype("cpu"), lr=LR, seed=seed
    )  # fmt: skip
    score = accuracy(task.test.labels, result.predictions)
    return {"accuracy": score, "seconds": result.train_seconds, "tokens": result.train_tokens}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="sst2", rows=67349, seeds=3)
    options.add_argument("--epochs", type=int, default=2)
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    task = load_task(corpus("sst2"))
    task = dataclasses.replace(task, train=sample(task.train, chosen.rows))
    arms = {"slimbert": ours, "plain": plain}
    given = encoder, task, chosen.epochs
    every_seed(chosen.name, {arm: partial(run, *given) for arm, run in arms.items()}, chosen.seeds)
    keep(chosen.name, "summary", summary(chosen.name, chosen.seeds, rows=len(task.train), epochs=chosen.epochs))
    print(json.dumps(done(chosen.name, "summary"), indent=1))


def summary(name: str, seeds: int, **said: Any) -> dict[str, Any]:
    """Means, deviations and the ratio of times over the seeds."""
    said |= {"lr": LR, "batch_size": BATCH, "max_len": MAX_LEN, "precision": best_dtype("cpu")}
    return said | versus(name, "accuracy", peer="plain", seeds=seeds)


if __name__ == "__main__":
    main()
