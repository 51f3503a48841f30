"""Whole GroupBERT encoders: against a plain reference, alone, padded, packed and narrowed."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.nn.functional import cross_entropy, gelu, pad
from torch.testing import assert_close

from groupbert_reference import Size, answers, fabricated, folder_of, states
from slimbert.hf import convert
from slimbert.hf.convert.tensors import scatter
from slimbert.model import EncoderConfig, Model
from slimbert.model.cost import cost
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.model import ModelConfig, fill, fresh, skeleton
from slimbert.model.presets import from_pattern, groupbert_base
from slimbert.parts.convolution import ConvolutionConfig
from slimbert.parts.linear import GroupedLinear
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.residual import LayerConfig
from slimbert.state import Context, State, pick
from toys import DIM, LENGTHS, VOCAB, Batch, encoder_of, lively, mixer_of, model_of, pack

CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # float32, sixteen branches, sums in another order
DOUBLE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture
def batch() -> Batch:
    return Batch()


def toy(pattern: str) -> EncoderConfig:
    return from_pattern(pattern, dim=DIM, head_dim=16, hidden=64, vocab=VOCAB, max_len=32)


PATTERNS = {
    "plain": "2{cgsg}",
    "lite": "2{csg}",
    "exact": "2{cgsg},cg:sg",
    "sparse queries": "2{cgsg}:2{cgsg}",
    "context first": "2{cgsg},2{cs}:2{gg}",
    "with BERT's": "1{sf},1{cg}:1{sf}",
}
EVERY = pytest.mark.parametrize("model", [model_of(toy(text)) for text in PATTERNS.values()], ids=PATTERNS)


@pytest.mark.parametrize(
    "size",
    [Size(), Size(groups=2, group=1, kernel=5), Size(groups=1, group=32, kernel=1), Size(groups=8, group=16, heads=4)],
    ids=["toy", "depthwise", "dense", "eight groups"],
)
def test_it_is_the_reference(size: Size, batch: Batch, tmp_path: Path):
    """States, logits and the gradient of every tensor, in float64; the fabricated weights come in by the converter."""
    tensors = fabricated(size)
    if size.groups == 1:  # the mixer is no part of it then: theirs is the identity here
        for name in [n for n in tensors if "dense_output_projection" in n]:
            tensors[name] = torch.eye(size.dim) if name.endswith("weight") else torch.zeros(size.dim)
    ours = _read(tmp_path, tensors, size).double()
    theirs = {name: value.double().requires_grad_() for name, value in tensors.items()}
    types = (torch.arange(12) > 4).long().expand(3, -1)
    expected = states(theirs, size, batch.ids, mask=batch.mask, types=types)
    encoded = ours.encoder(batch.ids, mask=batch.mask, types=types)
    assert_close(encoded.state.x[batch.mask], expected[batch.mask], **DOUBLE)
    logits, wanted = ours.answer(encoded)[batch.mask], answers(theirs, expected)[batch.mask]
    assert_close(logits, wanted, **DOUBLE)

    for answer in (logits, wanted):
        answer.square().mean().backward()
    grads = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    back = scatter(convert.LAYOUTS["groupbert"], grads, "masked_lm")
    assert len(grads) == len(list(ours.parameters()))
    for name, value in back.items():
        assert_close(value, theirs[name].grad, **DOUBLE)


def _read(folder: Path, tensors: dict[str, Tensor], size: Size) -> Model:
    """Without the mixers where a file of one group has none."""
    kept = {n: v for n, v in tensors.items() if size.groups > 1 or "dense_output_projection" not in n}
    return convert.read(folder_of(folder, kept, size.config()))[0]


@EVERY
def test_padding_changes_nothing(model: Model, batch: Batch):
    """Appended, lengthened, with other token ids in it."""
    padded = model(batch.ids, mask=batch.mask)
    other = torch.where(batch.mask, batch.ids, (batch.ids + 7) % VOCAB)
    longer = model(pad(other, (0, 9), value=3), mask=pad(batch.mask, (0, 9)))
    assert_close(longer[:, :12][batch.mask], padded[batch.mask], **CLOSE)
    for row, length in enumerate(LENGTHS):
        assert_close(padded[row : row + 1, :length], model(batch.ids[row : row + 1, :length]), **CLOSE)


@EVERY
@pytest.mark.parametrize("select", [False, True], ids=["all", "wanted"])
def test_packed_documents_are_the_documents_alone(model: Model, batch: Batch, select: bool):
    ids, segments = pack(batch.ids)
    ids, segments = (pad(t, (0, 2), value=2) for t in (ids, segments))
    starts = torch.tensor([sum(LENGTHS[:i]) for i in range(3)])[:, None]
    places = (batch.select + starts).view(1, -1) if select else None
    alone = model(batch.ids, mask=batch.mask, select=batch.select if select else None)
    packed = model(ids, mask=torch.arange(28)[None] < 26, segments=segments, select=places)
    assert_close(packed if select else packed[:, :26], alone.view(1, 12, -1) if select else pack(alone)[0], **CLOSE)


@EVERY
@pytest.mark.parametrize("kept", [4, 1])
def test_wanted_rows_are_those_of_the_run_that_keeps_all(model: Model, batch: Batch, kept: int):
    """One row: the windows of the convolution alone are computed."""
    select = batch.select[:, :kept]
    everywhere = model(batch.ids, mask=batch.mask)
    assert_close(model(batch.ids, mask=batch.mask, select=select), pick(everywhere, select), **CLOSE)


def test_narrowing_before_the_last_token_mixer_is_exact(batch: Batch):
    """`3{cgsg},cg:sg` has the weights of `4{cgsg}` and gives its rows."""
    model = model_of(toy("4{cgsg}"))
    moved = {"layers.3.2.": "layers.5.0.", "layers.3.3.": "layers.5.1."}
    tensors = {}
    for name, value in model.state_dict().items():
        ours = next((name.replace(old, new) for old, new in moved.items() if old in name), name)
        tensors[ours] = value.clone()
    narrow = fill(skeleton(ModelConfig(encoder=toy("3{cgsg},cg:sg"))), tensors).eval()
    rows = narrow(batch.ids, mask=batch.mask, select=batch.select)
    assert_close(rows, pick(model(batch.ids, mask=batch.mask), batch.select), **CLOSE)


def test_after_a_narrowing_a_convolution_reads_memory_alone(batch: Batch):
    """The rows as they stood at the colon; what the layers after it made of a row is read by no convolution."""
    layer = model_of(toy("s:fcf")).encoder.layers[2]
    rows = pick(batch.x, batch.select)
    branches = []
    for x in (rows, rows + 1):
        state = State(x, index=batch.select, memory=batch.x)
        branches.append(layer[1](state).x - x)
    assert_close(*branches, **CLOSE)
    assert branches[0].abs().max() > 0.1


def test_silent_branches_leave_the_embedding(batch: Batch):
    """Every last map zero: a layer is the identity, and the answer is the final norm of the embedded tokens."""
    model = model_of(toy("3{cgsg}"))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".mixer.out." in name or ".mixer.mix." in name:
                value.zero_()
    embedded = model.encoder.embedding(batch.ids)
    assert_close(model(batch.ids, mask=batch.mask), model.encoder.norm(embedded), rtol=0, atol=0)


def test_a_grouped_network_is_a_dense_one_with_zeros(batch: Batch):
    """A block-diagonal contraction and then the mixer, or both merged into one map, its bias too."""
    mixer = mixer_of(MlpConfig(hidden=48, groups=4, mixer=True)).double()
    x = batch.x.double()
    hidden = gelu(mixer.up(x))
    down = torch.block_diag(*mixer.down.weight)  # [hidden, dim]
    y = mixer(x, Context(x))
    assert_close(y, mixer.mix(hidden @ down + mixer.down.bias), **DOUBLE)
    merged = down @ mixer.mix.weight.T
    bias = mixer.down.bias @ mixer.mix.weight.T + mixer.mix.bias
    assert_close(y, hidden @ merged + bias, **DOUBLE)


def test_one_group_without_mixer_is_a_plain_network(batch: Batch):
    layer = LayerConfig(mix=(MlpConfig(hidden=48, groups=1),), wiring="pre")
    (residual,) = model_of(encoder_of(layer)).encoder.layers[0]
    mixer = residual.mixer
    expected = batch.x + mixer.down(gelu(mixer.up(residual.norm(batch.x))))
    assert_close(residual(State(batch.x)).x, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_grouped_product_and_its_gradients(bias: bool, dtype: torch.dtype, tolerance: float):
    """As the product with the block-diagonal matrix in float32; under autocast it has the type of products."""
    grouped = GroupedLinear(24, 16, groups=4, bias=bias)
    with torch.no_grad():
        for parameter in grouped.parameters():
            parameter.zero_()
    lively(grouped)
    x = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(0), requires_grad=True)
    upstream = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))
    dense = x @ torch.block_diag(*grouped.weight)
    dense = dense if grouped.bias is None else dense + grouped.bias
    inputs = (x, *grouped.parameters())
    wanted = [dense.detach(), *torch.autograd.grad(dense, inputs, upstream)]
    half = copy.deepcopy(grouped).to(dtype)
    given = x.detach().to(dtype).requires_grad_()
    y = half(given)
    found = [y, *torch.autograd.grad(y, (given, *half.parameters()), upstream.to(dtype))]
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == dtype
        assert_close(ours.float(), theirs, rtol=0, atol=tolerance * float(theirs.abs().max()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert grouped(x).dtype == torch.bfloat16


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_it_learns(pattern: str, batch: Batch):
    """Three texts by heart; no parameter is left without a gradient."""
    model = fresh(ModelConfig(encoder=toy(pattern), head=MaskedLmConfig()), 0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        logits = model(batch.ids, mask=batch.mask, select=batch.select)
        loss = cross_entropy(logits.flatten(0, 1), pick(batch.ids, batch.select).flatten())
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("pattern", ["2{cgsg}:1{cgsg}", "1{cgsg},1{cs}:1{gg}"])
def test_compiled_forward_and_backward_are_the_eager_ones(pattern: str, batch: Batch):
    """One graph for the whole narrowed encoder; ahead-of-time autograd, without code generation."""
    torch.compiler.reset()
    counters.clear()
    model = model_of(toy(pattern))

    def gradients(run: Any) -> tuple[Tensor, list[Tensor]]:
        model.zero_grad()
        y = run(batch.ids, mask=batch.mask, select=batch.select)
        y.square().mean().backward()
        return y.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    eager = gradients(model)
    compiled = gradients(torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=False))
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    assert_close(compiled, eager, **CLOSE)


def test_a_layer_of_base_has_its_published_size():
    config = groupbert_base()
    without = dataclasses.replace(config.layers[0].mix[0], conv_bias=False)
    for convolution, count in ((config.layers[0].mix[0], 11_315_712), (without, 11_314_944)):
        assert isinstance(convolution, ConvolutionConfig)
        layer = dataclasses.replace(config.layers[0], mix=(convolution, *config.layers[0].mix[1:]))
        one = skeleton(ModelConfig(encoder=dataclasses.replace(config, layers=(layer,)))).encoder.layers[0]
        assert sum(p.numel() for p in one.parameters()) == count


@pytest.mark.parametrize("length", [128, 512])
def test_multiply_adds_are_those_of_the_closed_form(length: int):
    """19 h^2 + 112 h + 2 n h a token and layer, 1.58 times BERT's at 128 tokens; in the order of the layer."""
    h, rows = 768, 2 * length
    whole = groupbert_base()
    parts = cost(ModelConfig(encoder=dataclasses.replace(whole, layers=whole.layers[:1])), batch=2, length=length)
    macs = [part.macs // rows for part in parts if part.name.startswith("layers.")]
    assert macs == [3 * h**2 + 112 * h, 6 * h**2, 4 * h**2 + 2 * length * h, 6 * h**2]
    if length == 128:
        assert sum(macs) / (12 * h**2 + 2 * length * h) == pytest.approx(1.58, abs=0.005)
