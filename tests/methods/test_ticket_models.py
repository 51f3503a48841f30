"""Every encoder: trained 20 steps with coefficients, cut, reloaded; and the step that comes after a cut."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from methods.tickets import ENCODERS, EVERY, RULE, batches, objective_of, one_batch
from slimbert.methods.continued import cut_snapshot
from slimbert.methods.gated import Gated, SearchConfig, folded, gated_adamw
from slimbert.methods.importance import by_coefficient
from slimbert.methods.tickets import draw
from slimbert.methods.units import counts, units_of
from slimbert.model import extract, load_model, save_model
from slimbert.model.encoder import EncoderConfig
from slimbert.state import Encoded
from slimbert.subnet import Plan, Subnet
from slimbert.train.engine import engine
from slimbert.train.loop import restore, snapshot, train
from slimbert.train.objectives import Batch, Encode, Loss, Objective, Params, Wrapper
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.supervised import Supervised, answer, one_class

OPTIM = OptimConfig(lr=1e-3, weight_decay=0.0, eps=1e-3)  # gradients that are rounding alone move nothing


def taught(objective: Objective, optimizer: torch.optim.Optimizer, steps: int, *, seed: int = 0) -> list[float]:
    """So many updates, with batches of their own for a seed; the losses."""
    feed = (batch for batch, _ in zip(batches(seed), range(steps), strict=False))
    accelerator = engine(device="cpu", precision="float32")
    return [
        step.loss
        for step in train(objective, feed, optimizer, lr=lambda now: OPTIM.lr, accelerator=accelerator, clip=None)
    ]


@EVERY
def test_ticket_of_every_encoder_is_trained_cut_and_reloaded(encoder: EncoderConfig, tmp_path: Path):
    """The folder is that of a smaller model, and gives what the masked one gives."""
    gated = Gated(objective_of(encoder))
    assert len(taught(gated, gated_adamw(gated, OPTIM, SearchConfig(lr=10.0)), 20)) == 20
    values = gated.coefficients()
    assert all((value != 1).any() for value in values.values())
    scores = by_coefficient(values)
    wide = [key for key in scores if key.endswith("hidden")]
    scores[wide[0]] = scores[wide[0]] - 1.0  # layers of unequal widths, whatever was learnt
    subnet = draw(scores, encoder, RULE)
    assert len({counts(encoder, subnet)[key][0] for key in wide}) > 1
    small = extract(folded(gated.model, values), subnet).eval()
    again = load_model(save_model(small, tmp_path))
    assert again.config == small.config
    sizes = {key: after for key, (after, _) in counts(encoder, subnet).items()}
    assert sizes == {key: axis.units for key, axis in units_of(again.config.encoder).items()}
    assert any(after < before for after, before in counts(encoder, subnet).values())
    batch = one_batch(9)
    inputs: dict[str, Any] = {"mask": batch["mask"]}
    if again.encoder.narrows:
        inputs["select"] = torch.zeros(len(batch["mask"]), 1, dtype=torch.long)
    assert torch.equal(again(batch["input_ids"], **inputs), small(batch["input_ids"], **inputs))
    kept = {key: torch.zeros_like(value) for key, value in values.items()}
    for key in kept:
        units = list(dict(subnet.units).get(key, range(len(values[key]))))
        kept[key][units] = values[key][units]
    masked = folded(gated.model, kept).eval()
    assert_close(again(batch["input_ids"], **inputs), masked(batch["input_ids"], **inputs), rtol=1e-4, atol=1e-4)


@EVERY
def test_ticket_folder_is_read_by_transformers(encoder: EncoderConfig, tmp_path: Path):
    from transformers import AutoModelForSequenceClassification

    import slimbert.hf  # noqa: F401

    model = objective_of(encoder).model
    scores = {key: torch.arange(axis.units).flip(0).float() for key, axis in units_of(encoder).items()}
    small = extract(model, draw(scores, encoder, RULE))
    save_model(small, tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    batch = one_batch()
    with torch.no_grad():
        found = theirs(batch["input_ids"], attention_mask=batch["mask"].long()).logits
        wanted = answer(small, batch)
    assert_close(found, wanted, rtol=1e-5, atol=1e-5)


# going on from where the search stands


class Masked(Wrapper):
    """The inner objective with units held at zero: what a ticket is before it is cut."""

    def __init__(self, inner: Objective, kept: dict[str, Tensor]) -> None:
        super().__init__(inner)
        self.plan, self.kept = Plan(self.model.encoder), kept

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        def masked(params: Params, some: Batch) -> Encoded:
            own = dict(self.model.encoder.named_parameters())
            return encode(self.plan.gate(own, self.kept), some)

        return self.inner.loss(masked, batch)


@EVERY
def test_ticket_goes_on_with_the_moments_of_the_dense_model(encoder: EncoderConfig):
    """Weights and moments are those of the dense model, cut; the next update is the masked one's, cut.

    1e-6 after one update of 1e-3: sums in another order, divided by their own size.
    """
    gated = Gated(objective_of(encoder))
    optimizer = gated_adamw(gated, OPTIM, SearchConfig())
    taught(gated, optimizer, 4)
    with torch.no_grad():  # coefficients of one: nothing to fold
        for gate in gated.gates.values():
            gate.fill_(1.0)
    found = snapshot(gated, optimizer)
    scores = {key: torch.rand(axis.units, generator=torch.Generator().manual_seed(1)) for key, axis in units(encoder)}
    subnet = draw(scores, encoder, RULE)
    plan = Plan(gated.model.encoder, prefix="model.encoder.")

    dense = objective_of(encoder)
    of_dense = adamw(dense, OPTIM)
    restore(dense, of_dense, own_memory(cut_snapshot(found, plan, Subnet())))
    small = Supervised(extract(dense.model, subnet), one_class)
    of_small = adamw(small, OPTIM)
    restore(small, of_small, own_memory(cut_snapshot(found, plan, subnet)))

    own, plain = snapshot(small, of_small), snapshot(dense, of_dense)
    for head in ("objective.", "optimizer.exp_avg.", "optimizer.exp_avg_sq."):
        before = {name.removeprefix(head): value for name, value in plain.items() if name.startswith(head)}
        after = {name.removeprefix(head): value for name, value in own.items() if name.startswith(head)}
        assert_close(after, plan.cut(before, subnet), rtol=0, atol=0)
    assert all(of_small.state[p]["step"] == 4 for p in small.parameters() if of_small.state[p])

    ones = {key: torch.zeros(axis.units) for key, axis in units(encoder)}
    for key, value in ones.items():
        value[list(dict(subnet.units).get(key, range(len(value))))] = 1.0
    [wanted] = taught(Masked(dense, ones), of_dense, 1, seed=5)
    [loss] = taught(small, of_small, 1, seed=5)
    assert loss == pytest.approx(wanted, rel=1e-5)
    cut = Plan(dense.model.encoder, prefix="encoder.").cut(dense.model.state_dict(), subnet)
    assert_close(dict(small.model.state_dict()), cut, rtol=0, atol=1e-5)


def own_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is not cut is not copied either: moments would be shared by the two optimisers."""
    return {name: value.clone() for name, value in tensors.items()}


def units(encoder: EncoderConfig) -> Any:
    return units_of(encoder).items()


def test_ticket_goes_on_with_folded_coefficients():
    encoder = ENCODERS["bert"]
    gated = Gated(objective_of(encoder))
    optimizer = gated_adamw(gated, OPTIM, SearchConfig(lr=30.0))
    taught(gated, optimizer, 3)
    plan = Plan(gated.model.encoder, prefix="model.encoder.")
    made = cut_snapshot(snapshot(gated, optimizer), plan, Subnet())
    assert not [name for name in made if "gates" in name or "inner" in name]
    own = {
        name.removeprefix("objective.model."): value for name, value in made.items() if name.startswith("objective.")
    }
    wanted = folded(gated.model, gated.coefficients()).state_dict()
    assert_close(own, dict(wanted), rtol=0, atol=0)
    assert not torch.equal(
        own["encoder.layers.0.1.mixer.down.weight"], gated.model.encoder.layers[0][1].mixer.down.weight
    )
