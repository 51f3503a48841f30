"""The time of a step: an update and an inference of [8, 128], dense, with coefficients, and as the default ticket."""

from itertools import cycle
from typing import Any

import numpy as np
import torch
from timing import Run, ratio, side_by_side

from slimbert.methods.gated import Gated, SearchConfig, gated_adamw
from slimbert.methods.importance import at_random
from slimbert.methods.tickets import DrawConfig, draw
from slimbert.methods.units import costs
from slimbert.model import EncoderConfig, ModelConfig, fresh
from slimbert.model.heads import SequenceConfig
from slimbert.model.transform import with_tokens
from slimbert.subnet import shrink
from slimbert.train.engine import engine
from slimbert.train.loop import train
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.supervised import Supervised, one_class

BATCH, LENGTH = 8, 128
KINDS = ("update", "inference")
OPTIM = OptimConfig(lr=5e-5)


def step_times(encoder: EncoderConfig, precision: Any, *, rounds: int, device: str = "cpu") -> dict[str, Any]:
    """What `timing.side_by_side` found of each call; of updates and inferences, how many times as fast the ticket is.

    That is the median of the ratios within a round, with its 95% interval. Which units are gone is drawn at random: the
    time does not depend on it.
    """
    small = shrink(encoder, draw(at_random(encoder, 0), encoder, DrawConfig()))
    accelerator = engine(device=device, precision=precision)
    calls: dict[str, Run] = {}
    for arm, config in (("dense", encoder), ("search", encoder), ("ticket", small)):
        calls[f"{arm} update"] = waited(update(config, accelerator, device, gated=arm == "search"), device)
        if arm != "search":
            calls[f"{arm} inference"] = waited(inference(config, accelerator, device), device)
    found = side_by_side(calls, rounds=rounds)
    for kind in KINDS:
        ratios = np.array(found[f"dense {kind}"]["seconds"]) / np.array(found[f"ticket {kind}"]["seconds"])
        found[kind] = {"times_as_fast": float(np.median(ratios)), "interval": interval(ratios)}
    length = min(LENGTH, encoder.embedding.max_len)
    whole, part = (costs(one, length=length).layers for one in (encoder, small))
    return found | {"search_over_dense": ratio(found, "search update", "dense update"), "multiply_adds": whole / part}


def waited(call: Run, device: str) -> Run:
    """`call`, and on a GPU the wait until it is done."""
    if device == "cpu":
        return call

    def done() -> None:
        call()
        torch.cuda.synchronize(torch.device(device))

    return done


def update(encoder: EncoderConfig, accelerator: Any, device: str, *, gated: bool) -> Run:
    """One update of the loop that `slimbert finetune` iterates: of the token rows, those that occur are trained, here
    fewer than in real text."""
    head = SequenceConfig(labels=("a", "b"), pool="mean", hidden=None)
    batches = fixed(encoder, device)
    used = torch.cat([batch["input_ids"].flatten() for batch in batches]).unique()
    for batch in batches:
        batch["input_ids"] = torch.searchsorted(used, batch["input_ids"])
    model = with_tokens(fresh(ModelConfig(encoder=encoder, head=head), 0), used.cpu())
    plain = Supervised(model, one_class).to(device)
    objective: Any = Gated(plain).to(device) if gated else plain
    optimizer = gated_adamw(objective, OPTIM, SearchConfig()) if gated else adamw(objective, OPTIM)
    loop: Any = train(objective, cycle(batches), optimizer, accelerator=accelerator)
    return lambda: next(loop)


def inference(encoder: EncoderConfig, accelerator: Any, device: str) -> Run:
    """One forward pass of the encoder without gradients."""
    model = fresh(ModelConfig(encoder=encoder), 0).to(device).eval()
    ids = fixed(encoder, device)[0]["input_ids"]

    @torch.inference_mode()
    def call() -> torch.Tensor:
        with accelerator.autocast():
            return model(ids)

    return call


def fixed(encoder: EncoderConfig, device: str) -> list[dict[str, torch.Tensor]]:
    """Random tokens: the time does not depend on which they are."""
    made = []
    for seed in range(4):
        random = torch.Generator().manual_seed(seed)
        shape = (BATCH, min(LENGTH, encoder.embedding.max_len))
        ids = torch.randint(encoder.embedding.vocab, shape, generator=random)
        batch = {"input_ids": ids, "labels": torch.randint(2, (BATCH,), generator=random)}
        made.append({name: value.to(device) for name, value in batch.items()})
    return made


def interval(ratios: Any) -> list[float]:
    """95% interval of the median, by the bootstrap."""
    medians = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    return [float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))]
