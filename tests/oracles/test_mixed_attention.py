"""Mixed attention: the published equations, what a head may read, the two paddings, kept rows, shapes that are odd."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from slimbert.errors import InputError
from slimbert.model import ModelConfig, extract, fresh
from slimbert.model.presets import from_pattern
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.core import Explicit, use_core
from slimbert.parts.dynamic import BANDED_FROM
from slimbert.parts.linear import linear
from slimbert.parts.mixed import MixedAttentionConfig, reduced
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.position import RotaryConfig
from slimbert.state import Context, pick
from slimbert.subnet import Subnet
from toys import DIM, LENGTHS, VOCAB, Batch, encoder_of, mixer_of, model_of, output

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order
CONFIG = MixedAttentionConfig(heads=2, head_dim=8, kernel=5)
REACH = 2  # tokens to each side that a kernel of 5 reads


def run(mixer: nn.Module, x: Tensor, mask: Tensor | None = None, **more: Any) -> Tensor:
    return output(mixer(x, Context(x, mask, **more)))


def tokens(length: int, rows: int = 2, seed: int = 3) -> Tensor:
    return torch.randn(rows, length, DIM, generator=torch.Generator().manual_seed(seed))


def published(mixer: Any, x: Tensor) -> Tensor:
    """The equations, with every neighbourhood laid out as in the published code; all heads attend and convolve."""
    batch, length, _ = x.shape
    heads, kernel = mixer.heads, mixer.kernel
    q, k, v, u = mixer.qkvu(x).split(mixer.qkvu.sizes, dim=-1)
    split = (t.view(batch, length, heads, -1).transpose(1, 2) for t in (q, k, v))
    attended = functional.scaled_dot_product_attention(*split).transpose(1, 2).reshape(batch, length, -1)
    depth = functional.conv1d(x.transpose(1, 2), mixer.depth.weight, padding=kernel // 2, groups=DIM).transpose(1, 2)
    logits = mixer.span(mixer.point(depth) * q)
    w = logits.reshape(-1, kernel, 1).softmax(dim=1)
    laid = functional.unfold(u.transpose(1, 2).unsqueeze(-1), (kernel, 1), padding=(kernel // 2, 0))
    laid = laid.transpose(1, 2).reshape(-1, u.shape[-1] // heads, kernel)
    convolved = torch.matmul(laid, w).reshape(batch, length, -1)
    return mixer.out(torch.cat((attended, convolved), dim=-1))


def alone(config: MixedAttentionConfig) -> Any:
    """A mixer of whose heads only the convolving ones are heard."""
    mixer = mixer_of(config)
    with torch.no_grad():
        mixer.out.weight[:, : mixer.attend] = 0.0
    return mixer


@pytest.mark.parametrize("length", [1, 2, 5, 12, BANDED_FROM - 1, BANDED_FROM + 9])
@pytest.mark.parametrize("kernel", [1, 5, 9])
def test_it_is_the_published_equations(length: int, kernel: int):
    """Also for texts shorter than the kernel, and for lengths that no block divides."""
    mixer = mixer_of(dataclasses.replace(CONFIG, kernel=kernel))
    assert_close(run(mixer, tokens(length)), published(mixer, tokens(length)), rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_published_equations():
    mixer, x = mixer_of(CONFIG), tokens(BANDED_FROM + 9).requires_grad_()

    def gradients(y: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(y.square().mean(), [x, *mixer.parameters()]))

    assert_close(gradients(run(mixer, x)), gradients(published(mixer, x)), rtol=1e-4, atol=1e-6)


def test_a_convolving_head_reads_no_further_than_its_kernel():
    """The span and the values reach half a kernel to each side, the query is the token's own."""
    mixer, x = alone(CONFIG), tokens(16)
    other = x.clone()
    other[:, 9] += 1.0
    near = torch.arange(16).sub(9).abs() <= REACH
    before, after = run(mixer, x), run(mixer, other)
    assert torch.equal(before[:, ~near], after[:, ~near])
    assert (before[:, near] != after[:, near]).any(dim=2).all()


