"""What the tests of the command line share: how a command ended, toy sentences, toy settings."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

GOOD, BAD, BOTH = "good great fine lovely", "bad awful poor broken", "the phone screen battery was very"


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


Slimbert = Callable[..., Ended]


def sentence(words: str, seed: int) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice((words if draw.random() < 0.5 else BOTH).split()) for _ in range(8))


def write_csv(path: Path, columns: list[str], rows: list[list[str]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


QUICK = ("--set", "min_updates=4", "epochs=1", "evaluations=1", "batch_size=16")
RECIPE = """
model: {encoder: {pattern: "1{sf}", dim: 16, head_dim: 8, max_len: 32}}
train: {steps: 3, batch_size: 8, evaluate_every: 3, checkpoint_every: 3, evaluate_rows: 8, precision: float32}
"""
