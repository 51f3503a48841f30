"""Compiling a pretraining update whole, or layer by layer: time of compiling, time of an update.

    python benchmarks/compile_scope.py [--rows 16] [--pairs 20] [--name compile_scope]

bert_deep_small on fixed batches of random tokens, by its default recipe; the two take turns in one process. Whole:
embedding, layers, head and loss are one graph, as `train.compile` does it. By layer: each layer is compiled by itself
(they share one graph), the rest runs eagerly. Nothing else may run.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import torch
from records import done, keep, same_machine
from timing import ratio, side_by_side

from slimbert.bench.pretrain import SHAPE, Update, our_update, random_batch, timed
from slimbert.model import ModelConfig, fresh
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.presets import bert_deep_small
from slimbert.train.environment import best_dtype, gemm_tflops
from slimbert.train.objectives import MaskedLm
from slimbert.train.recipe import Recipe, TrainConfig


def whole(recipe: Recipe, batches: list[dict[str, torch.Tensor]]) -> Update:
    """One update as `slimbert pretrain` compiles it."""
    return our_update(MaskedLm(fresh(recipe.model, 0)), batches, recipe)


def by_layer(recipe: Recipe, batches: list[dict[str, torch.Tensor]]) -> Update:
    """One update with every layer compiled by itself."""
    model = fresh(recipe.model, 0)
    for layer in model.encoder.layers:
        layer.compile(fullgraph=True, dynamic=False)
    eager = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, compile=False))
    return our_update(MaskedLm(model), batches, eager)


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=16)
    options.add_argument("--pairs", type=int, default=20)
    options.add_argument("--name", default="compile_scope")
    chosen = options.parse_args(argv)
    same_machine(chosen.name)
    if done(chosen.name, "result") is None:
        model = ModelConfig(encoder=bert_deep_small(), head=MaskedLmConfig())
        recipe = Recipe(model=model, train=TrainConfig(steps=1_000_000, compile=True))
        batches = [random_batch(SHAPE, seed, chosen.rows) for seed in range(4)]
        arms = {make.__name__: make(recipe, batches) for make in (whole, by_layer)}
        first = {name: timed(update) for name, update in arms.items()}
        found: dict[str, Any] = side_by_side(arms, rounds=chosen.pairs, warm=1)
        precision = best_dtype("cpu")
        about = {"rows": chosen.rows, "precision": precision, "gemm_tflops": gemm_tflops(precision)}
        found |= {"first_update_seconds": first, "whole_times_as_fast": ratio(found, "by_layer", "whole")}
        keep(chosen.name, "result", about | found)
    print(json.dumps(done(chosen.name, "result"), indent=1))


if __name__ == "__main__":
    main()
