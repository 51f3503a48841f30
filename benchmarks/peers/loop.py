"""The training loop of transformers' examples: Trainer's defaults, rows in random order, each batch padded alone."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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
    order = np.random.default_rng(seed)
    began = time.perf_counter()
    for _ in range(epochs):
        shuffled = order.permutation(len(rows))
        for first in range(0, len(rows), batch_size):
            step(dict(collate([rows[i] for i in shuffled[first : first + batch_size]])))
    return time.perf_counter() - began