def test_padding_is_nothing_or_as_published():
    """Published, only the last real tokens of a text see the padding, those within reach of it; masked, none does."""
    batch = Batch()
    masked, leaking = mixer_of(CONFIG), mixer_of(dataclasses.replace(CONFIG, padding="published"))
    ours, theirs = run(masked, batch.x, batch.mask), run(leaking, batch.x, batch.mask)
    for row, length in batch.documents():
        text = batch.x[row : row + 1, :length]
        expected = run(masked, text)[0]
        assert_close(ours[row, :length], expected, **CLOSE)
        assert_close(run(leaking, text)[0], expected, **CLOSE)
        last = length - REACH if length < LENGTHS[0] else length
        assert_close(theirs[row, :last], expected[:last], **CLOSE)
        assert (theirs[row, last:length] - expected[last:]).abs().amax(dim=1).gt(1e-3).all()


def test_published_padding_still_keeps_documents_apart():
    mixer, x = mixer_of(dataclasses.replace(CONFIG, padding="published")), tokens(12, rows=1)
    segments = torch.tensor([[0] * 5 + [1] * 7])
    apart = torch.cat([run(mixer, part) for part in x.split((5, 7), dim=1)], dim=1)
    assert_close(run(mixer, x, segments=segments), apart, **CLOSE)


def test_the_kernel_depends_on_the_span_and_not_on_the_token_alone():
    """One vector at two places: other neighbours, another kernel; equal neighbours, the same."""
    mixer, x = mixer_of(CONFIG), tokens(16, rows=1)
    x[:, 4] = x[:, 10]
    wide = x.clone()
    wide[:, 2:7] = wide[:, 8:13]
    seen: list[Tensor] = []
    mixer.span.register_forward_hook(lambda *args: seen.append(args[-1][0].unflatten(-1, (2, 5)).softmax(dim=-1)))
    run(mixer, x)
    run(mixer, wide)
    assert (seen[0][4] - seen[0][10]).abs().max() > 0.01
    assert_close(seen[1][4], seen[1][10], **CLOSE)
    assert_close(seen[0].sum(dim=-1), torch.ones(16, 2))


@pytest.mark.parametrize(
    ("dim", "heads", "ratio", "expected"),
    [
        (256, 4, 2, (2, 64)),
        (384, 8, 2, (4, 48)),
        (384, 6, 2, (3, 64)),
        (768, 12, 2, (6, 64)),
        (768, 12, 4, (3, 64)),  # a bottleneck of a quarter of the width
        (768, 12, 5, (2, 64)),
        (768, 12, 1, (12, 64)),
        (64, 1, 2, (1, 64)),  # the small generator: as wide as the encoder
    ],
)
def test_heads_follow_the_official_rule(dim: int, heads: int, ratio: int, expected: tuple[int, int]):
    assert reduced(dim, heads, ratio=ratio) == expected


@pytest.mark.parametrize(("dim", "heads", "ratio"), [(256, 3, 2), (256, 0, 2), (256, 4, 0)])
def test_impossible_heads_are_input_errors(dim: int, heads: int, ratio: int):
    with pytest.raises(InputError, match=r"^(heads|ratio): "):
        reduced(dim, heads, ratio=ratio)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": 4}, r"mix\[0\]\.kernel: 4 is even, a token has no middle; give an odd number"),
        ({"kernel": 0}, r"mix\[0\]\.kernel: 0 is not in 1 to"),
        ({"heads": 3, "span_heads": 2}, r"mix\[0\]\.span_heads: 2 heads of the query for 3 that attend; give at least"),
        ({"conv_heads": 0}, r"mix\[0\]\.conv_heads: 0 is not in 1 to"),
        ({"head_dim": 7, "position": RotaryConfig()}, r"mix\[0\]\.head_dim: .*7 is odd; make it even"),
        ({"padding": "maskd"}, r"mix\[0\]\.padding: 'maskd' is not one of .*did you mean 'masked'"),
    ],
)
def test_what_cannot_be_built_is_said_with_its_place(change: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        encoder_of(dataclasses.replace(CONFIG, **change)).build()


def test_counts_of_heads_are_those_that_attend_where_none_are_given():
    assert MixedAttentionConfig(heads=2, conv_heads=2, span_heads=2, head_dim=8, kernel=5) == CONFIG
    assert dataclasses.replace(CONFIG, heads=1).span_heads == 2


def test_cut_heads_leave_the_kernels_their_queries():
    """A head that attends no more still feeds the kernels: the convolving heads are as they were."""
    config = dataclasses.replace(CONFIG, heads=3, conv_heads=2, span_heads=4)
    model = model_of(encoder_of(config))
    small = extract(model, Subnet.of({"layers.0.0.head": [2]}))
    old, new = (m.encoder.layers[0][0].mixer for m in (model, small))
    heard: list[Tensor] = []
    for mixer in (old, new):
        mixer.out.register_forward_pre_hook(lambda module, args: heard.append(args[0][..., -16:]))
        run(mixer, tokens(12))
    assert_close(heard[1], heard[0], **CLOSE)
    assert new.qkvu.sizes == (32, 8, 8, 16)


@pytest.mark.parametrize("padding", ["masked", "published"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kept", [1, 3, 4, 12])
def test_few_and_many_kept_rows_are_those_of_the_whole(kept: int, bias: bool, padding: Any):
    """Few are computed from the tokens around them, many from all values: the same numbers, packed or not."""
    mixer = mixer_of(dataclasses.replace(CONFIG, bias=bias, padding=padding))
    batch = Batch()
    index = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(row))[:kept] for row in range(3)])
    segments = torch.tensor([[0] * 5 + [1] * 7] * 3)
    for mask, documents in ((batch.mask, None), (None, segments), (batch.mask, segments)):
        whole = run(mixer, batch.x, mask, segments=documents)
        ctx = Context(batch.x, mask, index, segments=documents)
        assert_close(output(mixer(pick(batch.x, index), ctx)), pick(whole, index), **CLOSE)


@pytest.mark.parametrize("kept", [3, 9])
def test_gradients_of_kept_rows_are_those_of_the_whole(kept: int):
    mixer, batch = mixer_of(CONFIG), Batch()
    index = torch.arange(kept).expand(3, -1)
    ctx = Context(batch.x, batch.mask, index)

    def gradients(y: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(y.square().sum(), list(mixer.parameters())))

    whole = gradients(pick(run(mixer, batch.x, batch.mask), index))
    assert_close(gradients(output(mixer(pick(batch.x, index), ctx))), whole, rtol=1e-4, atol=1e-4)


def test_kept_rows_read_the_memory_and_not_one_another():
    """Rows that went on while the memory stayed: queries are theirs, all else is the memory's."""
    mixer, memory, rows = mixer_of(CONFIG), tokens(12), tokens(12, seed=5)
    index = torch.tensor([[3, 7], [0, 11]])
    few = output(mixer(pick(rows, index), Context(memory, index=index)))
    assert_close(few, pick(output(mixer(rows, Context(memory))), index), **CLOSE)


def test_rows_of_a_batch_do_not_see_each_other():
    mixer, x = mixer_of(CONFIG), tokens(12, rows=4)
    order = torch.tensor([2, 0, 3, 1])
    assert_close(run(mixer, x[order]), run(mixer, x)[order], **CLOSE)
    assert_close(torch.cat([run(mixer, row[None]) for row in x]), run(mixer, x), **CLOSE)


