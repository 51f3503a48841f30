"""CoNLL-2003: `slimbert finetune` of MiniLM-L6 beside transformers' `run_ner` recipe, entity F1 and time.

    SLIMBERT_DATA=DIR python benchmarks/conll.py [--seeds 3] [--epochs 3] [--rows 14041] [--name conll]

The official validation is the test (its own test is kept apart); a tenth of train is development for ours, and both
train on the rest, with the same epochs, batch size (8) and rate (5e-5), the recipe's defaults. The arms take turns,
seed by seed. The one validation of ours comes behind its last update; its time is not counted, as it is in the recipe
neither. Resumes where it stopped; nothing else may run.

About 110 minutes at 1,200 tokens/s with all rows, 36 with --rows 4000: 0.76 million tokens a run of ours, 1.6 with the
padding of the recipe's random batches, and the optimiser, which counts at 8 sentences an update.
"""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
    parser,
    sample,
    table,
    versus,
)
from arms import ours as finetuned
from peers.run_ner import Tagged, run_ner
from records import describe, done, keep, same_machine, same_settings

from slimbert.data.metrics import tag_scores
from slimbert.data.tasks import Task, load_task
from slimbert.train.environment import best_dtype

LR, BATCH = 5e-5, 8
SHARES = (0.9, 0.1, 0.0)  # of train: to learn from, development
FAST = (1.5, 1.25)  # times the recipe's speed, with AMX and without


def ours(encoder: Path, task: Task, epochs: int, seed: int) -> dict[str, float]:
    settings = [f"epochs={epochs}", f"lr={LR}", f"batch_size={BATCH}", "warmup=0", "weight_decay=0", *ALL_UPDATES]
    found = finetuned(encoder, task, seed=seed, settings=settings)
    return {"f1": found["f1"], "seconds": found["seconds"]}


def theirs(encoder: Path, task: Task, epochs: int, seed: int) -> dict[str, float]:
    assert task.test is not None
    train, test = (
        Tagged([one.words for one in part.texts], [np.asarray(tags) for tags in part.labels])
        for part in (task.train, task.test)
    )
    found, seconds = run_ner(
        encoder,
        train,
        test,
        classes=len(task.labels),
        epochs=epochs,
        batch_size=BATCH,
        lr=LR,
        precision=best_dtype("cpu"),  # type: ignore[arg-type]
        seed=seed,
    )
    named = [[task.labels[tag] for tag in tags] for tags in found]
    truth = [[task.labels[tag] for tag in tags] for tags in test.tags]
    cut = sum(len(a) != len(b) for a, b in zip(truth, named, strict=True))
    named = [answer + ["O"] * (len(row) - len(answer)) for row, answer in zip(truth, named, strict=True)]
    return {"f1": tag_scores(truth, named, names=task.labels)["f1"], "seconds": seconds, "rows_cut": cut}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="conll", rows=14041, seeds=3)
    options.add_argument("--epochs", type=int, default=3)
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    task = load_task(corpus("conll2003"), kind="conll2003", fractions=SHARES)
    task = dataclasses.replace(task, train=sample(task.train, chosen.rows))
    said = {"rows": len(task.train), "epochs": chosen.epochs, "lr": LR, "batch_size": BATCH}
    same_settings(chosen.name, said | {"precision": best_dtype("cpu")} | other_encoder(chosen.encoder))
    arms = {"slimbert": ours, "run_ner": theirs}
    given = encoder, task, chosen.epochs
    every_seed(chosen.name, {arm: partial(run, *given) for arm, run in arms.items()}, chosen.seeds)
    found = _summary(chosen.name, chosen.seeds, rows=len(task.train), epochs=chosen.epochs)
    keep(chosen.name, "summary", found)
    describe(chosen.name, _text(chosen.name, found, chosen.seeds))
    print(json.dumps(done(chosen.name, "summary"), indent=1))


def _summary(name: str, seeds: int, **said: Any) -> dict[str, Any]:
    said |= {"lr": LR, "batch_size": BATCH, "precision": best_dtype("cpu")}
    return said | versus(name, "f1", peer="run_ner", seeds=seeds)


def _text(name: str, found: dict[str, Any], seeds: int) -> str:
    columns = ["", "entity F1", "seconds of updates, by seed", "TFLOP/s then"]
    rows = arm_rows(name, "f1", ("run_ner", "slimbert"), seeds)
    said = f"{found['rows']:,} sentences, {found['epochs']} epochs, {seeds} seeds, {found['precision']}."
    return f"{said}\n\n{table(columns, rows)}\n\n{listed(judged(found, 'f1', peer='run_ner', fast=FAST))}"


if __name__ == "__main__":
    main()
