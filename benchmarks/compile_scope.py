"""Compiling a pretraining update whole, or layer by layer: time of compiling, time of an update.

    python benchmarks/compile_scope.py [--rows 16] [--pairs 20] [--name compile_scope]

bert_deep_small on fixed batches of random tokens, by its default recipe; the two take turns in one process. Whole:
embedding, layers, head and loss are one graph, as `train.compile` does it. By layer: each layer is compiled by itself
(they share one graph), the rest runs eagerly. Nothing else may run.
"""

import argparse
import json
import statistics
import time
from itertools import cycle
from typing import Any

import torch
from records import done, keep, same_machine

from slimbert.bench.pretrain import SHAPE, Update, _Arms
from slimbert.model import fresh
from slimbert.train.engine import choose_core, engine
from slimbert.train.environment import best_dtype, gemm_tflops
from slimbert.train.loop import train
from slimbert.train.objectives import MaskedLm
from slimbert.train.optim import adamw


def by_layer(arms: _Arms, batches: list[dict[str, torch.Tensor]]) -> Update:
    """One update with every layer compiled by itself."""
    settings = arms.recipe.train
    model = fresh(arms.recipe.model, settings.seed)
    choose_core(model, settings.core, device="cpu", length=batches[0]["input_ids"].shape[1])
    for layer in model.encoder.layers:
        layer.compile(fullgraph=True, dynamic=False)
    objective = MaskedLm(model)
    accelerator = engine(device="cpu", precision=settings.precision)
    optimizer = adamw(objective, arms.recipe.optim)
    loop: Any = train(objective, cycle(batches), optimizer, accelerator=accelerator, clip=arms.recipe.optim.clip)
    return lambda: next(loop)


def timed(update: Update) -> float:
    begin = time.perf_counter()
    update()
    return time.perf_counter() - begin


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=16)
    options.add_argument("--pairs", type=int, default=20)
    options.add_argument("--name", default="compile_scope")
    chosen = options.parse_args()
    same_machine(chosen.name)
    if done(chosen.name, "result") is None:
        precision = best_dtype("cpu")
        arms = _Arms(SHAPE, precision, True)
        batches = [arms.batch(seed, chosen.rows) for seed in range(4)]
        updates = {"whole": arms.ours(batches), "by_layer": by_layer(arms, batches)}
        first = {name: timed(update) for name, update in updates.items()}
        spent: dict[str, list[float]] = {name: [] for name in updates}
        for pair in range(chosen.pairs):
            for name in ("whole", "by_layer") if pair % 2 else ("by_layer", "whole"):
                spent[name].append(timed(updates[name]))
        result: dict[str, Any] = {
            "rows": chosen.rows,
            "precision": precision,
            "gemm_tflops": gemm_tflops(precision),
            "first_update_seconds": first,
            "median_seconds": {name: statistics.median(times) for name, times in spent.items()},
            "seconds": spent,
        }
        each = result["median_seconds"]
        keep(chosen.name, "result", result | {"by_layer_over_whole": each["by_layer"] / each["whole"]})
    shown = {name: value for name, value in done(chosen.name, "result").items() if name != "seconds"}
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
