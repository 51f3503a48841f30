"""Compiled training is the eager one on a set of encoders in which every two choices meet."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.testing import assert_close

from grid import DIM, FORMS, MAX_LEN, NARROWINGS, OBJECTIVES, POSITIONS, VOCAB, WIRINGS, batch_of, encoder, objective_of
from slimbert.model.presets import from_pattern
from slimbert.train.environment import compile_problem
from slimbert.train.objectives import Objective

FACTORS: tuple[tuple[Any, ...], ...] = (tuple(FORMS), NARROWINGS, tuple(POSITIONS), OBJECTIVES, WIRINGS)
CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 2e-5}  # float32, sums in another order


def pairs(row: Sequence[Any]) -> set[Any]:
    """Every two choices of a row, each with the number of its factor."""
    return set(combinations(enumerate(row), 2))


def covering(factors: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows of one choice of each factor, in which every two choices meet; taken greedily: a few too many."""
    rows: list[tuple[Any, ...]] = []
    left = {pair for row in product(*factors) for pair in pairs(row)}
    while left:
        rows.append(max(product(*factors), key=lambda row: len(pairs(row) & left)))
        left -= pairs(rows[-1])
    return rows


COVERING = covering(FACTORS)


def loss_and_gradients(objective: Objective, run: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `run`, a form of the objective, makes of a batch."""
    objective.zero_grad()
    loss = run(batch)
    loss.total.backward()
    grads = {key: p.grad.clone() for key, p in objective.named_parameters() if p.grad is not None}
    return grads | {"loss": loss.total.detach()}


def test_every_two_choices_meet():
    met = set().union(*map(pairs, COVERING))
    for one, other in combinations(range(len(FACTORS)), 2):
        assert all(((one, a), (other, b)) in met for a, b in product(FACTORS[one], FACTORS[other]))
    assert len(COVERING) <= 12  # of 108; 9 are the least, for two factors of three


@pytest.mark.parametrize(("family", "narrowing", "position", "name", "wiring"), COVERING)
def test_compiled_loss_and_gradients_are_the_eager_ones(
    family: str, narrowing: str, position: str, name: str, wiring: Any
):
    """One graph; ahead-of-time autograd, without code generation."""
    torch.compiler.reset()
    counters.clear()
    objective = objective_of(encoder(family, narrowing, position, wiring=wiring), name).eval()
    batch = batch_of()
    eager = loss_and_gradients(objective, objective, batch)
    assert len(eager) == 1 + len(list(objective.parameters()))
    run = torch.compile(objective, backend="aot_eager", fullgraph=True, dynamic=False)
    compiled = loss_and_gradients(objective, run, batch)
    assert counters["stats"]["unique_graphs"] == 1
    assert_close(compiled, eager, **CLOSE)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor's own imports
@pytest.mark.skipif(compile_problem("cpu") is not None, reason="torch.compile needs a C++ compiler")
def test_generated_code_of_narrow_training_is_the_eager_one():
    """Inductor's own: mixed attention, a convolution behind the colon, absorbed keys and values, each with its backward
    pass. No feed-forward networks: every kernel is compiled for seconds."""
    torch.compiler.reset()
    counters.clear()
    shape = from_pattern("m:cs", dim=DIM, head_dim=8, hidden=64, vocab=VOCAB, max_len=MAX_LEN)
    objective, batch = objective_of(shape, "mlm").train(), batch_of()
    for module in objective.modules():
        if hasattr(module, "absorb"):
            module.absorb = True
    eager = loss_and_gradients(objective, objective, batch)
    assert len(eager) == 1 + len(list(objective.parameters()))
    compiled = loss_and_gradients(objective, torch.compile(objective, fullgraph=True, dynamic=False), batch)
    assert counters["stats"]["unique_graphs"] == 1
    assert_close(compiled, eager, **CLOSE)
