"""The loop: what one update is, what it depends on, where it stops."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from slimbert.errors import RunError
from slimbert.model import Model, ModelConfig, fresh, with_dropout
from slimbert.model.heads import MaskedLmConfig, SequenceConfig
from slimbert.model.presets import from_pattern
from slimbert.state import Encoded
from slimbert.train.engine import engine
from slimbert.train.evaluate import masked_lm_loss
from slimbert.train.loop import Start, Step, restore, snapshot, train
from slimbert.train.objectives import Batch, Encode, Loss, MaskedLm, Params, Wrapper
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.supervised import Supervised, one_class, with_first_row

VOCAB, SEQ, ROWS, PICKED = 50, 12, 4, 3


def model(pattern: str = "2{sf}", *, dropout: float = 0.0, seed: int = 0) -> Model:
    encoder = from_pattern(pattern, dim=16, head_dim=8, hidden=32, vocab=VOCAB, max_len=SEQ)
    return fresh(with_dropout(ModelConfig(encoder=encoder, head=MaskedLmConfig()), dropout), seed)


def batches(start: int = 0, *, rows: int = ROWS) -> Iterator[Batch]:
    """Batch n is a function of n."""
    n = start
    while True:
        draw = torch.Generator().manual_seed(n)
        yield {
            "input_ids": torch.randint(VOCAB, (rows, SEQ), generator=draw),
            "positions": torch.rand(rows, SEQ, generator=draw).topk(PICKED).indices,
            "labels": torch.randint(VOCAB, (rows, PICKED), generator=draw),
            "weights": torch.ones(rows, PICKED),
        }
        n += 1


def setup(*, layer_decay: float = 1.0, **options: object) -> tuple[MaskedLm, torch.optim.AdamW]:
    objective = MaskedLm(model(**options))
    return objective, adamw(objective, OptimConfig(lr=1e-2, layer_decay=layer_decay))


def steps(objective: MaskedLm, optimizer: torch.optim.AdamW, count: int, *, start: int = 0) -> list[Step]:
    def lr(now: Start) -> float | None:
        return 1e-2 if now.step < count else None

    return list(
        train(objective, batches(start), optimizer, lr=lr, accelerator=engine(device="cpu"), start=Start(start))
    )


def test_it_learns_and_counts():
    """One batch again and again: the loss falls from ln V towards 0."""
    objective, optimizer = setup()
    one = next(batches())
    made = list(train(objective, [one] * 60, optimizer, accelerator=engine(device="cpu")))
    assert [step.n for step in made] == list(range(1, 61))
    assert made[0].loss == pytest.approx(math.log(VOCAB), rel=0.05)
    assert made[-1].loss < 0.5 * made[0].loss
    assert made[-1].tokens == 60 * ROWS * SEQ
    assert made[-1].seconds >= made[0].seconds > 0


def test_accumulated_micro_batches_equal_the_whole_batch():
    """Also with rows of weight 0; `total` is that of the update, per micro-batch. 1e-6: sums in another order."""
    whole = dict(next(batches(rows=8)))
    whole["weights"][5:] = 0
    pieces = [{name: value[i : i + 2] for name, value in whole.items()} for i in range(0, 8, 2)]
    total = whole["weights"].sum() / 4
    results = []
    for feed, accumulate in (([whole], 1), ([piece | {"total": total} for piece in pieces], 4)):
        objective, optimizer = setup()
        results += list(train(objective, feed, optimizer, accelerator=engine(device="cpu", accumulate=accumulate)))
    assert results[1].loss == pytest.approx(results[0].loss, rel=1e-6)
    assert results[1].norm == pytest.approx(results[0].norm, rel=1e-5)
    assert results[1].tokens == results[0].tokens


def test_an_update_that_misses_micro_batches_is_not_made():
    objective, optimizer = setup()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    one = next(batches())
    assert list(train(objective, [one] * 3, optimizer, accelerator=engine(device="cpu", accumulate=4))) == []
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())


@pytest.mark.parametrize(("dropout", "layer_decay"), [(0.0, 1.0), (0.1, 1.0), (0.0, 0.8)])
def test_going_on_from_a_snapshot_is_bit_identical(dropout: float, layer_decay: float):
    torch.manual_seed(1)
    objective, optimizer = setup(dropout=dropout, layer_decay=layer_decay)
    first = steps(objective, optimizer, 3)
    kept = {name: value.clone() for name, value in snapshot(objective, optimizer).items()}
    expected = steps(objective, optimizer, 6, start=3)
    after = snapshot(objective, optimizer)
    torch.manual_seed(99)
    objective, optimizer = setup(dropout=dropout, seed=5, layer_decay=layer_decay)
    restore(objective, optimizer, kept)
    again = steps(objective, optimizer, 6, start=3)
    assert [(s.n, s.loss, s.norm) for s in again] == [(s.n, s.loss, s.norm) for s in expected]
    assert first[-1].n == 3
    assert again[-1].n == 6
    assert all(torch.equal(value, after[name]) for name, value in snapshot(objective, optimizer).items())


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_what_is_not_finite_stops_before_the_weights_are_touched(poison: str):
    class Poisoned(Wrapper):
        def loss(self, encode: Encode, batch: Batch) -> Loss:
            loss = self.inner.loss(encode, batch)
            if poison == "loss":
                return loss.plus("poison", loss.total * math.inf)
            zero = next(self.model.parameters()).flatten()[0] * 0
            return loss.plus("poison", (zero + 1e-45).sqrt() - (zero + 1e-45).sqrt() + zero.sqrt())  # slope: infinite

    objective = Poisoned(MaskedLm(model()))
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    optimizer = adamw(objective, OptimConfig())
    with pytest.raises(RunError, match=f"step 1: the {poison}.* is (inf|nan)$"):
        list(train(objective, batches(), optimizer, clip=None, accelerator=engine(device="cpu")))
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())


def test_clipping_bounds_the_gradient():
    objective, optimizer = setup()
    seen: list[float] = []
    optimizer.register_step_pre_hook(
        lambda *_: seen.append(float(torch.stack([p.grad.norm() for p in objective.parameters()]).norm()))
    )
    step = next(train(objective, batches(), optimizer, clip=0.01, accelerator=engine(device="cpu")))
    assert step.norm > 0.01
    assert seen == [pytest.approx(0.01, rel=1e-3)]  # torch adds 1e-6 to the norm it divides by


def test_rates_see_the_time_that_the_reader_took():
    """A budget in time counts what is done between the updates, such as validation."""
    import time

    clock: list[float] = []

    def lr(now: Start) -> float | None:
        clock.append(now.seconds)
        return 1e-3 if now.step < 2 else None

    objective, optimizer = setup()
    for _ in train(objective, batches(), optimizer, lr=lr, accelerator=engine(device="cpu")):
        time.sleep(0.05)
    assert clock[2] - clock[1] >= 0.05


def test_wrappers_nest_and_change_parameters():
    class Scaled(Wrapper):
        def loss(self, encode: Encode, batch: Batch) -> Loss:
            def scaled(params: Params, batch: Batch) -> Encoded:
                own = dict(self.model.encoder.named_parameters()) if params is None else dict(params)
                return encode({name: value * 0 for name, value in own.items()}, batch)

            return self.inner.loss(scaled, batch).plus("extra", torch.tensor(2.0))

    objective = Scaled(Scaled(MaskedLm(model())))
    loss = objective(next(batches()))
    assert set(loss.parts) == {"mlm", "extra"}
    assert loss.total.item() == pytest.approx(math.log(VOCAB) + 4, rel=1e-2)  # nothing known: ln V


def test_narrowed_objective_selects_what_it_needs():
    """Equal to the same encoder without narrowing where nothing after it reads other positions."""
    narrow, dense = MaskedLm(model("2{sf}:2{f}")), MaskedLm(model("2{sf},2{f}"))
    own = dict(zip(dense.state_dict(), narrow.state_dict().values(), strict=True))
    dense.load_state_dict(own)
    batch = next(batches())
    torch.testing.assert_close(narrow(batch).total, dense(batch).total)


def test_classifier_of_a_narrowing_encoder_keeps_the_first_row():
    config = model("1{sf}:1{sf}").config
    head = SequenceConfig(labels=("a", "b"))
    classifier = fresh(ModelConfig(encoder=config.encoder, head=head), 0)
    batch = {"input_ids": torch.randint(VOCAB, (3, SEQ)), "labels": torch.tensor([0, 1, 1])}
    selected = with_first_row(classifier, batch)
    assert selected["select"].tolist() == [[0], [0], [0]]
    whole = torch.nn.functional.cross_entropy(classifier(batch["input_ids"]), batch["labels"])
    torch.testing.assert_close(Supervised(classifier, one_class)(batch).total, whole)


def test_validation_weighs_every_predicted_token_alike():
    objective, _ = setup(dropout=0.5)
    whole = dict(next(batches(rows=8)))
    whole["weights"] = torch.zeros_like(whole["weights"])
    whole["weights"][0] = whole["weights"][1, 0] = whole["weights"][7, 1] = 1.0
    objective.eval()
    with torch.no_grad():
        expected = float(objective(whole).total)
    objective.train()
    pieces = [{name: value[i : i + 3] for name, value in whole.items()} for i in range(0, 8, 3)]
    assert masked_lm_loss(objective, pieces) == pytest.approx(expected, rel=1e-6)
    assert objective.training


def weights(objective: MaskedLm) -> list[Tensor]:
    return [value.clone() for value in objective.parameters()]


def test_the_rate_is_that_of_the_update():
    """A rate of 0 changes nothing; the rates are shown."""
    objective, optimizer = setup()
    before = weights(objective)
    rates = iter([0.0, 1e-3, None])
    seen = []
    for step in train(objective, batches(), optimizer, lr=lambda _: next(rates), accelerator=engine(device="cpu")):
        seen.append(step.lr)
        assert all(map(torch.equal, weights(objective), before)) == (step.n == 1)
    assert seen == [0.0, 1e-3]
