"""Dropout drops what it says, scales what it keeps, and follows torch's seed."""

import pytest
import torch
from torch import nn

from slimbert.parts.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_share_and_independence(rate: float):
    torch.manual_seed(0)
    kept = dropout(torch.ones(1_000_003), rate) != 0  # a number of values that four does not divide
    error = 5 * (rate * (1 - rate) / 1e6) ** 0.5
    assert float(kept.float().mean()) == pytest.approx(1 - rate, abs=error)
    for lag in range(1, 9):  # the values that share a random number are independent, too
        both = float((kept[lag:] & kept[:-lag]).float().mean())
        assert both == pytest.approx((1 - rate) ** 2, abs=2 * error), lag
    for place in range(4):  # as are the four places within it
        assert float(kept[place::4].float().mean()) == pytest.approx(1 - rate, abs=2 * error), place


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradient(dtype: torch.dtype):
    torch.manual_seed(0)
    x = torch.randn(7, 5, 3, dtype=dtype).requires_grad_()
    y = dropout(x, 0.5)
    assert y.dtype == dtype
    kept = (y != 0).detach()
    assert torch.equal(y.detach(), torch.where(kept, 2 * x, 0).detach())
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, 2.0 * kept.to(dtype))


def test_mean_stays():
    torch.manual_seed(0)
    assert float(dropout(torch.ones(1_000_000), 0.1).mean()) == pytest.approx(1, abs=0.002)


def test_follows_the_seed():
    x = torch.ones(1000)
    made = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        made.append(dropout(x, 0.1))
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_edges():
    x = torch.randn(10)
    assert dropout(x, 0.0) is x
    assert not dropout(x, 1.0).any()
    assert dropout(torch.empty(0, 3), 0.1).shape == (0, 3)
    assert Dropout(0.5).eval()(x) is x
    assert isinstance(Dropout(0.5), nn.Dropout)  # what others search a model for


def test_compiled_draws_like_torch():
    """Inside a compiled graph it is torch's own dropout, whose mask the compiler fuses."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
        graphs.append(graph)
        return graph.forward

    torch.compile(Dropout(0.5).train(), backend=keep)(torch.ones(8))
    assert any("dropout" in str(node.target) for graph in graphs for node in graph.graph.nodes)
