"""Every family, narrowing, objective and position scheme together: it learns, is read elsewhere, and obeys the laws."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import pad
from torch.testing import assert_close
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

import slimbert.hf  # noqa: F401
from grid import MASK, OBJECTIVES, SHAPES, batch_of, encoder, kept_rows, objective_of, packed_batch
from slimbert.model import Model, extract, load_model, save_model
from slimbert.model.model import answer
from slimbert.subnet import Plan, Subnet
from slimbert.train.engine import engine
from slimbert.train.loop import train
from slimbert.train.objectives import Objective
from slimbert.train.optim import OptimConfig, adamw
from toys import some_units

GRID = [(*shape, objective) for shape in SHAPES for objective in OBJECTIVES]
CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 2e-5}  # float32, sums in another order


class Case(NamedTuple):
    """What was trained, its losses, and the folder of each of its models."""

    objective: Objective
    losses: list[float]
    model: Path
    fills: Path  # the masked language model: the model itself, or the generator

    @property
    def filler(self) -> Model:
        return self.objective.beside().get("generator", self.objective.model)


@pytest.fixture(scope="module", params=GRID, ids="-".join)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    *shape, name = request.param
    objective = objective_of(encoder(*shape), name)
    optimizer = adamw(objective, OptimConfig(lr=3e-3))
    steps = list(train(objective, [batch_of()] * 10, optimizer, accelerator=engine(device="cpu", precision="float32")))
    folder = tmp_path_factory.mktemp("case")
    for place, model in {".": objective.eval().model, **objective.beside()}.items():
        save_model(model, folder / place)
    fills = folder / "generator" if objective.beside() else folder
    return Case(objective, [step.loss for step in steps], folder, fills)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return batch_of()


def test_the_loss_falls(case: Case):
    assert sum(case.losses[-3:]) / 3 < 0.95 * case.losses[0]


@torch.no_grad()
def test_folders_are_read_by_us_and_by_transformers(case: Case, batch: dict[str, Tensor]):
    ids, mask, model = batch["input_ids"], batch["mask"], case.objective.model
    answers = model(ids, mask=mask)
    assert_close(load_model(case.model)(ids, mask=mask), answers, rtol=0, atol=0)
    assert_close(model(pad(ids, (0, 4)), mask=pad(mask, (0, 4)))[:, : ids.shape[1]][mask], answers[mask], **CLOSE)
    states = model.encoder(ids, mask=mask).state.x
    theirs = AutoModel.from_pretrained(case.model)
    assert_close(theirs(ids, mask.long()).last_hidden_state[mask], states[mask], **CLOSE)
    few = {"mask": mask, "select": kept_rows(batch)}
    assert_close(load_model(case.fills)(ids, **few), case.filler(ids, **few), rtol=0, atol=0)


@torch.no_grad()
def test_transformers_fills_masks(case: Case, batch: dict[str, Tensor]):
    """Of each text other numbers of rows are kept; padding and the texts beside it change nothing."""
    ids, mask = batch["input_ids"], batch["mask"]
    asked = ids == MASK
    assert sorted(asked.sum(dim=1).tolist()) == [1, 1, 1, 2, 2, 3]
    theirs = AutoModelForMaskedLM.from_pretrained(case.fills)
    filled = case.filler(ids, mask=mask)[asked]
    assert_close(theirs(ids, mask.long()).logits[asked], filled, **CLOSE)
    wider = theirs(pad(ids, (0, 4)), pad(mask, (0, 4)).long()).logits[:, : ids.shape[1]]
    assert_close(wider[asked], filled, **CLOSE)
    row = ids[-1:, mask[-1]]
    assert_close(theirs(row).logits[row == MASK], filled[-1:], **CLOSE)


@torch.no_grad()
def test_transformers_classifies(case: Case, batch: dict[str, Tensor]):
    """A fresh head on the trained encoder: what it says is said of the first row, however far a text is padded."""
    ids, mask, model = batch["input_ids"], batch["mask"], case.objective.model
    theirs = AutoModelForSequenceClassification.from_pretrained(case.model, num_labels=3)
    logits = theirs(ids, mask.long()).logits
    assert_close(logits, answer(model.encoder, theirs.head, model.encoder(ids, mask=mask)), **CLOSE)
    assert_close(theirs(pad(ids, (0, 4)), pad(mask, (0, 4)).long()).logits, logits, **CLOSE)
    assert_close(theirs(ids[-1:, mask[-1]]).logits, logits[-1:], **CLOSE)


@torch.no_grad()
def test_gates_of_zero_are_a_cut(case: Case, batch: dict[str, Tensor]):
    model, few = case.objective.model, {"mask": batch["mask"], "select": kept_rows(batch)}
    plan = Plan(model.encoder, prefix="encoder.")
    kept = {key: some_units(axis, i) for i, (key, axis) in enumerate(plan.axes.items())}
    gates = {key: torch.zeros(plan.axes[key].units).index_fill(0, torch.tensor(kept[key]), 1.0) for key in kept}
    gated = functional_call(model, plan.gate(model.state_dict(), gates), (batch["input_ids"],), few)
    assert_close(gated, extract(model, Subnet.of(kept))(batch["input_ids"], **few), **CLOSE)
    assert (gated - model(batch["input_ids"], **few)).abs().max() > 1e-3, "the units that were cut did nothing"


@torch.no_grad()
def test_packed_documents_are_the_texts_alone(case: Case, batch: dict[str, Tensor]):
    """Every document's [CLS] is kept, its queries see its own memory; and the loss is that of the texts in six rows."""
    model, packed = case.objective.model, packed_batch(batch)
    alone = model(batch["input_ids"], mask=batch["mask"], select=kept_rows(batch))
    options: dict[str, Any] = {"segments": packed["segments"], "select": kept_rows(packed)}
    together = model(packed["input_ids"], **options)
    assert_close(together[0, : len(alone)], alone[:, 0], **CLOSE)
    assert_close(together[0, len(alone) :], alone[:, 1:].flatten(0, 1), **CLOSE)
    assert_close(case.objective(packed).total, case.objective(batch).total, **CLOSE)
