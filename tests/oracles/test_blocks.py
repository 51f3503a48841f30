"""Attention that drops weights block by block is the formula with those weights dropped: values, gradients, draws."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from slimbert.parts import blocks
from slimbert.parts.blocks import attend_dropping
from slimbert.parts.core import additive

B, H, Q, S, D = 3, 4, 5, 7, 8
SIZES = (1, Q * S, 3 * Q * S, 2 * H * Q * S, 10**6)  # a head, a head, three of four heads, two of three texts, all
RATE = 0.25  # a multiple of 1 / 2^16: what is kept is scaled exactly


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(blocks, "BLOCK", request.param)
    return int(request.param)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def tensors(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, H, Q, D], k and v [B, H, S, D], laid out as a fused product leaves them."""
    rows = torch.randn(B, Q, H, D, dtype=dtype)
    columns = torch.randn(B, S, 2, H, D, dtype=dtype)
    leaves = rows.transpose(1, 2), columns[:, :, 0].transpose(1, 2), columns[:, :, 1].transpose(1, 2)
    return leaves[0].requires_grad_(), leaves[1].detach().requires_grad_(), leaves[2].detach().requires_grad_()


def bias(kind: str, dtype: torch.dtype = torch.float32) -> Tensor | None:
    """Nothing; padding [B, 1, 1, S]; other documents and slopes [B, H, Q, S]."""
    if kind == "none":
        return None
    mask = torch.arange(S) < torch.tensor([[4], [S], [1]])
    padding = additive(mask, None, None, dtype)
    return padding if kind == "padding" else padding - torch.rand(1, H, Q, S, dtype=dtype)  # type: ignore[operator]


def kept(run: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor) -> Tensor:
    """Which weights [B, H, Q, S] a call keeps, read from values that are unit vectors."""
    return run(q, k, torch.eye(S, dtype=q.dtype).expand(B, H, S, S)) != 0


def formula(q: Tensor, k: Tensor, v: Tensor, added: Tensor | None, keep: Tensor) -> Tensor:
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(D)
    weights = (scores + (0 if added is None else added)).softmax(-1)
    return torch.einsum("bhqk,bhkd->bhqd", weights * keep / (1 - RATE), v)


@pytest.mark.parametrize("kind", ["none", "padding", "slopes"])
def test_values_and_gradients_are_those_of_the_formula(kind: str, size: int):
    added, (q, k, v) = bias(kind, torch.float64), tensors(torch.float64)

    def run(*leaves: Tensor) -> Tensor:
        torch.manual_seed(1)
        return attend_dropping(*leaves, added, RATE)

    keep = kept(run, q, k)
    y, expected = run(q, k, v), formula(q, k, v, added, keep)
    assert_close(y, expected)
    g = torch.randn_like(y)
    found = torch.autograd.grad(y, (q, k, v), g)
    assert_close(found, torch.autograd.grad(expected, (q, k, v), g))


def test_every_head_of_every_text_draws_for_itself(size: int):
    q, k, _ = tensors()
    keep = kept(lambda *leaves: attend_dropping(*leaves, None, 0.5), q, k).flatten(0, 1)
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(keep, 2))


def test_the_share_that_is_dropped():
    """Of 1,050,000 weights, within five standard deviations."""
    q, k = torch.zeros(30, 4, 50, 1), torch.zeros(30, 4, 175, 1)
    y = attend_dropping(q, k, torch.ones_like(k), None, RATE)
    share = 1 - float(y.double().mean()) * (1 - RATE)
    assert abs(share - RATE) < 5 * math.sqrt(RATE * (1 - RATE) / 1_050_000)


def test_a_seed_says_what_is_dropped_also_when_computed_again():
    q, k, v = tensors()

    def run(*leaves: Tensor) -> Tensor:
        return attend_dropping(*leaves, None, RATE)

    def gradients(call: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        torch.manual_seed(3)
        return torch.autograd.grad(call().square().sum(), (q, k, v))

    assert_close(gradients(lambda: checkpoint(run, q, k, v, use_reentrant=False)), gradients(lambda: run(q, k, v)))


@pytest.mark.parametrize("rate", [0.1, 0.999999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_may_read_nothing_stay_finite(dtype: torch.dtype, rate: float):
    leaves, added = tensors(dtype), torch.full((B, 1, 1, S), torch.finfo(dtype).min, dtype=dtype)
    y = attend_dropping(*leaves, added, rate)
    assert y.dtype == dtype
    assert y.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.float().sum(), leaves))


def test_half_precision_is_near():
    q, k, v = tensors()
    torch.manual_seed(4)
    whole = attend_dropping(q, k, v, bias("padding"), RATE)
    torch.manual_seed(4)
    with torch.autocast("cpu", torch.bfloat16):
        half = attend_dropping(q.bfloat16(), k.bfloat16(), v.bfloat16(), bias("padding", torch.bfloat16), RATE)
    assert_close(half.float(), whole, rtol=0.05, atol=0.05)
    assert half.dtype == torch.bfloat16


def test_heads_are_joined_without_a_copy():
    y = attend_dropping(*tensors(), None, RATE)
    joined = y.transpose(1, 2).flatten(2)
    assert joined.data_ptr() == y.data_ptr()
    assert joined.is_contiguous()
