"""The batches of a pretraining run, as a function of the number of the update."""

from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator

from ..data.documents import first_places, opened
from ..data.masking import Masking
from ..data.sampler import Sampler
from ..data.shards import Shards
from ..errors import InputError
from ..train.objectives import Batch
from ..train.recipe import Recipe


class Feed:
    """Masked batches as a function of the step: resuming needs no more than its number.

    Every process draws the masks of the whole update and keeps its rows, so that the number of processes changes
    nothing. A compiled run leaves out the last row of the data if it is padded (and not the only one): the mask that it
    needs would be a second graph, compiled in the middle of the run. `notes` says so.

    With data.segments every document of a row begins with [CLS], and a batch says where (`firsts` [B, C]). C is the
    number of documents of the fullest row of the data, so that every batch has one shape; it is at most the number of
    predicted places.
    """

    def __init__(self, recipe: Recipe, shards: Shards, accelerator: Accelerator) -> None:
        tokenizer = shards.tokenizer()
        rate, whole_word = recipe.masking.rate, recipe.masking.whole_word
        self.masking = Masking(rate, tokenizer, whole_word=whole_word, shown=recipe.objective.shown)
        self.pad, self.cls = tokenizer.special.pad, tokenizer.special.cls
        self.shards, self.recipe, self.accelerator = shards, recipe, accelerator
        self.parts = recipe.train.accumulate * accelerator.num_processes  # of an update
        if recipe.train.batch_size % self.parts:
            problem = f"{recipe.train.batch_size} rows do not split into {self.parts} equal parts"
            raise InputError("recipe.train.batch_size", problem, "choose a multiple of processes x train.accumulate")
        self.rows = len(shards)
        self.notes: tuple[str, ...] = ()
        self.firsts = 1
        if recipe.data.segments:
            documents = shards.documents()
            self.firsts = min(int(documents.max()), self.masking.positions_per_row(shards.seq_len))
            share = float((documents - 1).mean()) / shards.seq_len
            self.notes = (f"every document begins with [CLS]: {share:.2%} of the tokens make room for it",)
        if recipe.train.compile and self.rows > 1 and (shards.rows([self.rows - 1]) == self.pad).any():
            self.rows -= 1
            left_out = "the last row of the data is padded: left out, so that every batch has one shape"
            self.notes = (*self.notes, left_out)

    def training(self, start: int) -> Iterator[Batch]:
        """Micro-batches from update `start` on, without end."""
        sampler = Sampler(self.rows, self.recipe.train.batch_size, seed=self.recipe.train.seed)
        parts = self.parts
        step = start
        while True:
            batch = self.batch(self.shards, sampler.batch(step), seed=self.recipe.train.seed * 1_000_003 + step)
            real = batch["mask"].sum() if "mask" in batch else torch.tensor(batch["input_ids"].numel())
            totals = {"total": batch["weights"].sum().clamp(min=1) / parts, "real_total": real / parts}
            pieces = {name: value.chunk(parts) for name, value in batch.items()}
            for micro in range(self.recipe.train.accumulate):
                place = micro * self.accelerator.num_processes + self.accelerator.process_index
                yield self._placed({name: value[place] for name, value in pieces.items()} | totals)
            step += 1

    def validation(self, shards: Shards) -> Iterator[Batch]:
        """The first rows of the validation split, masked the same way each time."""
        rows, size = min(self.recipe.train.evaluate_rows, len(shards)), self.recipe.train.batch_size
        for first in range(0, rows, size):
            index = torch.arange(first, min(first + size, rows)).numpy()
            yield self._placed(self.batch(shards, index, seed=first))

    def batch(self, shards: Shards, index: Any, *, seed: int) -> dict[str, torch.Tensor]:
        """The rows at `index`, masked by `seed`, which also draws what the objective draws."""
        rows, generator = torch.from_numpy(shards.rows(index)), torch.Generator().manual_seed(seed)
        packed: dict[str, torch.Tensor] = {}
        if self.recipe.data.segments:
            rows, segments = opened(rows, torch.from_numpy(shards.segments(index)).long(), cls=self.cls)
            packed = {"segments": segments, "firsts": first_places(segments, self.firsts)}
        batch = self.masking(rows, generator=generator) | packed
        if self.recipe.objective.draws:
            batch["draws"] = torch.rand(batch["labels"].shape, generator=generator)
        real = rows != self.pad
        if not bool(real.all()):
            batch["mask"] = real
        return batch

    def _placed(self, batch: dict[str, torch.Tensor]) -> Batch:
        return {name: value.to(self.accelerator.device, non_blocking=True) for name, value in batch.items()}
