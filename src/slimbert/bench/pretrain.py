"""Masked-LM training measured side by side: stock transformers, the same tuned, ours, and one written by hand.

All arms train the same shape (12 layers, width 256, 4 heads, rows of 128) on the same fixed batches, in one process,
turn by turn, so that what the machine does besides hits all alike. The first call of every arm (compilation) is timed
apart. bfloat16 is used where the hardware multiplies it natively; elsewhere every arm runs in float32, stock included.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import dump
from ..data.metrics import bootstrap_statistic
from ..hf.peers import Shape, pretrain_step
from ..model import EncoderConfig, ModelConfig, fresh
from ..model.cost import cost
from ..model.heads import MaskedLmConfig
from ..model.presets import from_pattern
from ..train.engine import check_compile, choose_core, engine
from ..train.environment import best_dtype, environment, gemm_tflops
from ..train.loop import Start, train
from ..train.objectives import MaskedLm, Objective
from ..train.optim import adamw, rate
from ..train.recipe import Recipe, TrainConfig
from .handwritten import HandwrittenBert

SHAPE = Shape()  # bert_deep_small: 12 layers, width 256, 4 heads
LENGTH, PREDICTED = 128, 19  # tokens and predicted positions per row: 15% of 128
PAIRS = 15  # of ours and the handwritten one, at least
STEPS = 1_000_000  # of the schedule, of which a measurement runs few

Update = Callable[[], object]


def pretrain_benchmark(
    *,
    seconds: float = 540.0,
    batch_size: int = 64,
    shape: Shape = SHAPE,
    compiled: bool = True,
    tell: Callable[[str], object] = lambda message: None,
) -> dict[str, Any]:
    """Tokens/s of every arm and their ratios, in about `seconds` where the machine allows (never fewer than PAIRS
    pairs).

    Where an update takes long, the pairs of ours and the handwritten one are measured on batches of 16 rows, where the
    cost of composition weighs more, not less; `pair_batch_size` says so. `compiled` False leaves compilation out
    (tests).
    """
    if compiled:
        check_compile("cpu")
    begin, precision = time.perf_counter(), best_dtype("cpu")
    tell(f"matrix product in {precision}")
    tflops = gemm_tflops(precision)
    bench = _Arms(shape, precision, compiled)
    arms, first = bench.begun(("stock", "stock_tuned", "slimbert", "handwritten"), batch_size, tell)
    long = timed(arms["slimbert"]) > 2.0
    few = 16 if long else batch_size
    pairs = {name: arms[name] for name in ("slimbert", "handwritten")}
    if long:
        pairs, _ = bench.begun(tuple(pairs), few, tell)
    spent: dict[str, list[float]] = {name: [] for name in arms}
    ratios: list[float] = []
    while len(ratios) < PAIRS or (time.perf_counter() - begin < seconds * 0.9 and len(ratios) < 4 * PAIRS):
        order = ("slimbert", "handwritten") if len(ratios) % 2 else ("handwritten", "slimbert")
        once = {name: timed(pairs[name]) for name in order}
        ratios.append(once["slimbert"] / once["handwritten"])
        if len(ratios) % 3 == 1:
            for name in arms:
                spent[name].append(timed(arms[name]))
        tell(f"{len(ratios)} pairs, {len(spent['stock'])} rounds")
    speed = {name: batch_size * LENGTH / median(times) for name, times in spent.items()}
    interval = bootstrap_statistic([np.array(ratios)], lambda some: float(np.median(some)))
    return {
        **{name: round(value, 1) for name, value in speed.items()},
        "ratio": speed["slimbert"] / speed["stock"],
        "ratio_tuned": speed["slimbert"] / speed["stock_tuned"],
        "composed_over_handwritten": median(ratios),
        "composed_over_handwritten_interval": list(interval),
        "pairs": len(ratios),
        "rounds": len(spent["stock"]),
        "pair_batch_size": few,
        "batch_size": batch_size,
        "precision": precision,
        "gemm_tflops": tflops,
        "model_flops_utilisation": flops_per_token(bench.recipe) * speed["slimbert"] / (tflops * 1e12),
        "first_update_seconds": first,
        "seconds_per_update": spent,
        "seconds": time.perf_counter() - begin,
        "recipe": dump(bench.recipe),
        "environment": environment(),
    }


def flops_per_token(recipe: Recipe) -> float:
    """Operations that training needs per token: three times the forward's, the head on predicted rows only."""
    parts = cost(recipe.model, length=LENGTH, keep=PREDICTED, training=True)
    return 2 * 3 * sum(part.macs for part in parts) / LENGTH


