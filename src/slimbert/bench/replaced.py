"""Detection of replaced tokens measured side by side: masked LM, ours with a wide and a narrow generator, and
transformers' ELECTRA, as its models come (dropout, eager) and tuned (no dropout, compiled where ours is).

All arms train the same shape (12 layers, width 256, 4 heads, a token table of width 128, rows of 128) on the same fixed
batches, in one process, turn by turn, so that what the machine does besides hits all alike. The first update of every
arm is not counted. A token counts once, for the model that is kept, whatever the generator spends on it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ..hf.peers import Shape
from ..hf.peers_electra import electra_step
from ..model import ModelConfig, fresh
from ..model.generator import generator_of
from ..model.heads import MaskedLmConfig, ReplacedTokenConfig
from ..train.engine import check_compile
from ..train.environment import best_dtype
from ..train.objectives import MaskedLm, Objective
from ..train.replaced import ReplacedTokens
from .pretrain import LENGTH, SHAPE, Update, encoder_of, our_update, random_batch, recipe_of, timed

ARMS = ("masked_lm", "wide_generator", "narrow_generator", "transformers", "transformers_tuned")
TABLE = 128  # width of the token table: that of ELECTRA-small


def rounds(
    *,
    batch_size: int = 64,
    narrow: int = 2,
    shape: Shape = SHAPE,
    compiled: bool = False,
    device: str = "cpu",
    tell: Callable[[str], object] = lambda message: None,
) -> Iterator[dict[str, float]]:
    """Seconds of one update of every arm, round after round without end; the order changes from round to round.

    narrow: layers of the narrow generator before its rows are picked.
    """
    if compiled:
        check_compile(device)
    made = _Arms(shape, narrow=narrow, compiled=compiled, device=device)
    batches = [drawn_batch(shape, seed, batch_size) for seed in range(4)]
    arms = {}
    for name in ARMS:
        tell(f"{name}: first update")
        arms[name] = made.update(name, batches)
        timed(arms[name], device=device)
    order = list(ARMS)
    while True:
        yield {name: timed(arms[name], device=device) for name in order}
        order.append(order.pop(0))


def summary(seen: Sequence[dict[str, float]], *, batch_size: int) -> dict[str, Any]:
    """Tokens/s of every arm (medians over the rounds), and each as a multiple of every arm of transformers."""
    speed = {name: batch_size * LENGTH / median(one[name] for one in seen) for name in ARMS}
    ours, theirs = ARMS[1:3], ARMS[3:]
    return {
        "tokens_per_second": {name: round(value, 1) for name, value in speed.items()},
        "narrow_over_wide": speed["narrow_generator"] / speed["wide_generator"],
        "over_masked_lm": {name: speed[name] / speed["masked_lm"] for name in ours},
        "over_transformers": {f"{name} / {peer}": speed[name] / speed[peer] for name in ours for peer in theirs},
        "rounds": len(seen),
    }


def drawn_batch(shape: Shape, seed: int, rows: int) -> dict[str, Tensor]:
    """A random batch with the numbers that decide what a generator draws."""
    batch = random_batch(shape, seed, rows)
    return batch | {"draws": torch.rand(batch["labels"].shape, generator=torch.Generator().manual_seed(seed))}


class _Arms:
    """Makes the arms of one shape; every one is a function that makes one update."""

    def __init__(self, shape: Shape, *, narrow: int, compiled: bool, device: str) -> None:
        self.shape, self.narrow, self.compiled, self.device = shape, narrow, compiled, device
        encoder = encoder_of(shape)
        self.encoder = replace(encoder, embedding=replace(encoder.embedding, width=TABLE))
        self.recipe = recipe_of(self.encoder, compiled=compiled)

    def update(self, name: str, batches: Sequence[dict[str, Tensor]]) -> Update:
        if name.startswith("transformers"):
            tuned = name == "transformers_tuned"
            return electra_step(
                self.shape,
                batches,
                table=TABLE,
                precision="bfloat16" if best_dtype(self.device) == "bfloat16" else "float32",
                tuned=tuned,
                compiled=tuned and self.compiled,
                device=self.device,
            )
        return our_update(self.objective(name), batches, self.recipe, device=self.device)

    def objective(self, name: str) -> Objective:
        """The objective of one of our arms."""
        if name == "masked_lm":
            return MaskedLm(fresh(self.recipe.model, 0))
        model = fresh(ModelConfig(encoder=self.encoder, head=ReplacedTokenConfig()), 0)
        narrow = self.narrow if name == "narrow_generator" else None
        generator = ModelConfig(encoder=generator_of(self.encoder, narrow=narrow), head=MaskedLmConfig())
        return ReplacedTokens(model, fresh(generator, 1))
