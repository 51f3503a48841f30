"""Slimming coefficients: at one they change nothing, at zero they are a cut, and they are trained as they should be."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from methods.tickets import ENCODERS, EVERY, RULE, batches, model_of, objective_of, one_batch
from slimbert.errors import InputError
from slimbert.methods.detector import distances
from slimbert.methods.gated import Gated, SearchConfig, folded, gated_adamw
from slimbert.methods.importance import at_random, by_coefficient, by_magnitude
from slimbert.methods.tickets import draw
from slimbert.methods.units import kind_of, units_of
from slimbert.model import extract
from slimbert.model.encoder import EncoderConfig
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.embedding import TokensConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.residual import LayerConfig
from slimbert.subnet import Plan, Subnet
from slimbert.train.engine import engine
from slimbert.train.loop import train
from slimbert.train.objectives import Batch, Encode, Loss, Objective, Wrapper
from slimbert.train.optim import OptimConfig
from slimbert.train.supervised import Supervised, one_class
from toys import VOCAB, encoder_of

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order


def gradients(objective: Objective, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """(the task's loss, the gradient of every parameter of the model)."""
    torch.manual_seed(3)  # dropout
    objective.zero_grad()
    loss = objective(batch)
    loss.total.backward()
    found = {name: p.grad.clone() for name, p in objective.model.named_parameters() if p.grad is not None}
    return loss.parts["task"].detach(), found


def fill(gated: Gated, values: dict[str, Tensor]) -> None:
    """Set coefficients by axis."""
    with torch.no_grad():
        for key, value in values.items():
            gated.gates[key.replace(".", "/")].copy_(value)


def kept_by(subnet: Subnet, encoder: EncoderConfig) -> dict[str, Tensor]:
    """One for the units of a ticket, zero for the others."""
    ones = {key: torch.zeros(axis.units) for key, axis in units_of(encoder).items()}
    for key, value in ones.items():
        value[list(dict(subnet.units).get(key, range(len(value))))] = 1.0
    return ones


@EVERY
def test_ticket_coefficients_of_one_change_nothing(encoder: EncoderConfig):
    """Bit by bit: the loss and the gradient of every weight, with dropout."""
    objective, batch = objective_of(encoder, dropout=0.1).train(), one_batch()
    plain, wanted = gradients(objective, batch)
    loss, found = gradients(Gated(objective).train(), batch)
    assert torch.equal(loss, plain)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@EVERY
def test_ticket_cut_is_a_coefficient_of_zero(encoder: EncoderConfig):
    """The loss, and the gradients of the weights that survive."""
    objective, batch = objective_of(encoder), one_batch()
    subnet = draw(at_random(encoder, 1), encoder, RULE)
    assert {kind_of(key) for key, _ in subnet.units} == {"heads", "neurons"}
    gated = Gated(objective)
    fill(gated, kept_by(subnet, encoder))
    masked, wanted = gradients(gated, batch)
    loss, found = gradients(Supervised(extract(objective.model, subnet), one_class), batch)
    assert_close(loss, masked, **CLOSE)
    assert_close(found, Plan(objective.model.encoder, prefix="encoder.").cut(wanted, subnet), **CLOSE)


@EVERY
def test_ticket_folding_is_exact(encoder: EncoderConfig):
    model, batch = model_of(encoder), one_batch()
    generator = torch.Generator().manual_seed(5)
    values = {key: 1.5 - torch.rand(axis.units, generator=generator) for key, axis in units_of(encoder).items()}
    gated = Gated(Supervised(model, one_class))
    fill(gated, values)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = folded(model, gated.coefficients())
    assert made.config == model.config
    assert made.state_dict().keys() == model.state_dict().keys()  # no coefficients
    assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert_close(gradients(Supervised(made, one_class), batch)[0], gradients(gated, batch)[0], **CLOSE)


def test_ticket_penalty_pulls_by_lambda_times_sign():
    gated = Gated(objective_of(ENCODERS["bert"]), heads=0.5, neurons=0.25)
    signs = {key: torch.where(torch.arange(axis.units) % 2 == 0, -2.0, 3.0) for key, axis in gated.plan.axes.items()}
    fill(gated, signs)
    gated.penalty().backward()
    for key, sign in signs.items():
        weight = {"heads": 0.5, "neurons": 0.25}[kind_of(key)]
        assert_close(gated.gates[key.replace(".", "/")].grad, weight * sign.sign())
    assert gated.penalty().item() == pytest.approx(2.5 * (3 * 4 * 0.5 + 3 * 48 * 0.25))
    assert gated(one_batch()).parts["gates"] == gated.penalty()


def searched(
    encoder: EncoderConfig,
    search: SearchConfig = SearchConfig(),
    *,
    accumulate: int = 1,
    penalty: float = 1e-4,
    precision: Any = "float32",
) -> Gated:
    """A few updates of the real loop, at a learning rate of 1e-3."""
    gated = Gated(objective_of(encoder), heads=penalty)
    optim = OptimConfig(lr=1e-3, weight_decay=0.1)
    optimizer = gated_adamw(gated, optim, search)
    whole = [one_batch(i) for i in range(3)]
    pieces = [{n: v.chunk(accumulate)[i] for n, v in batch.items()} for batch in whole for i in range(accumulate)]
    accelerator = engine(device="cpu", precision=precision, accumulate=accumulate)
    steps = list(train(gated, pieces, optimizer, lr=lambda now: 1e-3, accelerator=accelerator, clip=None))
    assert len(steps) == 3
    assert set(steps[0].parts) == {"task", "gates"}
    return gated


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_ticket_accumulation_leaves_the_penalty_as_it_is(optimizer: str):
    """Of the same rows as one batch and as three: what the coefficients come to. 1e-5: other orders of sums, grown by
    Adam."""
    search = SearchConfig(optimizer=optimizer)  # type: ignore[arg-type]
    once, thrice = (searched(ENCODERS["bert"], search, accumulate=n).coefficients() for n in (1, 3))
    assert_close(thrice, once, rtol=0, atol=1e-5)
    assert any((value != 1).any() for value in once.values())


def test_ticket_coefficients_have_their_own_rate_and_optimiser():
    """Adam moves each by the rate whatever the penalty is; gradient descent by rate times gradient."""
    steady = searched(ENCODERS["bert"], SearchConfig(lr=10.0), penalty=100.0).coefficients()
    heads = torch.cat([value for key, value in steady.items() if kind_of(key) == "heads"])
    assert_close(heads, torch.full_like(heads, 1 - 3 * 1e-2), rtol=0, atol=1e-4)
    plain = searched(ENCODERS["bert"], SearchConfig(lr=2.0, optimizer="sgd"), penalty=100.0).coefficients()
    heads = torch.cat([value for key, value in plain.items() if kind_of(key) == "heads"])
    assert ((1 - heads) / (3 * 2e-3) - 100).abs().max() < 10  # 100 of the penalty, little of the task


def test_ticket_coefficients_are_never_decayed_and_weights_as_before():
    gated = Gated(objective_of(ENCODERS["bert"]))
    groups = gated_adamw(gated, OptimConfig(weight_decay=0.1), SearchConfig()).param_groups
    own = {id(p) for p in gated.gates.parameters()}
    assert [group["weight_decay"] for group in groups if {id(p) for p in group["params"]} & own] == [0.0]
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}
    assert sum(len(group["params"]) for group in groups) == len(list(gated.parameters()))


