"""Dynamic convolution in each of its forms: the formula, closed forms, gradients, what it saves, what it counts."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from slimbert.parts import dynamic
from slimbert.parts.depthwise import Depthwise
from slimbert.parts.dynamic import banded, convolve, correlated, of_taps, padded, shifted, turned
from slimbert.parts.taps import gathered
from slimbert.state import Context

Form = Callable[[Tensor, Tensor], Tensor]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order
SIZES = [(1, 3), (2, 9), (5, 9), (8, 3), (13, 5), (16, 9)]  # tokens and kernel: shorter than it, blocks of 4 and not


def by_taps(u: Tensor, w: Tensor) -> Tensor:
    taps = gathered(u.flatten(2), Context(u), w.shape[-1])
    return of_taps(taps.unflatten(-1, u.shape[2:]), w)


FORMS: dict[str, Form] = {"shifted": shifted, "banded": banded, "padded": padded, "by_taps": by_taps}


@pytest.fixture(autouse=True)
def _blocks_of_four(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dynamic, "BLOCK", 4)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


@pytest.fixture(params=[1, 10_000], ids=["banded", "shifted"])
def _either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """`convolve` in both forms that have a backward pass of their own."""
    monkeypatch.setattr(dynamic, "BANDED_FROM", request.param)


def made(length: int, kernel: int, *, dtype: torch.dtype = torch.float32, dim: int = 4) -> tuple[Tensor, Tensor]:
    """u [2, S, 3, dim] and w [2, S, 3, k], which sums to 1."""
    generator = torch.Generator().manual_seed(length * kernel)
    u = torch.randn(2, length, 3, dim, generator=generator, dtype=dtype)
    return u, torch.randn(2, length, 3, kernel, generator=generator, dtype=dtype).softmax(dim=-1)


def formula(u: Tensor, w: Tensor) -> Tensor:
    """out[t] = sum_j w[t, j] u[t + j - side], read off the equation."""
    length, kernel = w.shape[1], w.shape[-1]
    out = torch.zeros_like(u)
    for t in range(length):
        for j in range(kernel):
            if 0 <= (there := t + j - (kernel - 1) // 2) < length:
                out[:, t] += w[:, t, :, j, None] * u[:, there]
    return out


@pytest.mark.parametrize(("length", "kernel"), SIZES)
def test_every_form_is_the_formula(form: Form, length: int, kernel: int):
    u, w = made(length, kernel)
    assert_close(form(u, w), formula(u, w), **CLOSE)


def test_it_is_a_banded_matrix(form: Form):
    """Head by head the product with the S x S matrix that holds w[t, j] in row t and column t + j - side."""
    u, w = made(13, 5)
    matrix = torch.zeros(2, 3, 13, 13)
    for t in range(13):
        for j in range(5):
            if 0 <= t + j - 2 < 13:
                matrix[:, :, t, t + j - 2] = w[:, t, :, j]
    assert_close(form(u, w), torch.einsum("bhts,bshd->bthd", matrix, u), **CLOSE)


def test_a_kernel_of_one_tap_shifts(form: Form):
    u, w = made(13, 5)
    for j in range(5):
        shifts = torch.zeros_like(w)
        shifts[..., j] = 1.0
        moved = torch.zeros_like(u)
        rows = [t for t in range(13) if 0 <= t + j - 2 < 13]
        moved[:, rows] = u[:, [t + j - 2 for t in rows]]
        assert_close(form(u, shifts), moved, rtol=0, atol=0)


def test_equal_weights_average_and_what_is_constant_stays(form: Form):
    u, w = made(13, 5)
    pooled = torch.nn.functional.avg_pool1d(u.flatten(2).transpose(1, 2), 5, stride=1, padding=2)
    average = pooled.transpose(1, 2).unflatten(-1, (3, 4))  # counts the zeros outside
    assert_close(form(u, torch.full_like(w, 0.2)), average, **CLOSE)
    constant = u[:, :1].expand_as(u)
    assert_close(form(constant, w)[:, 2:-2], constant[:, 2:-2], **CLOSE)


def test_it_reads_no_further_than_half_its_kernel(form: Form):
    """Bit by bit the same where a row further away changes; not the same where the change is just within reach."""
    u, w = made(16, 5)
    other = u.clone()
    other[:, 9] += 1.0
    before, after = form(u, w), form(other, w)
    near = torch.arange(16).sub(9).abs() <= 2
    assert torch.equal(before[:, ~near], after[:, ~near])
    assert (before[:, near] != after[:, near]).flatten(2).any(dim=2).all()


@pytest.mark.usefixtures("_either")
@pytest.mark.parametrize(("length", "kernel"), [(1, 3), (2, 5), (7, 3)])
def test_gradients_of_both_orders(length: int, kernel: int):
    u, w = (t.requires_grad_() for t in made(length, kernel, dtype=torch.float64, dim=2))
    assert gradcheck(convolve, (u, w))
    assert gradgradcheck(convolve, (u, w))


@pytest.mark.usefixtures("_either")
@pytest.mark.parametrize(("length", "kernel"), SIZES)
def test_the_backward_pass_is_autograds(length: int, kernel: int):
    def gradients(run: Form) -> list[Tensor]:
        leaves = [t.requires_grad_() for t in made(length, kernel)]
        run(*leaves).square().sum().backward()
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    assert_close(gradients(convolve), gradients(by_taps), **CLOSE)


def test_the_transposed_map_is_a_convolution_by_turned_kernels():
    """<g, convolve(u, w)> = <convolve(g, turned(w)), u> = <correlated(g, u), w>."""
    u, w = made(13, 5, dtype=torch.float64)
    g = torch.randn(u.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    whole = (g * shifted(u, w)).sum()
    assert_close((shifted(g, turned(w)) * u).sum(), whole)
    assert_close((correlated(g, u, 5) * w).sum(), whole)


@pytest.mark.usefixtures("_either")
def test_slices_of_a_fused_product_are_read_where_they_lie():
    """The values are a slice of a wider tensor and are not copied to be saved."""
    u, w = made(13, 5)
    fused = torch.cat((torch.zeros(2, 13, 7), u.flatten(2)), dim=-1).requires_grad_()
    values = fused[..., 7:].unflatten(-1, (3, 4))
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = convolve(values, w.requires_grad_())
    assert {t.untyped_storage().data_ptr() for t in saved} == {t.untyped_storage().data_ptr() for t in (fused, w)}
    assert_close(y, formula(u, w), **CLOSE)
    y.square().sum().backward()
    assert fused.grad is not None
    assert not fused.grad[..., :7].any()


@pytest.mark.usefixtures("_either")
def test_half_precision_is_near():
    """2e-2: bfloat16 holds 8 bits, values are of order 1 and kernels sum to 1."""
    u, w = made(16, 9)
    for run in (convolve, banded, by_taps):
        half = run(u.bfloat16(), w.bfloat16())
        assert half.dtype == torch.bfloat16
        assert_close(half.float(), formula(u, w), rtol=2e-2, atol=2e-2)
    with torch.autocast("cpu", torch.bfloat16):  # values come from a linear map, kernels from a softmax
        mixed = convolve(u.bfloat16().requires_grad_(), w.requires_grad_())
    assert mixed.dtype == torch.bfloat16
    mixed.sum().backward()
    assert w.grad is not None
    assert w.grad.dtype == torch.float32


@pytest.mark.usefixtures("_either")
def test_compiled_forward_and_backward_are_the_eager_ones():
    torch.compiler.reset()

    def gradients(run: Form) -> list[Tensor]:
        leaves = [t.requires_grad_() for t in made(13, 5)]
        y = run(*leaves)
        y.square().sum().backward()
        return [y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    compiled = torch.compile(convolve, backend="aot_eager", fullgraph=True, dynamic=False)
    assert_close(gradients(compiled), gradients(convolve), **CLOSE)


def test_its_multiply_adds_are_counted():
    """k * H * D per row, on the meta device, where `slimbert show` counts; there too u and w are all that is kept."""
    u, w = (t.to("meta").requires_grad_() for t in made(13, 5))
    saved: list[Tensor] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t)
    with FlopCounterMode(display=False) as counter, hooks:
        assert convolve(u, w).shape == u.shape
    assert counter.get_total_flops() == 2 * (2 * 13) * 5 * 3 * 4
    assert [t.shape for t in saved] == [u.shape, w.shape]


@pytest.mark.parametrize("length", [1, 2, 5, 13])
def test_depthwise_is_torchs_conv1d(length: int):
    depth = Depthwise(6, 9)
    torch.nn.init.normal_(depth.weight, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, length, 6, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.conv1d(x.transpose(1, 2), depth.weight, padding=4, groups=6).transpose(1, 2)
    assert_close(depth(x), expected, **CLOSE)
    assert_close(depth(x, torch.zeros(2, length, dtype=torch.long)), expected, **CLOSE)
    assert_close(depth.of_taps(gathered(x, Context(x), 9)), expected, **CLOSE)


def test_depthwise_within_documents():
    """Documents of 3, 1 and 9 tokens in one row: each as if alone; the second has no neighbour at all."""
    depth = Depthwise(6, 9)
    torch.nn.init.normal_(depth.weight, generator=torch.Generator().manual_seed(0))
    x = torch.randn(1, 13, 6, generator=torch.Generator().manual_seed(1))
    segments = torch.tensor([[0] * 3 + [1] + [2] * 9])
    alone = torch.cat([depth(part) for part in x.split((3, 1, 9), dim=1)], dim=1)
    assert_close(depth(x, segments), alone, **CLOSE)
    assert_close(depth.of_taps(gathered(x, Context(x, segments=segments), 9)), alone, **CLOSE)


@pytest.mark.gpu
@pytest.mark.usefixtures("_either")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_gpu_eager_and_compiled_are_the_formula(dtype: torch.dtype):
    """Forward and backward; the tolerance is that of the dtype (TF32 within float32)."""
    loose = 5e-2 if dtype == torch.bfloat16 else 5e-3

    def gradients(run: Form) -> list[Tensor]:
        leaves = [t.to("cuda", dtype).requires_grad_() for t in made(67, 9, dim=32)]
        y = run(*leaves)
        y.float().square().mean().backward()
        return [y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    expected = gradients(by_taps)
    for run in (convolve, torch.compile(convolve, fullgraph=True, dynamic=False)):
        assert_close(gradients(run), expected, rtol=loose, atol=loose)