def test_half_precision_is_near():
    """2e-2: bfloat16 has 8 bits, and the outputs are of order 1."""
    mixer = fresh(ModelConfig(encoder=encoder_of(CONFIG, init_std=0.2)), 0).encoder.layers[0][0].mixer.eval()
    x = tokens(BANDED_FROM + 9)
    expected = run(mixer, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(run(mixer, x).float(), expected, rtol=2e-2, atol=2e-2)
        index = torch.tensor([[3, 7], [0, 11]])
        few = output(mixer(pick(x, index), Context(x, index=index)))
        assert_close(few.float(), pick(expected, index), rtol=2e-2, atol=2e-2)
    assert_close(run(mixer.bfloat16(), x.bfloat16()).float(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("documents", [False, True], ids=["padded", "packed"])
def test_compiled_forward_and_backward_are_the_eager_ones(documents: bool):
    torch.compiler.reset()
    mixer, batch = mixer_of(CONFIG), Batch()
    segments = torch.tensor([[0] * 5 + [1] * 7] * 3) if documents else None
    ctx = Context(batch.x, batch.mask, segments=segments)

    def gradients(run: Any) -> list[Tensor]:
        y = run(batch.x, ctx)
        return [y.detach(), *torch.autograd.grad(y.square().sum(), list(mixer.parameters()))]

    compiled = torch.compile(mixer, backend="aot_eager", fullgraph=True, dynamic=False)
    assert_close(gradients(compiled), gradients(mixer), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kept", [None, 4])
def test_exported_it_serves_every_length(kept: int | None):
    """Exported at one batch, length and number of kept rows, run at others."""
    mixer = mixer_of(CONFIG)

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixer = mixer

        def forward(self, memory: Tensor, mask: Tensor, index: Tensor | None = None) -> Tensor:
            rows = memory if index is None else pick(memory, index)
            return output(self.mixer(rows, Context(memory, mask, index)))

    def inputs(batch: int, length: int, kept: int | None) -> tuple[Tensor, ...]:
        x, mask = tokens(length, batch), torch.arange(length).expand(batch, -1) < length - 2
        index = () if kept is None else (torch.arange(kept).expand(batch, -1) * 2,)
        return (x, mask.clone(), *(t.clone() for t in index))

    batch, length, rows = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "length", "rows"))
    shapes: list[Any] = [{0: batch, 1: length}] * 2 + ([] if kept is None else [{0: batch, 1: rows}])
    program = torch.export.export(Step(), inputs(3, 12, kept), dynamic_shapes=tuple(shapes))
    for some in (inputs(2, 9, kept), inputs(4, 31, None if kept is None else 13)):
        assert_close(program.module()(*some), Step()(*some), **CLOSE)


@pytest.mark.parametrize("pattern", ["2{mf}", "1{mf}:1{mf}"])
def test_exported_whole_encoders_serve_every_length(pattern: str):
    """From token ids to states; of the narrow one the rows that are asked for. Run at other sizes than exported."""
    model = model_of(from_pattern(pattern, dim=DIM, head_dim=8, hidden=48, vocab=VOCAB, max_len=64))

    def inputs(batch: int, length: int, kept: int) -> dict[str, Any]:
        ids = torch.randint(0, VOCAB, (batch, length), generator=torch.Generator().manual_seed(length))
        mask = torch.arange(length).expand(batch, -1) < length - 2
        select = torch.arange(kept).expand(batch, -1) * 2
        return {"ids": ids, "mask": mask.clone()} | ({"select": select.clone()} if ":" in pattern else {})

    batch, length, rows = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "length", "rows"))
    shapes = {"ids": {0: batch, 1: length}, "mask": {0: batch, 1: length}, "select": {0: batch, 1: rows}}
    given = inputs(3, 12, 4)
    shapes = {name: shapes[name] for name in given}
    program = torch.export.export(model, (), given, dynamic_shapes=shapes)
    for some in (inputs(2, 9, 3), inputs(4, 31, 13)):
        assert_close(program.module()(**some), model(**some), rtol=2e-5, atol=2e-5)


def test_fresh_depthwise_kernels_are_cut_normals_of_their_own_width():
    """Standard deviation 1 / k, nothing beyond two of them; a normal cut there has 0.88 of its deviation."""
    config = encoder_of(dataclasses.replace(CONFIG, kernel=9), dim=2048)
    weight = fresh(ModelConfig(encoder=config), 0).encoder.layers[0][0].mixer.depth.weight
    assert weight.shape == (2048, 1, 9)
    assert weight.abs().max() <= 2 / 9
    assert float(weight.detach().std() * 9) == pytest.approx(0.8796, abs=0.02)  # five standard errors of 18,432 draws


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_networks_are_block_diagonal_ones(groups: int):
    """ConvBERT's feed-forward network: both maps in the same groups, so that no group sees another."""
    mlp = mixer_of(MlpConfig(hidden=48, groups=groups, up_groups=groups))
    up, down = (torch.block_diag(*part.weight) if groups > 1 else part.weight.T for part in (mlp.up, mlp.down))
    x = tokens(5)
    expected = functional.gelu(x @ up + mlp.up.bias) @ down + mlp.down.bias
    hidden: list[torch.Size] = []
    mlp.act.register_forward_hook(lambda _, given, __: hidden.append(given[0].shape))
    assert_close(mlp(x, Context(x)), expected, **CLOSE)
    assert_close(mlp.down(mlp.act(mlp.up(x))), expected, **CLOSE)
    assert hidden[0] == ((2, 5, 48) if groups == 1 else (groups, 10, 48 // groups))  # by group between the products


def test_one_group_is_a_plain_map():
    assert type(linear(6, 4, groups=1)) is nn.Linear


def test_attention_maps_are_those_of_the_attending_heads():
    model, batch = model_of(encoder_of(CONFIG, AttentionConfig(heads=4, head_dim=8))), Batch()
    use_core(model, Explicit(keep_maps=True))
    maps = model.encoder(batch.ids, mask=batch.mask).state.maps
    assert [tuple(m.shape) for m in maps] == [(3, 2, 12, 12), (3, 4, 12, 12)]
