"""The training loop of transformers' examples: Trainer's defaults, rows in random order, each batch padded alone."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from slimbert.hf.peers import Precision, updates


def trained(
    model: nn.Module,
    rows: Sequence[dict[str, Any]],
    collate: Callable[[list[dict[str, Any]]], Any],
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    precision: Precision,
    seed: int,
) -> float:
    """Seconds of training. AdamW without decay, the rate falling linearly from the start, gradients clipped at 1."""
    count = epochs * -(-len(rows) // batch_size)
    step = updates(model, precision=precision, lr=lr, schedule=lambda n: max(0.0, 1 - n / count))
    began = time.perf_counter()
    for index in batches(len(rows), epochs=epochs, batch_size=batch_size, seed=seed):
        step(dict(collate([rows[i] for i in index])))
    return time.perf_counter() - began


def batches(rows: int, *, epochs: int, batch_size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """The numbers of the rows of each update: in random order, in every epoch another."""
    order = np.random.default_rng(seed)
    for _ in range(epochs):
        shuffled = order.permutation(rows)
        for first in range(0, rows, batch_size):
            yield shuffled[first : first + batch_size]
