"""What a narrowing promises, for every family of layers: Li et al. 2023, arXiv:2301.04761 (NarrowBERT).

A family is one layer of an encoder; a further one is one entry in FAMILIES. What a plain reference of the published
model computes stands in tests/oracles/test_narrowbert.py.
"""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn import functional
from torch.testing import assert_close

from slimbert.model import Place, exact_place, extract, narrow
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import EmbedConfig, MaskedLmConfig, PoolerConfig, SequenceConfig
from slimbert.model.kept import kept_places
from slimbert.model.model import Model
from slimbert.model.narrowing import is_exact
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.convolution import ConvolutionConfig
from slimbert.parts.embedding import AbsoluteConfig
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.narrow import NarrowConfig
from slimbert.parts.norm import LayerNormConfig
from slimbert.parts.residual import LayerConfig
from slimbert.state import State, pick
from slimbert.subnet import Subnet
from slimbert.train.objectives import MaskedLm, of_chosen
from slimbert.train.supervised import answer
from toys import MIXED, VOCAB, Batch, encoder_of, model_of

LAYERS = 4
CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # float32, several layers, sums in another order
ATTEND, GROUPED = AttentionConfig(heads=4, head_dim=8), MlpConfig(hidden=48, groups=4)
FAMILIES = {
    "sf": LayerConfig(mix=(ATTEND, MlpConfig(hidden=48))),
    "mf": LayerConfig(mix=(MIXED, GROUPED)),
    "cgsg": LayerConfig(mix=(ConvolutionConfig(kernel=5, group=8), GROUPED, ATTEND, GROUPED), wiring="pre"),
}
EVERY = pytest.mark.parametrize("layer", FAMILIES.values(), ids=FAMILIES)
VARIANTS = pytest.mark.parametrize("variant", ["sparse queries", "context first"])


def encoder(*steps: Any) -> EncoderConfig:
    """With absolute places; with a final norm where layers have theirs in front."""
    pre = any(getattr(step, "wiring", "post") == "pre" for step in steps)
    table = AbsoluteConfig(vocab=VOCAB, width=16, max_len=20)
    return encoder_of(*steps, embedding=table, final_norm=LayerNormConfig() if pre else None)


def wide(layer: LayerConfig, head: Any = None) -> Model:
    return model_of(encoder(*(layer,) * LAYERS), head)


def narrowing(layer: LayerConfig, variant: str, head: Any = None, *, layers: int = LAYERS) -> Model:
    """One whole layer, then: the others behind a narrowing, or all that mixes tokens before it and the rest behind."""
    rest = (layer,) * (layers - 1)
    if variant == "sparse queries":
        return model_of(encoder(layer, NarrowConfig(), *rest), head)
    parts = [
        dataclasses.replace(layer, mix=tuple(m for m in layer.mix if getattr(m, "mixes_tokens", False) == mixes))
        for mixes in (True, False)
    ]
    steps = (*parts[:1] * len(rest), NarrowConfig(memory=False), *parts[1:] * len(rest))
    return model_of(encoder(layer, *steps), head)


@pytest.fixture
def batch() -> Batch:
    return Batch()


@EVERY
def test_the_exact_place_and_every_later_one_change_no_answer(layer: LayerConfig, batch: Batch):
    """Properties 1 and 2 of the published model: 3{sf}:sf is 4{sf}, and so is 3{sf},s:f."""
    model = wide(layer)
    before, everywhere = {n: t.clone() for n, t in model.state_dict().items()}, model(batch.ids, mask=batch.mask)
    exact = exact_place(model.config.encoder)
    last = max(i for i, mixer in enumerate(layer.mix) if getattr(mixer, "mixes_tokens", False))
    assert exact == (LAYERS - 1, last)
    for place in (exact, Place(LAYERS - 1, last + 1), Place(LAYERS)):
        assert is_exact(model.config.encoder, place)
        made = narrow(model, place)
        kept = made(batch.ids, mask=batch.mask, select=batch.select)
        assert_close(kept, pick(everywhere, batch.select), **CLOSE)
        assert_close(made(batch.ids, mask=batch.mask), everywhere, **CLOSE)
        (found,) = [step for step in made.config.encoder.layers if isinstance(step, NarrowConfig)]
        assert found.memory == (place == exact)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.fill_(0.0)
    assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


@EVERY
def test_any_earlier_place_is_another_network(layer: LayerConfig, batch: Batch):
    """The memory is frozen: if kept rows were written back into it, the answers would be those of the whole model."""
    model = wide(layer)
    everywhere = model(batch.ids, mask=batch.mask)
    readers = [
        Place(i, j) for i in range(LAYERS) for j, mixer in enumerate(layer.mix) if getattr(mixer, "mixes_tokens", False)
    ]
    for place in readers[:-1]:
        assert not is_exact(model.config.encoder, place)
        off = narrow(model, place)(batch.ids, mask=batch.mask) - everywhere
        assert off[batch.mask].abs().max() > 1e-2, place


