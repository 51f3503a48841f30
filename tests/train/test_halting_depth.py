"""What the price of going on does to the depth, on texts of which half can be answered early, and half cannot.

A convolution of width 5 carries a word two places in a layer. The word that decides stands one place from the first, or
five places: the first token has it after one layer, or after three.
"""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from slimbert.jobs.heading import with_head
from slimbert.model import ModelConfig, fresh
from slimbert.model.adaptive import Adapted, Safe, adaptive
from slimbert.model.exits import DactConfig
from slimbert.model.heads import SequenceConfig
from slimbert.model.model import Model
from slimbert.parts.convolution import ConvolutionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.residual import LayerConfig
from slimbert.train.engine import engine
from slimbert.train.halting import Halting, HaltingConfig, with_progress
from slimbert.train.loop import train
from slimbert.train.optim import OptimConfig, adamw, rate
from slimbert.train.supervised import Supervised, one_class
from toys import VOCAB, encoder_of

LABELS, UNITS, LENGTH = ("a", "b"), 4, 12
NEAR, FAR = 1, 5
TAUS = (0.0, 1e-3, 1e-2, 1e-1)
MIX = (ConvolutionConfig(kernel=5, init="fan_in"), MlpConfig(hidden=64))
OPTIM = OptimConfig(lr=5e-3, weight_decay=0.0, warmup=0.1, course="linear")


def batches(seed: int, rows: int = 32) -> Iterator[dict[str, Tensor]]:
    """Rows of which every other one has the word that decides NEAR, the others FAR."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.where(torch.arange(rows) % 2 == 0, NEAR, FAR)
    while True:
        ids = torch.randint(3, VOCAB, (rows, LENGTH), generator=generator)
        labels = torch.randint(0, 2, (rows,), generator=generator)
        ids[:, 0] = 0
        ids[torch.arange(rows), place] = 1 + labels
        yield {"input_ids": ids, "labels": labels}


def taught(objective: Supervised, updates: int) -> Model:
    feed = with_progress((batch for batch, _ in zip(batches(0), range(updates), strict=False)), 0, updates)
    steps = train(
        objective,
        feed,
        adamw(objective, OPTIM),
        lr=lambda now: None if now.step >= updates else rate(OPTIM, (now.step + 0.5) / updates),
        accelerator=engine(device="cpu", precision="float32"),
        clip=1.0,
    )
    assert len(list(steps)) == updates
    return objective.model.eval()


@pytest.fixture(scope="module")
def taught_twice() -> tuple[float, dict[float, tuple[Adapted, float]]]:
    """(the share of 256 texts that the plain model answers right; for each price how deep they go, and that share)."""
    config = ModelConfig(
        encoder=encoder_of(*[LayerConfig(mix=MIX)] * UNITS), head=SequenceConfig(labels=LABELS, hidden=None)
    )
    plain = taught(Supervised(fresh(config, 0), one_class), 120)
    test, first = next(batches(99, 256)), torch.zeros(256, 1, dtype=torch.long)
    with torch.no_grad():
        before = float((plain(test["input_ids"], select=first).argmax(-1) == test["labels"]).float().mean())
    assert before > 0.98
    out = {}
    for tau in TAUS:
        head = DactConfig(labels=LABELS, units=UNITS, dropout=0.0)
        model = taught(Halting(with_head(plain, head, dropout=0.0, seed=0), one_class, HaltingConfig(tau=tau)), 100)
        ran = adaptive(model, test["input_ids"], select=first, policy=Safe())
        out[tau] = ran, float((ran.answers.argmax(-1) == test["labels"]).float().mean())
    return before, out


@pytest.fixture(scope="module")
def found(taught_twice: tuple[float, dict[float, tuple[Adapted, float]]]) -> dict[float, tuple[Adapted, float]]:
    return taught_twice[1]


def test_halting_is_earlier_the_dearer_it_is_to_go_on(found: dict[float, tuple[Adapted, float]]):
    means = [float(found[tau][0].depth.float().mean()) for tau in TAUS]
    assert all(after <= 1.05 * before for before, after in itertools.pairwise(means)), means
    assert means[-1] < means[0] - 0.2, means


def test_halting_is_earlier_on_easy_texts(found: dict[float, tuple[Adapted, float]]):
    depth = found[1e-2][0].depth.float()
    assert depth[1::2].mean() - depth[::2].mean() > 1


def test_halting_without_a_price_costs_no_point(taught_twice: tuple[float, dict[float, tuple[Adapted, float]]]):
    plain, found = taught_twice
    assert found[0.0][1] >= plain - 0.01