def test_ticket_coefficients_move_under_bfloat16():
    """Each update moves one by 0.001 at most; a number of bfloat16 just below 1 has steps of 0.0039."""
    gated = searched(ENCODERS["bert"], precision="bfloat16")
    values = torch.cat(list(gated.coefficients().values()))
    assert values.dtype == torch.float32
    assert 0 < (values - 1).abs().max() < 0.0039
    assert (values != 1).float().mean() > 0.95


def test_ticket_wrappers_nest_in_both_orders():
    """A wrapper inside gets gated parameters, one outside may hand its own."""

    class Twice(Wrapper):
        def loss(self, encode: Encode, batch: Batch) -> Loss:
            def doubled(params: Any, some: Batch) -> Any:
                own = dict(params or self.model.encoder.named_parameters())
                return encode({**own, "embedding.token.weight": 2 * own["embedding.token.weight"]}, some)

            return self.inner.loss(doubled, batch)

    model, batch = model_of(ENCODERS["rotary, pre-norm"]), one_batch()
    first, second = Twice(Gated(Supervised(model, one_class))), Gated(Twice(Supervised(model, one_class)))
    values = {key: torch.linspace(0.5, 1.5, axis.units) for key, axis in units_of(model.config.encoder).items()}
    fill(first.inner, values)  # type: ignore[arg-type]
    fill(second, values)
    assert_close(first(batch).parts["task"], second(batch).parts["task"], rtol=0, atol=0)
    assert first(batch).parts["task"] != Supervised(model, one_class)(batch).parts["task"]


