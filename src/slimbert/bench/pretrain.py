"""Masked-LM training measured side by side: stock transformers, the same tuned, ours, and one written by hand.

All arms train the same shape (12 layers, width 256, 4 heads, rows of 128) on the same fixed batches, in one process,
turn by turn, so that what the machine does besides hits all alike. The first call of every arm (compilation) is timed
apart. bfloat16 is used where the hardware multiplies it natively; elsewhere every arm runs in float32, stock included.
"""

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import dump
from ..hf.peers import Shape, pretrain_step
from ..model import ModelConfig, fresh
from ..model.cost import cost
from ..model.heads import MaskedLmConfig
from ..model.presets import bert_deep_small
from ..train.engine import choose_core, engine
from ..train.environment import best_dtype, environment, gemm_tflops
from ..train.loop import Start, train
from ..train.objectives import MaskedLm
from ..train.optim import adamw, rate
from ..train.recipe import Recipe, TrainConfig
from .handwritten import HandwrittenBert

SHAPE = Shape()  # 12 layers, width 256, 4 heads
LENGTH, PREDICTED = 128, 19  # tokens and predicted positions per row: 15% of 128
PAIRS = 15  # of ours and the handwritten one, at least

Update = Callable[[], object]


def pretrain_benchmark(
    *, seconds: float = 540.0, batch_size: int = 64, tell: Callable[[str], object] = lambda message: None
) -> dict[str, Any]:
    """Tokens/s of every arm and their ratios, in at most about `seconds` (but never fewer than PAIRS pairs).

    Where an update takes long, the pairs of ours and the handwritten one are measured on batches of 16 rows, where the
    cost of composition weighs more, not less; `pair_batch_size` says so.
    """
    begin, precision = time.perf_counter(), best_dtype("cpu")
    tell(f"matrix product in {precision}")
    tflops = gemm_tflops(precision)
    batches = [_batch(seed, batch_size) for seed in range(4)]
    arms: dict[str, Update] = {}
    compile_seconds = {}
    for name, make in _arms(batches, precision).items():
        tell(f"{name}: first update")
        arms[name] = make()
        compile_seconds[name] = _timed(arms[name])
    long = _timed(arms["slimbert"]) > 2.0
    pairs = {name: arms[name] for name in ("slimbert", "handwritten")}
    if long:
        few = [_batch(seed, 16) for seed in range(4)]
        for name in pairs:
            tell(f"{name}: first update on 16 rows")
            pairs[name] = _arms(few, precision)[name]()
            _timed(pairs[name])
    spent: dict[str, list[float]] = {name: [] for name in arms}
    ratios: list[float] = []
    while len(ratios) < PAIRS or (time.perf_counter() - begin < seconds * 0.9 and len(ratios) < 4 * PAIRS):
        order = ("slimbert", "handwritten") if len(ratios) % 2 else ("handwritten", "slimbert")
        once = {name: _timed(pairs[name]) for name in order}
        ratios.append(once["slimbert"] / once["handwritten"])
        if len(ratios) % 3 == 1:
            for name in arms:
                spent[name].append(_timed(arms[name]))
        tell(f"{len(ratios)} pairs, {len(spent['stock'])} rounds")
    speed = {name: batch_size * LENGTH / median(times) for name, times in spent.items()}
    needed = flops_per_token() * speed["slimbert"]
    low, high = _interval(ratios)
    return {
        **{name: round(value, 1) for name, value in speed.items()},
        "ratio": speed["slimbert"] / speed["stock"],
        "ratio_tuned": speed["slimbert"] / speed["stock_tuned"],
        "composed_over_handwritten": median(ratios),
        "composed_over_handwritten_interval": [low, high],
        "pairs": len(ratios),
        "rounds": len(spent["stock"]),
        "pair_batch_size": 16 if long else batch_size,
        "batch_size": batch_size,
        "precision": precision,
        "gemm_tflops": tflops,
        "model_flops_utilisation": needed / (tflops * 1e12),
        "first_update_seconds": compile_seconds,
        "seconds_per_update": spent,
        "seconds": time.perf_counter() - begin,
        "recipe": dump(_recipe()),
        "environment": environment(),
    }


def flops_per_token() -> float:
    """Operations that training needs per token: three times the forward's, the head on predicted rows only."""
    parts = cost(_recipe().model, batch=1, length=LENGTH, keep=PREDICTED)
    return 2 * 3 * sum(part.macs for part in parts) / LENGTH


def _recipe() -> Recipe:
    """The default recipe of bert_deep_small."""
    model = ModelConfig(encoder=bert_deep_small(), head=MaskedLmConfig())
    return Recipe(model=model, train=TrainConfig(steps=1_000_000, compile=True))


def _arms(batches: list[dict[str, Tensor]], precision: Any) -> dict[str, Callable[[], Update]]:
    return {
        "stock": lambda: pretrain_step(SHAPE, batches, precision=precision),
        "stock_tuned": lambda: pretrain_step(SHAPE, batches, precision=precision, tuned=True),
        "slimbert": lambda: _ours(batches),
        "handwritten": lambda: _handwritten(batches, precision),
    }


def _ours(batches: list[dict[str, Tensor]]) -> Update:
    """One update of the loop that `slimbert pretrain` iterates."""
    recipe = _recipe()
    accelerator = engine(device="cpu", precision=recipe.train.precision)
    model = fresh(recipe.model, recipe.train.seed)
    choose_core(model, recipe.train.core, device="cpu", length=LENGTH)
    objective = MaskedLm(model)

    def lr(now: Start) -> float:
        return rate(recipe.optim, (now.step + 1) / 1_000_000)

    loop: Iterator[Any] = train(
        objective, cycle(batches), adamw(objective, recipe.optim), lr=lr, accelerator=accelerator,
        clip=recipe.optim.clip, compiled=recipe.train.compile,
    )  # fmt: skip
    return lambda: next(loop)


def _handwritten(batches: list[dict[str, Tensor]], precision: str) -> Update:
    model = HandwrittenBert(layers=SHAPE.layers, dim=SHAPE.dim, heads=SHAPE.heads, vocab=SHAPE.vocab)
    forward = torch.compile(model, dynamic=False)
    optimizer = adamw(model, _recipe().optim)
    turn = cycle(batches)

    def update() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = forward(next(turn))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return update


def _batch(seed: int, rows: int) -> dict[str, Tensor]:
    """Random tokens: the time of an update does not depend on which they are."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(1000, SHAPE.vocab, (rows, LENGTH), generator=random)
    positions = torch.rand(rows, LENGTH, generator=random).topk(PREDICTED).indices.sort(dim=1).values
    labels = ids.gather(1, positions)
    masked = ids.scatter(1, positions, 103)
    return {"input_ids": masked, "positions": positions, "labels": labels, "weights": torch.ones(labels.shape)}


def _timed(update: Update) -> float:
    begin = time.perf_counter()
    update()
    return time.perf_counter() - begin


def _interval(values: list[float]) -> tuple[float, float]:
    """95% interval of the median, by the bootstrap."""
    random = np.random.default_rng(0)
    medians = np.median(random.choice(np.array(values), (2000, len(values))), axis=1)
    return float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))