class _Arms:
    """Makes the arms of one shape; every one is a function that makes one update."""

    def __init__(self, shape: Shape, precision: Any, compiled: bool) -> None:
        self.shape, self.precision, self.compiled = shape, precision, compiled
        self.recipe = recipe_of(encoder_of(shape), compiled=compiled)

    def begun(
        self, names: tuple[str, ...], rows: int, tell: Callable[[str], object]
    ) -> tuple[dict[str, Update], dict[str, float]]:
        """(the arms, the seconds of the first update of each) on fixed batches of `rows`."""
        batches = [random_batch(self.shape, seed, rows) for seed in range(4)]
        arms, first = {}, {}
        for name in names:
            tell(f"{name}: first update on {rows} rows")
            arms[name] = self.made(name, batches)
            first[name] = timed(arms[name])
        return arms, first

    def made(self, name: str, batches: list[dict[str, Tensor]]) -> Update:
        if name == "slimbert":
            return self.ours(batches)
        if name == "handwritten":
            return self.handwritten(batches)
        tuned = name == "stock_tuned"
        return pretrain_step(self.shape, batches, precision=self.precision, tuned=tuned and self.compiled)

    def ours(self, batches: list[dict[str, Tensor]]) -> Update:
        """One update of the loop that `slimbert pretrain` iterates."""
        return our_update(MaskedLm(fresh(self.recipe.model, self.recipe.train.seed)), batches, self.recipe)

    def handwritten(self, batches: list[dict[str, Tensor]]) -> Update:
        shape = self.shape
        model = HandwrittenBert(layers=shape.layers, dim=shape.dim, heads=shape.heads, vocab=shape.vocab)
        forward = torch.compile(model, dynamic=False) if self.compiled else model
        optimizer = adamw(model, self.recipe.optim)
        turn = cycle(batches)

        def update() -> float:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
                loss = forward(next(turn))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            return float(loss.detach())

        return update


def encoder_of(shape: Shape) -> EncoderConfig:
    """BERT of that shape."""
    pattern, head_dim = f"{shape.layers}{{sf}}", shape.dim // shape.heads
    return from_pattern(pattern, dim=shape.dim, head_dim=head_dim, vocab=shape.vocab, max_len=shape.max_len)


def recipe_of(encoder: EncoderConfig, *, compiled: bool) -> Recipe:
    """Masked words on that encoder; all else by default."""
    model = ModelConfig(encoder=encoder, head=MaskedLmConfig())
    return Recipe(model=model, train=TrainConfig(steps=STEPS, compile=compiled))


def our_update(
    objective: Objective, batches: Sequence[dict[str, Tensor]], recipe: Recipe, *, device: str = "cpu"
) -> Update:
    """One update of the loop that `slimbert pretrain` iterates, on the next of `batches`, which are used in turn."""
    settings = recipe.train
    accelerator = engine(device=device, precision=settings.precision)
    choose_core(objective, settings.core, device=device)
    objective = objective.to(device)
    placed = [{name: value.to(device) for name, value in batch.items()} for batch in batches]

    def lr(now: Start) -> float:
        return rate(recipe.optim, (now.step + 1) / STEPS)

    loop: Iterator[Any] = train(
        objective, cycle(placed), adamw(objective, recipe.optim), lr=lr, accelerator=accelerator,
        clip=recipe.optim.clip, compiled=settings.compile,
    )  # fmt: skip
    return lambda: next(loop)


def random_batch(shape: Shape, seed: int, rows: int) -> dict[str, Tensor]:
    """Random tokens, masked: the time of an update does not depend on which they are."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(shape.vocab // 10, shape.vocab, (rows, LENGTH), generator=random)
    positions = torch.rand(rows, LENGTH, generator=random).topk(PREDICTED).indices.sort(dim=1).values
    labels = ids.gather(1, positions)
    masked = ids.scatter(1, positions, 103)
    return {"input_ids": masked, "positions": positions, "labels": labels, "weights": torch.ones(labels.shape)}


def timed(update: Update, *, device: str = "cpu") -> float:
    """Seconds of one update, until a GPU has done all of it: it would else be timed in the turn of the next."""
    begin = time.perf_counter()
    update()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin
