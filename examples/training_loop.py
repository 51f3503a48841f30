"""Training is a loop one iterates: anything can be done between two updates, here stopping when the loss is low enough.

python examples/training_loop.py
"""

from collections.abc import Iterator

import torch

from slimbert.model import ModelConfig, fresh, presets
from slimbert.model.heads import MaskedLmConfig
from slimbert.train.loop import train
from slimbert.train.objectives import Batch, MaskedLm


def counting(rows: int, length: int, vocab: int) -> Iterator[Batch]:
    """Rows that count upwards from a random start; every eighth place is hidden (token 0) and to be predicted."""
    random = torch.Generator().manual_seed(0)
    hidden = torch.arange(1, length, 8)
    while True:
        start = torch.randint(1, vocab - length, (rows, 1), generator=random)
        ids = start + torch.arange(length)
        positions = hidden.expand(rows, -1)
        yield {
            "input_ids": ids.index_fill(1, hidden, 0),
            "positions": positions,
            "labels": ids.gather(1, positions),
            "weights": torch.ones(positions.shape),
        }


def main(steps: int = 300, enough: float = 1.0) -> float:
    encoder = presets.from_pattern("2{sf}", dim=64, head_dim=32, vocab=64, max_len=32)
    objective = MaskedLm(fresh(ModelConfig(encoder=encoder, head=MaskedLmConfig()), seed=0))
    optimizer = torch.optim.AdamW(objective.parameters(), lr=5e-3)
    loss = float("inf")
    for step in train(objective, counting(rows=32, length=32, vocab=64), optimizer):
        loss = step.loss
        if step.n % 50 == 0:
            print(f"step {step.n}  loss {loss:.3f}")
        if loss < enough or step.n == steps:
            break
    return loss


if __name__ == "__main__":
    main()
