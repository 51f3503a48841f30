"""CoNLL-2003: `slimbert finetune` of MiniLM-L6 beside transformers' `run_ner` recipe, entity F1 and time.

    SLIMBERT_DATA=DIR python benchmarks/conll.py [--seeds 3] [--epochs 3] [--rows 14041] [--name conll]

The official validation is the test (its own test is kept apart); a tenth of train is development for ours, and both
train on the rest, with the same epochs, batch size (8) and rate (5e-5), the recipe's defaults. The arms take turns,
seed by seed. The time of ours has its validation in it. Resumes where it stopped; nothing else may run.
"""

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from peers.run_ner import Tagged, run_ner
from records import done, keep, same_machine
from sst2 import minilm

from slimbert.data.metrics import tag_scores
from slimbert.data.tasks import Task, load_task
from slimbert.jobs.finetune import finetune
from slimbert.train.environment import best_dtype, gemm_tflops

LR, BATCH = 5e-5, 8


def ours(task: Task, seed: int, epochs: int) -> dict[str, float]:
    settings = [f"epochs={epochs}", "min_updates=1", f"lr={LR}", f"batch_size={BATCH}", "warmup=0", "weight_decay=0"]
    settings += ["patience=1000000", "evaluations=1"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        made = finetune(minilm(), task, out=run, settings=settings, seed=seed, quiet=True, with_baselines=False)
    assert made.test is not None
    return {"f1": made.test["f1"], "seconds": made.seconds}


def theirs(task: Task, seed: int, epochs: int) -> dict[str, float]:
    assert task.test is not None
    train, test = (
        Tagged([one.words for one in part.texts], [np.asarray(tags) for tags in part.labels])
        for part in (task.train, task.test)
    )
    found, seconds = run_ner(
        minilm(),
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
    return {"f1": tag_scores(truth, named)["f1"], "seconds": seconds, "rows_cut": cut}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--rows", type=int, default=14041)
    options.add_argument("--name", default="conll")
    chosen = options.parse_args()
    same_machine(chosen.name)
    task = load_task(Path(os.environ["SLIMBERT_DATA"]) / "conll2003", kind="conll2003")
    few = np.sort(np.random.default_rng(0).permutation(len(task.train))[: chosen.rows])
    task = dataclasses.replace(task, train=task.train.take(few))
    arms = {"slimbert": ours, "run_ner": theirs}
    for seed in range(chosen.seeds):
        for arm in list(arms)[:: 1 if seed % 2 else -1]:
            if done(chosen.name, f"{arm} {seed}") is None:
                gemm = gemm_tflops(best_dtype("cpu"))
                keep(chosen.name, f"{arm} {seed}", arms[arm](task, seed, chosen.epochs) | {"gemm_tflops": gemm})
                print(arm, seed, done(chosen.name, f"{arm} {seed}"), flush=True)
    keep(chosen.name, "summary", _summary(chosen.name, chosen.seeds, rows=len(task.train), epochs=chosen.epochs))
    print(json.dumps(done(chosen.name, "summary"), indent=1))


def _summary(name: str, seeds: int, **said: Any) -> dict[str, Any]:
    out: dict[str, Any] = {**said, "lr": LR, "batch_size": BATCH, "precision": best_dtype("cpu")}
    for arm in ("run_ner", "slimbert"):
        scores = [done(name, f"{arm} {seed}")["f1"] for seed in range(seeds)]
        out[arm] = {"f1": statistics.mean(scores), "deviation": statistics.stdev(scores) if seeds > 1 else None}
        out[arm]["seconds"] = statistics.median(done(name, f"{arm} {seed}")["seconds"] for seed in range(seeds))
    ratios = [done(name, f"run_ner {s}")["seconds"] / done(name, f"slimbert {s}")["seconds"] for s in range(seeds)]
    return out | {"times_as_fast": statistics.median(ratios), "times_as_fast_by_seed": ratios}


if __name__ == "__main__":
    main()