@EVERY
def test_there_and_back_is_the_identity(layer: LayerConfig):
    model = wide(layer, MaskedLmConfig())
    for at in range(LAYERS + 1):
        made = narrow(model, Place(at))
        assert sum(p.numel() for p in made.parameters()) == sum(p.numel() for p in model.parameters())
        again = extract(made, Subnet.of({}, layers=[i for i in range(LAYERS + 1) if i != at]))
        assert again.config == model.config
        assert_close(dict(again.state_dict()), dict(model.state_dict()), rtol=0, atol=0)


@EVERY
@VARIANTS
def test_a_row_does_not_depend_on_which_others_are_kept(layer: LayerConfig, variant: str, batch: Batch):
    model = narrowing(layer, variant)
    together = model(batch.ids, mask=batch.mask, select=batch.select)
    for k in range(batch.select.shape[1]):
        alone = model(batch.ids, mask=batch.mask, select=batch.select[:, k : k + 1])
        assert_close(alone, together[:, k : k + 1], **CLOSE)
    order = torch.tensor([2, 0, 3, 1])
    assert_close(model(batch.ids, mask=batch.mask, select=batch.select[:, order]), together[:, order], **CLOSE)
    filled = functional.pad(batch.select, (0, 5))
    assert_close(model(batch.ids, mask=batch.mask, select=filled)[:, :4], together, **CLOSE)
    everywhere = model(batch.ids, mask=batch.mask)
    assert_close(together, pick(everywhere, batch.select), **CLOSE)


@EVERY
@VARIANTS
def test_padding_changes_nothing(layer: LayerConfig, variant: str, batch: Batch):
    model = narrowing(layer, variant)
    ids = batch.ids.clamp(max=VOCAB - 2).masked_fill(~batch.mask, VOCAB - 1)  # a token that only padding shows
    kept = model(ids, mask=batch.mask, select=batch.select)
    wider = functional.pad(ids, (0, 4)), functional.pad(batch.mask, (0, 4))
    assert_close(model(wider[0], mask=wider[1], select=batch.select), kept, **CLOSE)
    with torch.no_grad():
        model.encoder.embedding.token.weight[VOCAB - 1] += 3.0
    assert_close(model(ids, mask=batch.mask, select=batch.select), kept, rtol=0, atol=0)


def predicted(batch: Batch, *, weights: Tensor | None = None) -> dict[str, Tensor]:
    """A masked-LM batch: two places of each row, drawn from its real tokens but the first."""
    positions = torch.tensor([[3, 11], [1, 8], [2, 4]])
    labels = torch.tensor([[5, 7], [0, 39], [12, 1]])
    some = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]) if weights is None else weights
    return {"input_ids": batch.ids, "mask": batch.mask, "positions": positions, "labels": labels, "weights": some}


@EVERY
@VARIANTS
def test_the_loss_is_the_mean_over_the_chosen_places(layer: LayerConfig, variant: str, batch: Batch):
    model, chosen = narrowing(layer, variant, MaskedLmConfig()), predicted(batch)
    everywhere = model(batch.ids, mask=batch.mask)
    terms = [
        weight * functional.cross_entropy(everywhere[b, place], label)
        for b, row in enumerate(zip(chosen["positions"], chosen["labels"], chosen["weights"], strict=True))
        for place, label, weight in zip(*row, strict=True)
    ]
    assert_close(MaskedLm(model)(chosen).total, torch.stack(terms).sum() / 5, **CLOSE)


def set_absorb(model: Model, absorb: bool) -> None:
    """Whether its attending heads absorb keys and values of a memory."""
    for module in model.modules():
        if hasattr(module, "absorb"):
            module.absorb = absorb


@EVERY
@VARIANTS
@pytest.mark.parametrize("absorb", [True, False], ids=["absorbed", "projected"])
@pytest.mark.parametrize("places", [1, 2], ids=["windows", "all tokens"])
def test_gradients_of_the_loss_are_those_of_all_rows_then_picked(
    layer: LayerConfig, variant: str, absorb: bool, places: int, batch: Batch
):
    """For every parameter. With one place and the first token a convolution computes windows, with two it computes all
    tokens."""
    model = narrowing(layer, variant, MaskedLmConfig()).double()
    chosen = predicted(batch)
    chosen |= {name: chosen[name][:, :places] for name in ("positions", "labels", "weights")}

    def gradients(loss: Tensor) -> dict[str, Tensor]:
        model.zero_grad()
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    set_absorb(model, absorb)
    ours = gradients(MaskedLm(model)(chosen).total)
    assert len(ours) == len(list(model.parameters()))
    set_absorb(model, False)
    everywhere = model.encoder(batch.ids, mask=batch.mask)
    rows = everywhere.state._replace(x=pick(everywhere.state.x, chosen["positions"]))
    picked = gradients(of_chosen(model.answer(everywhere._replace(state=rows)), chosen))
    assert_close(ours, picked, rtol=1e-5, atol=1e-6)  # float64, but for the cross-entropy, which is float32


