"""The cores against the formula, and against one another: values, gradients, maps, dropout."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from slimbert.parts.attention import AttentionConfig
from slimbert.parts.core import SHORT, Explicit, Flex, Sdpa, additive, use_core
from slimbert.state import Context, Mixed
from toys import Batch, encoder_of, mixer_of, model_of

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order
QUIET = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def tensors(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """q [2, 3, 5, 8], k and v [2, 3, 7, 8]."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 3, s, 8, generator=generator, dtype=dtype) for s in (5, 7, 7))  # type: ignore[return-value]


def bias(kind: str) -> Tensor | None:
    if kind == "none":
        return None
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0, 4:] = False
    masked = additive(mask, None, None, torch.float32)
    slopes = -torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    return masked if kind == "mask" else masked + slopes


def formula(q: Tensor, k: Tensor, v: Tensor, added: Tensor | None) -> Tensor:
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("bhqk,bhkd->bhqd", (scores + (0 if added is None else added)).softmax(-1), v)


def _history(y: Tensor) -> Iterator[str]:
    """The names of the operations that y came of, the last first."""
    node = y.grad_fn
    while node is not None:
        yield type(node).__name__
        node = next((before for before, _ in node.next_functions if before is not None), None)


@QUIET
@pytest.mark.parametrize("kind", ["none", "mask", "mask and slopes"])
@pytest.mark.parametrize("core", [Explicit(), Sdpa(), Flex()], ids=lambda c: type(c).__name__)
def test_every_core_is_the_formula(core: Any, kind: str):
    q, k, v = tensors()
    y, weights = core(q, k, v, bias(kind), 0.0)
    assert_close(y, formula(q, k, v, bias(kind)), **CLOSE)
    assert weights is None


@pytest.mark.parametrize("core", [Explicit(), Sdpa()], ids=lambda c: type(c).__name__)
def test_gradients_are_those_of_the_formula(core: Any):
    def gradients(run: Any) -> list[Tensor]:
        leaves = [t.requires_grad_() for t in tensors()]
        answer = run(*leaves)
        (answer[0] if isinstance(answer, tuple) else answer).square().sum().backward()
        return [t.grad for t in leaves if t.grad is not None]

    added = bias("mask and slopes")
    found = gradients(lambda q, k, v: core(q, k, v, added, 0.0))
    assert_close(found, gradients(lambda q, k, v: formula(q, k, v, added)), **CLOSE)


def test_maps_are_kept_on_request_and_travel_to_the_state():
    q, k, v = tensors()
    y, weights = Explicit(keep_maps=True)(q, k, v, bias("mask"), 0.0)
    assert weights is not None
    assert_close(weights.sum(-1), torch.ones(2, 3, 5))
    assert_close(weights @ v, y, **CLOSE)
    assert not weights[0, :, :, 4:].any()
    model, batch = model_of(encoder_of(*[AttentionConfig(heads=4, head_dim=8)] * 2)), Batch()
    use_core(model, Explicit(keep_maps=True))
    maps = model.encoder(batch.ids, mask=batch.mask).state.maps
    assert [tuple(m.shape) for m in maps] == [(3, 4, 12, 12)] * 2


def test_use_core_reaches_every_attention_and_is_no_part_of_the_model():
    model = model_of(encoder_of(*[AttentionConfig(heads=4, head_dim=8)] * 2))
    before = set(model.state_dict())
    use_core(model, "explicit")
    assert {type(layer[0].mixer.core) for layer in model.encoder.layers} == {Explicit}
    assert set(model.state_dict()) == before


@pytest.mark.parametrize("core", ["explicit", "sdpa"])
def test_rows_that_may_read_nothing_stay_finite(core: Any):
    """A row of padding alone must not poison the gradients of the others."""
    batch = Batch()
    mask = batch.mask.clone()
    mask[1] = False
    for dtype in (torch.float32, torch.bfloat16):
        mixer = mixer_of(AttentionConfig(heads=4, head_dim=8)).to(dtype)
        use_core(mixer, core)
        x = batch.x.to(dtype).clone().requires_grad_()
        y = mixer(x, Context(x, mask))
        y[0].sum().backward()
        assert y.isfinite().all()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in mixer.parameters())


@pytest.mark.parametrize("core", ["explicit", "sdpa"])
def test_dropout_keeps_the_expectation(core: Any):
    """The mean over 2,000 draws of attention dropout is the answer without it, within five standard errors."""
    q, k, v = (t[:1, :1, :, :2] for t in tensors())
    made = {"explicit": Explicit(), "sdpa": Sdpa()}[core]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        many = made(*(t.expand(2000, -1, -1, -1) for t in (q, k, v)), None, 0.3)[0]
    error = many.std(dim=0) / math.sqrt(2000)
    assert ((many.mean(dim=0) - made(q, k, v, None, 0.0)[0][0]).abs() < 5 * error).all()
    assert (many.std(dim=0) > 0).all()


def test_dropout_goes_by_length_and_compiles_as_one_graph():
    """Short rows by products, longer ones in blocks; compiled, torch's own, which the compiler can see into."""
    short, long = torch.randn(1, 2, SHORT, 4), torch.randn(1, 2, SHORT + 1, 4)
    for rows, kind in ((short, "Bmm"), (long, "Dropping")):
        y = Sdpa()(rows.requires_grad_(), rows, rows, None, 0.5)[0]
        assert kind in str(list(_history(y)))
        run = torch.compile(Sdpa(), backend="eager", fullgraph=True, dynamic=False)
        assert run(rows, rows, rows, None, 0.5)[0].isfinite().all()


def test_a_bias_that_learns_has_its_gradient_under_dropout():
    rows, learnt = torch.randn(1, 2, SHORT + 1, 4), torch.zeros(1, 2, SHORT + 1, SHORT + 1, requires_grad=True)
    Sdpa()(rows, rows, rows, learnt, 0.5)[0].square().sum().backward()
    assert learnt.grad is not None
    assert learnt.grad.any()


def test_a_mixer_in_training_drops_attention_weights():
    mixer, batch = mixer_of(AttentionConfig(heads=4, head_dim=8, dropout=0.9)), Batch()
    ctx = Context(batch.x)
    assert_close(mixer(batch.x, ctx), mixer(batch.x, ctx))
    mixer.train()
    assert not isinstance(mixer(batch.x, ctx), Mixed)
    assert (mixer(batch.x, ctx) - mixer(batch.x, ctx)).abs().max() > 0.01


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_flex_compiled_is_sdpa_on_gpu(dtype: torch.dtype):
    """Forward and backward, with mask and slopes; the tolerance is that of the dtype (TF32 within float32)."""
    batch = Batch()

    def gradients(core: Any) -> list[Tensor]:
        mixer = mixer_of(AttentionConfig(heads=2, head_dim=32)).to("cuda", dtype)
        use_core(mixer, core)
        run = torch.compile(mixer) if core == "flex" else mixer
        x, mask = batch.x.to("cuda", dtype).requires_grad_(), batch.mask.cuda()
        y = run(x, Context(x, mask))
        y.float().square().mean().backward()
        return [y.detach(), *(p.grad for p in mixer.parameters() if p.grad is not None)]

    loose = 5e-2 if dtype == torch.bfloat16 else 5e-3
    assert_close(gradients("flex"), gradients("sdpa"), rtol=loose, atol=loose)
