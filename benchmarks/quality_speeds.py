"""The speeds of the arms of `quality.py`: seconds of an update of each, all taking turns in one process.

    minutes of a run = its updates x seconds of an update / 60

The seconds of an arm are BERT's median times the median of the arm's ratios to BERT within a round: where the machine's
speed drifts, it drifts for both. An update is that of `slimbert pretrain`, its batch and masks included. Validation,
checkpoints and compilation are in no minute; what a validation takes stands beside.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality_arms import BATCH, BERT, EVALUATE, Arm, Shape, compiles, settings_of
from timing import Run, ratio, side_by_side

from slimbert.data.metrics.seeds import bootstrap_statistic
from slimbert.data.shards import Shards
from slimbert.jobs.pretrain import Run as PretrainRun
from slimbert.jobs.resolve import resolve
from slimbert.parts.absorbed import PRICE
from slimbert.train.environment import best_dtype, gemm_tflops
from slimbert.train.evaluate import validate
from slimbert.train.loop import train
from slimbert.train.run import RunFolder

ROUNDS, PASSES = 21, 3  # of updates, of validations
STEPS = 1_000_000  # of the schedule, of which a measurement runs few
STEADY = 0.1  # by which the matrix product may change while the speeds are measured
Speeds = Mapping[str, Any]


def measured(arms: Mapping[str, tuple[Arm, Shape]], folder: Path, *, device: str) -> dict[str, Any]:
    """Updates and validations of all arms side by side, with the matrix product in TFLOP/s before and after."""
    precision = best_dtype(device)
    products = [gemm_tflops(precision, device=device)]
    with tempfile.TemporaryDirectory() as out, _room_for(len(arms), device):
        made = {name: _made(arm, shape, folder, Path(out), device) for name, (arm, shape) in arms.items()}
        updates = side_by_side({name: _update(run) for name, run in made.items()}, rounds=ROUNDS)
        passes = side_by_side({name: _validation(run) for name, run in made.items()}, rounds=PASSES, warm=1)
    products.append(gemm_tflops(precision, device=device))
    shards = Shards.open(folder, verify=False)
    macs = {
        name: arm.multiply_adds(shape, vocab=shards.vocab_size, length=shards.seq_len)
        for name, (arm, shape) in arms.items()
    }
    about = {"tokens": BATCH * shards.seq_len, "compiled": compiles(device), "precision": precision, "price": PRICE}
    times = {"updates": updates, "validations": passes, "intervals": {name: interval(updates, name) for name in arms}}
    return about | times | {"gemm_tflops": products, "multiply_adds": macs}


def seconds(speeds: Speeds, name: str) -> float:
    """Of an update of this arm."""
    return float(speeds["updates"][BERT]["median"]) * ratio(speeds["updates"], name, BERT)


def interval(updates: Mapping[str, Any], name: str) -> tuple[float, float]:
    """The 95% interval of the median of the ratios to BERT, over the rounds; takes a moment, so the record keeps it."""
    mine, bert = (np.array(updates[one]["seconds"]) for one in (name, BERT))
    return bootstrap_statistic([mine / bert], lambda some: float(np.median(some)))


def tokens_per_second(speeds: Speeds, name: str) -> float:
    return float(speeds["tokens"]) / seconds(speeds, name)


def validating(speeds: Speeds, name: str) -> float:
    """What a validation after every EVALUATE updates adds to their time, as a share of it."""
    return float(speeds["validations"][name]["median"]) / (EVALUATE * seconds(speeds, name))


def unsteady(speeds: Speeds) -> str:
    """A sentence where something else ran beside: the matrix product was another one at the end; else empty."""
    before, after = speeds["gemm_tflops"]
    if abs(after / before - 1) <= STEADY:
        return ""
    return f"**The machine was not quiet**: {before:.3f} TFLOP/s before the speeds were measured, {after:.3f} after."


def _made(arm: Arm, shape: Shape, folder: Path, out: Path, device: str) -> PretrainRun:
    """A run as `pretrain` would begin it; nothing of it is written."""
    shards = Shards.open(folder, verify=False)
    recipe = resolve(arm.recipe(shape) | {"train": settings_of(device)}, shards, budget=f"{STEPS}steps")
    return PretrainRun(recipe, shards, RunFolder(out), device=device, source=None, quiet=True)


def _update(run: PretrainRun) -> Run:
    loop: Iterator[Any] = train(
        run.objective,
        run.feed.training(0),
        run.optimizer,
        lr=run.rate,
        accelerator=run.accelerator,
        clip=run.recipe.optim.clip,
        compiled=run.recipe.train.compile,
    )
    return lambda: _settled(run, next(loop))


def _validation(run: PretrainRun) -> Run:
    assert run.validation is not None
    shards = run.validation
    return lambda: _settled(
        run, validate(run.objective, run.feed.validation(shards), autocast=run.accelerator.autocast())
    )


def _settled(run: PretrainRun, done: object) -> None:
    """Waits until a GPU has done all of it: it would else be timed in the turn of the next arm."""
    if run.accelerator.device.type == "cuda":
        torch.cuda.synchronize(run.accelerator.device)


def _room_for(arms: int, device: str) -> AbstractContextManager[object]:
    """While it lasts, torch keeps a graph of each arm; it would stop at its eighth."""
    if not compiles(device):
        return nullcontext()
    import torch._dynamo

    return torch._dynamo.config.patch(recompile_limit=4 * arms)