@VARIANTS
def test_first_tokens_that_are_kept_change_no_gradient(variant: str, batch: Batch):
    """They answer for nothing, and no row reads them: as many as there are documents, or one."""
    model = narrowing(FAMILIES["sf"], variant, MaskedLmConfig())
    found = []
    for firsts in ([[0]] * 3, [[0, 4, 9], [0, 6, 0], [0, 0, 0]]):
        model.zero_grad()
        loss = MaskedLm(model)({**predicted(batch), "firsts": torch.tensor(firsts)}).total
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert_close(*found, **CLOSE)


@EVERY
@VARIANTS
def test_nothing_chosen_is_no_loss_and_no_gradient(layer: LayerConfig, variant: str, batch: Batch):
    model = narrowing(layer, variant, MaskedLmConfig())
    loss = MaskedLm(model)(predicted(batch, weights=torch.zeros(3, 2)))
    loss.total.backward()
    assert loss.total.item() == 0.0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@EVERY
@VARIANTS
def test_the_loss_reaches_every_parameter_and_the_rows_that_were_not_kept(
    layer: LayerConfig, variant: str, batch: Batch
):
    model = narrowing(layer, variant, MaskedLmConfig())
    before: list[Tensor] = []  # the rows that enter the second layer: all of them are read

    def keep(_: nn.Module, given: tuple[State, ...]) -> None:
        given[0].x.retain_grad()
        before.append(given[0].x)

    model.encoder.layers[1].register_forward_pre_hook(keep)
    chosen = predicted(batch)
    MaskedLm(model)(chosen).total.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    (rows,) = before
    assert rows.grad is not None
    reached = rows.grad.abs().sum(dim=-1) > 0
    kept = torch.cat((torch.zeros(3, 1, dtype=torch.long), chosen["positions"]), dim=1)
    others = batch.mask.scatter(1, kept, False)
    if any(isinstance(mixer, AttentionConfig | MixedAttentionConfig) for mixer in layer.mix):
        assert reached[others].all()
    assert not reached[~batch.mask].any()


@pytest.mark.parametrize(
    "head", [SequenceConfig(labels=("a", "b", "c")), PoolerConfig(), EmbedConfig(pool="cls")], ids=lambda h: h.kind
)
@EVERY
@VARIANTS
def test_what_reads_the_first_row_needs_no_other(layer: LayerConfig, variant: str, head: Any, batch: Batch):
    model = narrowing(layer, variant, head)
    rows: list[int] = []
    model.encoder.layers[-1].register_forward_hook(lambda _, __, state: rows.append(state.x.shape[1]))
    with torch.no_grad():
        few = answer(model, {"input_ids": batch.ids, "mask": batch.mask})
        assert_close(few, model(batch.ids, mask=batch.mask), **CLOSE)
    assert rows == [1, batch.ids.shape[1]]


@EVERY
def test_a_fixed_number_of_kept_rows_is_one_graph(layer: LayerConfig, batch: Batch):
    """The places differ from batch to batch, their number does not: masked places, and ragged marks rounded up."""
    torch.compiler.reset()
    counters.clear()
    objective = MaskedLm(narrowing(layer, "sparse queries", MaskedLmConfig(), layers=2))
    compiled = torch.compile(objective, backend="eager", fullgraph=True, dynamic=False)
    for shift in range(3):
        some = predicted(batch)
        some["positions"] = (some["positions"] + shift) % 5
        assert_close(compiled(some).total, objective(some).total, **CLOSE)
    assert counters["stats"]["unique_graphs"] == 1
    torch.compiler.reset()
    counters.clear()
    model = narrowing(layer, "sparse queries", layers=2)
    run = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
    for count in (1, 3, 8):
        keep = batch.mask & (torch.arange(12) < count)
        places, there = kept_places(keep)
        assert places.shape == (3, 8)
        with torch.no_grad():
            kept = run(batch.ids, mask=batch.mask, select=places)
            assert_close(kept[there], model(batch.ids, mask=batch.mask)[keep], **CLOSE)
    assert counters["stats"]["unique_graphs"] == 1
