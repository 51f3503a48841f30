"""Compiled training is the eager one on a set of encoders in which every two choices meet."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.testing import assert_close

from grid import FORMS, NARROWINGS, OBJECTIVES, POSITIONS, WIRINGS, batch_of, encoder, objective_of

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

    def gradients(run: Any) -> dict[str, Tensor]:
        objective.zero_grad()
        loss = run(batch)
        loss.total.backward()
        grads = {key: p.grad.clone() for key, p in objective.named_parameters() if p.grad is not None}
        return grads | {"loss": loss.total.detach()}

    eager = gradients(objective)
    assert len(eager) == 1 + len(list(objective.parameters()))
    compiled = gradients(torch.compile(objective, backend="aot_eager", fullgraph=True, dynamic=False))
    assert counters["stats"]["unique_graphs"] == 1
    assert_close(compiled, eager, **CLOSE)
