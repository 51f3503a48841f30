"""The convolution mixer against torch's own convolutions, and what the module of GroupBERT promises."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv1d, silu
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from slimbert.errors import InputError
from slimbert.model.model import ModelConfig, fresh
from slimbert.parts.convolution import Convolution, ConvolutionConfig, convolve, convolve_documents, convolve_line
from slimbert.parts.norm import RmsNormConfig
from slimbert.parts.residual import LayerConfig
from slimbert.parts.taps import gathered
from slimbert.state import Context, pick
from toys import DIM, VOCAB, Batch, encoder_of, mixer_of, model_of

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order
DOUBLE = {"rtol": 1e-10, "atol": 1e-10}
FORMS = [  # depthwise, full, one row, as published, without GLU
    ConvolutionConfig(kernel=5, group=1),
    ConvolutionConfig(kernel=3, group=DIM),
    ConvolutionConfig(kernel=1, group=8),
    ConvolutionConfig(conv_bias=False),
    ConvolutionConfig(kernel=9, group=4, glu=False, norm=RmsNormConfig()),
]


def made(config: ConvolutionConfig) -> Convolution:
    mixer = mixer_of(config)
    assert isinstance(mixer, Convolution)
    return mixer


def dense(mixer: Convolution) -> Tensor:
    """The kernel [dim, dim, kernel] of the full convolution that a grouped one is: block-diagonal at every tap."""
    blocks = mixer.conv.weight.unflatten(0, (mixer.conv.groups, -1))  # [G, out, in, kernel]
    return torch.stack([torch.block_diag(*blocks[..., j]) for j in range(blocks.shape[-1])], dim=-1)


def by_hand(mixer: Convolution, x: Tensor, mask: Tensor) -> Tensor:
    """The equations of the module's file, with a full convolution."""
    y = x @ mixer.value_gate.weight.T + mixer.value_gate.bias
    if mixer.glu:
        y = y[..., :DIM] * torch.sigmoid(y[..., DIM:])
    y = y * mask[..., None]
    z = conv1d(y.transpose(1, 2), dense(mixer), mixer.conv.bias, padding=mixer.kernel // 2).transpose(1, 2)
    return mixer.out(silu(mixer.norm(z)))


@pytest.mark.parametrize("config", FORMS, ids=lambda config: f"kernel {config.kernel} group {config.group}")
def test_it_is_its_equations(config: ConvolutionConfig):
    mixer, batch = made(config).double(), Batch()
    x = batch.x.double()
    assert_close(mixer(x, Context(x, batch.mask)), by_hand(mixer, x, batch.mask), **DOUBLE)


@pytest.mark.parametrize("group", [1, 8, DIM])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_all_layouts_are_one_function(group: int, dtype: torch.dtype, tolerance: float):
    """Forward and gradients: as an image, as a line, and tap by tap where a row is one document."""
    conv = made(ConvolutionConfig(group=group)).conv.to(dtype)
    batch = Batch()
    upstream = torch.randn(batch.x.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    segments = torch.zeros(batch.x.shape[:2], dtype=torch.long)

    def run(form: Any) -> list[Tensor]:
        y = batch.x.to(dtype).requires_grad_()
        z = form(y)
        assert z.dtype == dtype
        return [z, *torch.autograd.grad(z, (y, conv.weight, conv.bias), upstream)]

    plain = run(lambda y: convolve_line(y, conv))
    for form in (lambda y: convolve(y, conv), lambda y: convolve_documents(y, conv, segments)):
        for ours, theirs in zip(run(form), plain, strict=True):
            assert_close(ours, theirs, rtol=0, atol=tolerance * float(theirs.detach().abs().max()))


def test_the_image_is_a_view_of_the_rows():
    """Nothing is moved: the channels of what goes in and of what comes out stand last in memory."""
    conv = made(ConvolutionConfig()).conv
    y = Batch().x
    assert y.transpose(1, 2).unsqueeze(2).is_contiguous(memory_format=torch.channels_last)
    assert convolve(y, conv).is_contiguous()


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    padding=st.integers(0, 3),
    kernel=st.sampled_from((1, 3, 7, 9)),
    group=st.sampled_from((1, 8, DIM)),
)
def test_packed_documents_are_convolved_alone(lengths: list[int], padding: int, kernel: int, group: int):
    """Documents shorter than a side of the kernel, too; padding at the end belongs to the last document."""
    mixer = made(ConvolutionConfig(kernel=kernel, group=group))
    x = torch.randn(2, sum(lengths) + padding, DIM, generator=torch.Generator().manual_seed(0))
    numbers = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    segments = torch.nn.functional.pad(numbers, (0, padding), value=len(lengths) - 1).expand(2, -1)
    mask = (torch.arange(x.shape[1]) < sum(lengths)).expand(2, -1)
    packed = mixer(x, Context(x, mask, segments=segments))
    start = 0
    for length in lengths:
        alone = x[:, start : start + length]
        assert_close(packed[:, start : start + length], mixer(alone, Context(alone)), **CLOSE)
        start += length


@given(
    length=st.integers(1, 20),
    rows=st.lists(st.integers(0, 19), min_size=1, max_size=4),
    kernel=st.sampled_from((1, 3, 7)),
    glu=st.booleans(),
    masked=st.booleans(),
    packed=st.booleans(),
)
def test_kept_rows_are_those_of_the_whole(
    length: int, rows: list[int], kernel: int, glu: bool, masked: bool, packed: bool
):
    """Computed from their windows alone, or picked: the two ways of a narrowed convolution."""
    mixer = made(ConvolutionConfig(kernel=kernel, group=8, glu=glu))
    x = torch.randn(2, length, DIM, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(length) < torch.tensor([[length], [max(1, length - 3)]]) if masked else None
    segments = torch.arange(length).div(4, rounding_mode="floor").expand(2, -1) if packed else None
    index = torch.tensor([[row % length for row in rows]] * 2)
    whole, few = (Context(x, mask, i, segments=segments) for i in (None, index))
    assert_close(mixer(pick(x, index), few), pick(mixer(x, whole), index), **CLOSE)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kept", [2, 4], ids=["windows", "all tokens"])
def test_gradients_of_kept_rows_are_those_of_the_whole(kept: int, packed: bool, dtype: torch.dtype, tolerance: float):
    """Of the tokens and of every parameter, against all rows in float32, then picked; two kept rows have ten taps for
    the twelve tokens. A token in two windows gets both gradients."""
    mixer, batch = made(ConvolutionConfig(kernel=5, group=8)), Batch()
    index = torch.tensor([[1, 3, 8, 11]] * 3)[:, :kept]
    segments = torch.arange(12).div(5, rounding_mode="floor").expand(3, -1) if packed else None
    upstream = torch.randn(3, kept, DIM, generator=torch.Generator().manual_seed(2))

    def run(x: Tensor, mixer: Convolution, index: Tensor | None, up: Tensor) -> list[Tensor]:
        x = x.requires_grad_()
        rows = x if index is None else pick(x, index)
        y = mixer(rows, Context(x, batch.mask, index, segments=segments))
        y = y if index is not None else pick(y, places)
        return [y, *torch.autograd.grad(y, (x, *mixer.parameters()), up)]

    places = index
    wanted = run(batch.x.clone(), mixer, None, upstream)
    found = run(batch.x.to(dtype, copy=True), copy.deepcopy(mixer).to(dtype), index, upstream.to(dtype))
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours.float(), theirs, rtol=0, atol=tolerance * float(theirs.detach().abs().max()))


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_it_agrees_with_gathered_taps(narrowed: bool, packed: bool):
    """What a tap is stands in taps.py; its plain form gives the same sums."""
    mixer, batch = made(ConvolutionConfig(kernel=3, group=8)).double(), Batch()
    x = batch.x.double()
    segments = torch.arange(12).div(5, rounding_mode="floor").expand(3, -1) if packed else None
    ctx = Context(x, batch.mask, batch.select[:, :3] if narrowed else None, segments=segments)
    value, gate = mixer.value_gate(x).chunk(2, dim=-1)
    taps = gathered(value * gate.sigmoid(), ctx, 3)  # [B, K, 3, dim]
    z = torch.einsum("bkji,oij->bko", taps, dense(mixer)) + mixer.conv.bias
    assert_close(mixer(x, ctx), mixer.out(silu(mixer.norm(z))), **DOUBLE)


@pytest.mark.parametrize(("rows", "kernel"), [(1, 7), (1, 11), (4, 3), (1, 13), (4, 5), (12, 1)])
def test_kept_rows_cost_what_is_less(rows: int, kernel: int):
    """2 dim^2 for each tap of the kept rows, or for each token, whichever are fewer."""
    mixer, batch = made(ConvolutionConfig(kernel=kernel, group=8)), Batch()
    index = torch.arange(rows).expand(3, -1)
    with FlopCounterMode(display=False) as counter:
        mixer(pick(batch.x, index), Context(batch.x, batch.mask, index))
    taps = rows * kernel
    mapped, convolved = (taps, rows) if taps < 12 else (12, 12)
    macs = mapped * 2 * DIM**2 + convolved * kernel * 8 * DIM + rows * DIM**2
    assert counter.get_total_flops() == 2 * 3 * macs


@pytest.mark.parametrize("packed", [False, True])
def test_exported_it_serves_every_number_of_kept_rows(packed: bool):
    """Exported at one batch, length and number of kept rows, run at others, few and many."""
    mixer = made(ConvolutionConfig(kernel=3, group=8))

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixer = mixer

        def forward(self, memory: Tensor, mask: Tensor, index: Tensor, segments: Tensor | None = None) -> Tensor:
            y: Tensor = self.mixer(pick(memory, index), Context(memory, mask, index, segments=segments))
            return y

    def inputs(batch: int, length: int, kept: int) -> tuple[Tensor, ...]:
        x = torch.randn(batch, length, DIM, generator=torch.Generator().manual_seed(0))
        places = torch.arange(length).expand(batch, -1)
        index = torch.arange(kept).expand(batch, -1).clone()
        return (x, places < length - 2, index, *([places // 4] if packed else []))

    batch, length, rows = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "length", "rows"))
    shapes: list[Any] = [{0: batch, 1: length}] * 2 + [{0: batch, 1: rows}] + [{0: batch, 1: length}] * packed
    program = torch.export.export(Step(), inputs(3, 12, 2), dynamic_shapes=tuple(shapes))
    for some in (inputs(2, 9, 8), inputs(4, 31, 3)):
        assert_close(program.module()(*some), Step()(*some), **CLOSE)


def test_a_layer_sees_a_side_of_the_kernel_further():
    layer = LayerConfig(mix=(ConvolutionConfig(group=8),), wiring="pre")
    model = model_of(encoder_of(layer, layer, layer))
    ids = torch.randint(0, VOCAB, (1, 30), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[0, 4] = (ids[0, 4] + 1) % VOCAB
    difference = (model(changed) - model(ids)).abs().amax(dim=(0, 2))
    assert difference[14:].max() < 1e-6  # more than 3 layers of 3 rows away
    assert difference[13] > 1e-6
    assert difference[:13].min() > 1e-6


def test_a_shift_of_the_rows_is_a_shift_of_the_answer():
    mixer = made(ConvolutionConfig(group=8))
    x = torch.randn(2, 20, DIM, generator=torch.Generator().manual_seed(0))
    late = x[:, 2:]
    assert_close(mixer(x, Context(x))[:, 5:17], mixer(late, Context(late))[:, 3:15], **CLOSE)


def test_the_gate_gates_the_value():
    """Without a value the gate says nothing; with the gate shut no value does."""
    mixer, batch = made(ConvolutionConfig(group=8)), Batch()
    ctx = Context(batch.x)
    with torch.no_grad():
        mixer.value_gate.weight[:DIM] = 0.0
        mixer.value_gate.bias[:DIM] = 0.0
        silent = mixer(batch.x, ctx)
        mixer.value_gate.weight[DIM:].normal_(generator=torch.Generator().manual_seed(3))
        assert_close(mixer(batch.x, ctx), silent, rtol=0, atol=0)
        mixer.value_gate.weight[:DIM].normal_(generator=torch.Generator().manual_seed(4))
        assert (mixer(batch.x, ctx) - silent).abs().max() > 0.1
        mixer.value_gate.weight[DIM:] = 0.0
        mixer.value_gate.bias[DIM:] = -torch.inf
        assert_close(mixer(batch.x, ctx), silent, rtol=0, atol=0)


@pytest.mark.parametrize(("init", "deviation"), [("normal", 0.02), ("fan_in", (7 * 16) ** -0.5)])
def test_fresh_kernels(init: Any, deviation: float):
    encoder = encoder_of(ConvolutionConfig(init=init), dim=256)
    mixer = fresh(ModelConfig(encoder=encoder), 0).encoder.layers[0][0].mixer
    assert float(mixer.conv.weight.detach().std()) == pytest.approx(deviation, rel=0.03)  # of 28,672 draws
    assert float(mixer.value_gate.weight.detach().std()) == pytest.approx(0.02, rel=0.03)
    assert not mixer.conv.bias.any()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ConvolutionConfig(kernel=4),
            r"layers\[0\]\.mix\[0\]\.kernel: 4 is even, it has no middle; give an odd number",
        ),
        (ConvolutionConfig(group=5), r"layers\[0\]\.mix\[0\]\.group: 5 does not divide the width 32; choose a divisor"),
        (ConvolutionConfig(kernel=0), r"kernel: 0 is not in 1 to"),
        (ConvolutionConfig(group=-8), r"group: -8 is not in 1 to"),
    ],
)
def test_what_does_not_fit_is_said(config: ConvolutionConfig, message: str):
    with pytest.raises(InputError, match=message):
        encoder_of(config).check()
