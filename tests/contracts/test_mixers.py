"""What every mixer promises (laws 3, 4, 5, 7 of the style guide), whatever its kind."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from slimbert.errors import InputError
from slimbert.model.model import ModelConfig, fresh
from slimbert.parts.core import use_core
from slimbert.state import Context, pick
from toys import DIM, LENGTHS, Batch, configs, encoder_of, mixer_of, name, output, pack

EVERY = pytest.mark.parametrize("config", configs("mixer"), ids=name)
CHANNEL = pytest.mark.parametrize(
    "config", [c for c in configs("mixer") if not getattr(c, "mixes_tokens", False)], ids=name
)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order


@pytest.fixture
def batch() -> Batch:
    return Batch()


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_shape_and_dtype_stay(config: Any, batch: Batch, dtype: torch.dtype):
    x = batch.x.to(dtype)
    y = output(mixer_of(config).to(dtype)(x, Context(x, batch.mask)))
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert y.isfinite().all()


@EVERY
def test_padding_changes_nothing(config: Any, batch: Batch):
    mixer = mixer_of(config)
    padded = output(mixer(batch.x, Context(batch.x, batch.mask)))
    for row, length in enumerate(LENGTHS):
        alone = batch.x[row : row + 1, :length]
        assert_close(padded[row : row + 1, :length], output(mixer(alone, Context(alone))), **CLOSE)


@EVERY
def test_narrowing_commutes(config: Any, batch: Batch):
    mixer = mixer_of(config)
    everywhere = output(mixer(batch.x, Context(batch.x, batch.mask)))
    rows = pick(batch.x, batch.select)
    picked = output(mixer(rows, Context(batch.x, batch.mask, index=batch.select)))
    assert_close(picked, pick(everywhere, batch.select), **CLOSE)


@EVERY
def test_packed_documents_do_not_see_each_other(config: Any, batch: Batch):
    mixer = mixer_of(config)
    packed, segments = pack(batch.x)
    y = output(mixer(packed, Context(packed, segments=segments)))
    alone = output(mixer(batch.x, Context(batch.x, batch.mask)))
    assert_close(y, pack(alone)[0], **CLOSE)
    index = torch.tensor([[25, 0, 12, 11, 20]])  # first and last tokens of documents among them
    narrowed = output(mixer(pick(packed, index), Context(packed, index=index, segments=segments)))
    assert_close(narrowed, pick(y, index), **CLOSE)


@CHANNEL
def test_channel_mixers_take_each_token_alone(config: Any, batch: Batch):
    mixer, order = mixer_of(config), torch.randperm(batch.x.shape[1], generator=torch.Generator().manual_seed(0))
    y = output(mixer(batch.x, Context(batch.x, batch.mask)))
    moved = batch.x[:, order]
    assert_close(output(mixer(moved, Context(torch.zeros_like(moved)))), y[:, order], **CLOSE)


@EVERY
@pytest.mark.parametrize("core", ["explicit", "flex"])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_every_core_computes_the_same(config: Any, batch: Batch, core: Any):
    mixer = mixer_of(config)
    for module in mixer.modules():
        if hasattr(module, "absorb"):
            module.absorb = False  # or no core would be asked
    packed, segments = pack(batch.x)
    mask = torch.ones_like(segments, dtype=torch.bool)
    mask[0, -2:] = False
    rows, ctx = pick(packed, batch.select[:1]), Context(packed, mask, batch.select[:1], segments=segments)
    with torch.no_grad():
        plain = output(mixer(rows, ctx))
        use_core(mixer, core)
        assert_close(output(mixer(rows, ctx)), plain, **CLOSE)


@EVERY
def test_nothing_is_stored_by_a_forward(config: Any, batch: Batch):
    mixer = mixer_of(config).train()
    before = [dict(vars(module)) for module in mixer.modules()]
    mixer(batch.x, Context(batch.x, batch.mask))
    assert [dict(vars(module)) for module in mixer.modules()] == before


@EVERY
def test_checkpointed_gradients_are_the_plain_ones(config: Any, batch: Batch):
    mixer = mixer_of(config)
    ctx = Context(batch.x, batch.mask)

    def gradients(run: Any) -> list[torch.Tensor]:
        mixer.zero_grad()
        output(run()).square().sum().backward()
        return [p.grad.clone() for p in mixer.parameters() if p.grad is not None]

    plain = gradients(lambda: mixer(batch.x, ctx))
    again = gradients(lambda: checkpoint(mixer, batch.x, ctx, use_reentrant=False))
    assert len(plain) == len(list(mixer.parameters()))
    assert_close(again, plain, rtol=0, atol=0)


@EVERY
def test_captured_as_one_graph(config: Any, batch: Batch):
    torch.compiler.reset()
    mixer, rows = mixer_of(config), pick(batch.x, batch.select)
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(mixer, backend=backend, fullgraph=True, dynamic=False)
    ctx = Context(batch.x, batch.mask, batch.select)
    with torch.no_grad():
        assert_close(output(compiled(rows, ctx)), output(mixer(rows, ctx)), **CLOSE)
    assert len(graphs) == 1


@EVERY
def test_meta_and_reset_leave_no_garbage(config: Any):
    with torch.device("meta"):
        model = ModelConfig(encoder=encoder_of(config)).build()
    model = model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        nn.init.constant_(tensor, float("nan"))
    model.reset_parameters(torch.Generator().manual_seed(0))
    found = {n: t for n, t in (*model.named_parameters(), *model.named_buffers()) if not t.isfinite().all()}
    assert not found


@EVERY
def test_every_tensor_is_in_the_state_dict(config: Any):
    """A skeleton is called with given tensors, and a folder holds them: a buffer beside them would be on no device."""
    mixer = mixer_of(config)
    assert {n for n, _ in (*mixer.named_parameters(), *mixer.named_buffers())} == set(mixer.state_dict())


@EVERY
def test_fresh_weights_follow_the_seed_alone(config: Any):
    whole = ModelConfig(encoder=encoder_of(config))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = fresh(whole, 7).state_dict()
        torch.manual_seed(2)
        second = fresh(whole, 7).state_dict()
    assert_close(second, first, rtol=0, atol=0)


@EVERY
def test_wrong_sizes_are_input_errors(config: Any):
    """Zero of anything countable is refused with its place, before a module is built."""
    for field, _ in {(axis[0], 0) for axis in getattr(config, "axes", {}).values()}:
        with pytest.raises(InputError, match=r"config\.encoder\.layers\[0\]\.mix\[0\]"):
            encoder_of(dataclasses.replace(config, **{field: 0})).check()
    if hasattr(config, "check"):
        config.check(DIM, "config")