def test_ticket_needs_something_to_cut():
    bare = EncoderConfig(dim=32, embedding=TokensConfig(vocab=VOCAB), layers=ENCODERS["narrow"].layers[1:2])
    with pytest.raises(InputError, match="neither heads nor neurons"):
        Gated(Supervised(model_of(bare), one_class))


# importance


def test_ticket_scores_by_coefficient():
    values = {"layers.0.0.head": torch.tensor([0.5, -2.0, 1.0])}
    assert by_coefficient(values)["layers.0.0.head"].tolist() == [0.5, 2.0, 1.0]
    assert by_coefficient(values, signed=True)["layers.0.0.head"].tolist() == [0.5, -2.0, 1.0]


@EVERY
def test_ticket_magnitude_is_the_norm_of_what_leaves_a_unit(encoder: EncoderConfig):
    """Cutting all other units of an axis leaves that part; of a grouped map a unit of every group stays."""
    model = model_of(encoder)
    plan, scores = Plan(model.encoder), by_magnitude(model.encoder)
    own = {name: value.detach() for name, value in model.encoder.named_parameters()}
    assert scores.keys() == units_of(encoder).keys()
    for key, axis in units_of(encoder).items():
        sink = plan.sinks[key]
        if any("|" in (spec or "") for spec in plan.dims[sink][1]):
            continue  # it holds another axis, too
        units = [group * (axis.units // axis.groups) for group in range(axis.groups)]
        left = plan.cut(own, Subnet.of({key: units}))[sink]
        assert_close(scores[key][units].square().sum(), left.square().sum(), **CLOSE)


def test_ticket_random_scores_follow_the_seed():
    encoder = ENCODERS["bert"]
    first, again, other = (at_random(encoder, seed) for seed in (1, 1, 2))
    assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["layers.0.0.head"], other["layers.0.0.head"])


# does the search find what is there?


class Imitate(Objective):
    """Be another encoder: the squared error of the states."""

    def __init__(self, model: Any, teacher: Any) -> None:
        super().__init__(model)
        self.teacher = (teacher,)  # no part of this module: it is not trained

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        with torch.no_grad():
            wanted = self.teacher[0].encoder(batch["input_ids"]).state.x
        error = (encode(None, {"input_ids": batch["input_ids"]}).state.x - wanted).square().mean()
        return Loss(error, {"task": error})


def test_ticket_search_finds_planted_units():
    """A teacher without some units; the student, which has them, is to score them lowest: recall 0.9."""
    layer = LayerConfig(mix=(AttentionConfig(heads=4, head_dim=8), MlpConfig(hidden=48)), wiring="pre")
    encoder = encoder_of(layer)
    student = model_of(encoder)
    planted = {"layers.0.0.head": {2}, "layers.0.1.hidden": set(range(0, 48, 4))}
    axes = units_of(encoder)
    kept = {key: [unit for unit in range(axes[key].units) if unit not in some] for key, some in planted.items()}
    gated = Gated(Imitate(student, extract(student, Subnet.of(kept))))
    optimizer = gated_adamw(gated, OptimConfig(lr=1e-6, weight_decay=0.0), SearchConfig(lr=2e4))  # weights stay
    feed = (batch for batch, _ in zip(batches(), range(200), strict=False))
    for _ in train(gated, feed, optimizer, lr=lambda now: 1e-6, accelerator=engine(device="cpu"), clip=None):
        pass
    for key, some in planted.items():
        lowest = by_coefficient(gated.coefficients())[key].argsort()[: len(some)].tolist()
        assert len(set(lowest) & some) / len(some) >= 0.9, key


def test_ticket_masks_of_the_search_are_comparable():
    """Random masks of ratio r are about 2 r (1 - r) apart."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(4, 20_000, generator=generator) > 0.4
    between = distances(masks)
    assert_close(between, between.T)
    assert (between.diagonal() == 0).all()
    assert ((between >= 0) & (between <= 1)).all()
    off = between[~torch.eye(4, dtype=torch.bool)]
    assert_close(off, torch.full_like(off, 0.48), rtol=0, atol=0.02)
