"""The training loop: a generator that one iterates.

    for step in train(objective, batches, optimizer):
        ...                                             # any code: evaluate, save, draw a ticket, break

Placement, mixed precision, accumulation and processes are Accelerate's. The loop owns the global random state
(dropout) of its process; what it needs to go on bit by bit is in `snapshot`, and `restore` puts it back.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from ..errors import RunError
from .engine import compiled as compile_module
from .objectives import Batch, Objective


class Step(NamedTuple):
    """One update that was made."""

    n: int  # updates so far
    loss: float  # of this update, over all its micro-batches and processes
    parts: dict[str, float]
    tokens: int  # so far
    seconds: float  # so far
    lr: float
    norm: float  # of the gradient before clipping


class Start(NamedTuple):
    """Where a run stands before its next update."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


def train(
    objective: Objective,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    lr: Callable[[Start], float | None] | None = None,
    accelerator: Accelerator | None = None,
    clip: float | None = 1.0,
    compiled: bool = False,
    start: Start = Start(),
) -> Iterator[Step]:
    """Train until `batches` end or `lr` answers None; yields after every update.

    `batches` gives micro-batches, `accelerator.gradient_accumulation_steps` of them per update. `lr` gives the
    learning rate for the update that starts at a Start; a group of the optimiser that has a `factor` gets so much of
    it. `clip` bounds the norm of the gradient. `compiled`: every batch runs as one compiled graph or is an error, see
    `engine.compiled`. Raises RunError at a loss or a gradient that is not finite, before the weights are touched.
    """
    accelerator = accelerator or Accelerator()
    world, each = accelerator.num_processes, accelerator.gradient_accumulation_steps
    prepared, optimizer = accelerator.prepare(objective, optimizer)
    forward = compile_module(prepared) if compiled else prepared
    feed, now, begin = iter(batches), start, time.perf_counter() - start.seconds
    objective.train()
    while True:
        now = now._replace(seconds=time.perf_counter() - begin)  # the reader of the last Step took time, too
        rate = lr(now) if lr else max(group["lr"] for group in optimizer.param_groups)
        if rate is None:
            return
        micro = list(islice(feed, each))
        if len(micro) < each:
            return
        for group in optimizer.param_groups if lr else ():
            group["lr"] = rate * group.get("factor", 1.0)
        sums: dict[str, Tensor] = {}
        for batch in micro:
            with accelerator.accumulate(prepared):
                loss = forward(batch)
                accelerator.backward(loss.total)
                parts = {"loss": loss.total.detach(), **{k: v.detach() for k, v in loss.parts.items()}}
                sums = {name: sums.get(name, 0) + value / each for name, value in parts.items()}
                if accelerator.sync_gradients:
                    values = _means(accelerator, sums)
                    norm = float(accelerator.clip_grad_norm_(prepared.parameters(), math.inf if clip is None else clip))
                    _check(now.step + 1, loss=values["loss"], gradient=norm)
                optimizer.step()
                optimizer.zero_grad()
        tokens = sum(batch["input_ids"].numel() for batch in micro) * world
        now = Start(now.step + 1, now.tokens + tokens, time.perf_counter() - begin)
        yield Step(now.step, values.pop("loss"), values, now.tokens, now.seconds, rate, norm)
        objective.train()


def seed_dropout(seed: int, *, step: int, rank: int) -> None:
    """Seed the global state of a process that begins at `step`, where no checkpoint holds it."""
    torch.manual_seed(seed + 1_000_003 * step + 7_919 * rank)


def snapshot(objective: Objective, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything that the next update depends on, as named tensors."""
    out = {f"objective.{name}": value for name, value in objective.state_dict().items()}
    for name, parameter in objective.named_parameters():
        out |= {f"optimizer.{key}.{name}": value for key, value in optimizer.state.get(parameter, {}).items()}
    out["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        out["random.cuda"] = torch.cuda.get_rng_state()
    return out


def restore(objective: Objective, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put a snapshot back into a freshly made objective and optimiser."""
    own = {name.removeprefix("objective."): v for name, v in tensors.items() if name.startswith("objective.")}
    objective.load_state_dict(own, strict=True)
    for name, parameter in objective.named_parameters():
        found = {
            key.removeprefix("optimizer.").removesuffix(f".{name}"): value
            for key, value in tensors.items()
            if key.startswith("optimizer.") and key.endswith(f".{name}") and key.count(".") == name.count(".") + 2
        }
        optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in found.items()}
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])


def _means(accelerator: Accelerator, sums: Mapping[str, Tensor]) -> dict[str, float]:
    """Means over the processes, as numbers."""
    stacked = torch.stack([value.float().reshape(()) for value in sums.values()])
    reduced = accelerator.reduce(stacked, reduction="mean") if accelerator.num_processes > 1 else stacked
    return dict(zip(sums, reduced.tolist(), strict=True))


def _check(step: int, *, loss: float, gradient: float) -> None:
    for name, value in (("loss", loss), ("gradient's norm", gradient)):
        if not math.isfinite(value):
            raise RunError(f"step {step}: the {name} is {value}")
