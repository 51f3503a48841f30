"""The rows of a batch encoded in parts: short ones apart from long ones, and no more at a time than memory holds.

A batch may have more rows than texts: windows of long texts, or texts that belong together. Queries are then not padded
to the length of passages, and what is kept for the backward pass does not grow with the batch: where all rows are more
than `chunk` tokens, a part is computed again when its turn comes (Chen et al. 2016, arXiv:1604.06174; for in-batch
negatives Gao et al. 2021, arXiv:2101.06983, "gradient cache", which is the same computation). The gradients are those
of one pass.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..data.sampler import thrifty_parts
from .objectives import Batch

CHUNK = 8192  # tokens that are encoded at a time: an ordinary batch, 32 rows of 256
# What one more pass costs, in tokens: weights are read again, kernels launched, gradients added. On a processor
# measured with MiniLM-L6 (28 without gradients, 76 with them; AVX2, float32), on a GPU by sense.
PASS, PASS_GPU = 64, 8192
Answers = tuple[Tensor, tuple[Tensor, ...]]  # [R, ...] of rows, and what the mixers add to the loss


def pass_tokens(device: str | torch.device) -> int:
    """PASS, by the device."""
    return PASS if torch.device(device).type == "cpu" else PASS_GPU


def in_chunks(answers_of: Callable[[Batch], Answers], batch: Batch, *, chunk: int | None) -> Answers:
    """`answers_of` for all rows of `input_ids` [R, S], `mask` [R, S], in their order.

    chunk: tokens that are encoded at a time, padding counted; None: all. A part counts by its share of the rows, so
    what mixers add is that of one pass where it is a mean over rows; a balance of experts is then one within parts.
    """
    ids, mask = batch["input_ids"], batch.get("mask")
    sizes = np.full(len(ids), ids.shape[1]) if mask is None else mask.sum(dim=1).cpu().numpy()
    parts = thrifty_parts(sizes, max_tokens=chunk, pass_tokens=pass_tokens(ids.device))
    tokens = sum(len(part) * int(sizes[part[0]]) for part in parts)
    again = chunk is not None and tokens > chunk and torch.is_grad_enabled()

    def answered(rows: Tensor, shortest: int, longest: int) -> tuple[Tensor, ...]:
        some = {"input_ids": ids[rows, :longest]}
        if mask is not None and shortest < longest:
            some["mask"] = mask[rows, :longest]
        answers, losses = answers_of(some)
        return answers, *(value * (len(rows) / len(ids)) for value in losses)

    made: list[tuple[Tensor, ...]] = []
    for part in parts:
        rows = torch.from_numpy(part).to(ids.device)  # a tensor: by its device `checkpoint` finds the random state
        ends = int(sizes[part[-1]]), int(sizes[part[0]])
        if again and part is not parts[-1]:  # the last (longest) part comes first in the backward pass: all is there
            made.append(checkpoint(answered, rows, *ends, use_reentrant=False))
        else:
            made.append(answered(rows, *ends))
    place = torch.from_numpy(np.argsort(np.concatenate(parts))).to(ids.device)
    added = tuple(torch.stack(values).sum() for values in zip(*(losses for _, *losses in made), strict=True))
    return torch.cat([one for one, *_ in made])[place], added
