"""Adaptive depth end to end: trained, asked, calibrated, drawn; the safe rule on real answers; what cannot be done."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.small import differences, encoder_in, labelled
from jobs.test_finetune import HERE
from slimbert.data.tasks import Split, load_task
from slimbert.errors import InputError
from slimbert.jobs.depth import AskedDepth, chosen_depth
from slimbert.jobs.depth import calibrate as calibration
from slimbert.jobs.depth.calibrate import calibrate, rows_needed, share_of, upper_limit
from slimbert.jobs.depth.curve import curve_of
from slimbert.jobs.evaluate import evaluate
from slimbert.jobs.finetune import finetune
from slimbert.jobs.finetuned import Finetuned
from slimbert.jobs.predict import load
from slimbert.model import load_model
from slimbert.model.exits import DactConfig, ExitsConfig
from slimbert.train import checkpoints

pytestmark = pytest.mark.usefixtures("no_picture")
DACT = ("halting.method=dact", "lr=1e-3", "min_updates=120", "evaluations=2")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled(tmp_path_factory.mktemp("reviews") / "reviews.csv", rows=300)


@pytest.fixture(scope="module")
def encoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_in(tmp_path_factory.mktemp("encoder"), data, "4{sf}")


@pytest.fixture(scope="module")
def halting(encoder: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Finetuned:
    out = tmp_path_factory.mktemp("halting") / "run"
    settings = (*DACT, "halting.tau=0.05", "halting.ramp=0")
    return finetune(encoder, reviews, out=out, settings=settings, **HERE)


def test_it_learns_and_its_safe_answers_are_those_of_the_full_depth(halting: Finetuned, reviews: Path):
    assert halting.validation["accuracy"] > 0.85
    head = load_model(halting.run).config.head
    assert isinstance(head, DactConfig)
    assert head.units == 4
    texts = load_task(reviews).train.texts
    safe, full = load(halting.run, device="cpu"), load(halting.run, device="cpu", depth="full")
    assert [one.label for one in safe.predict(texts)] == [one.label for one in full.predict(texts)]
    told = safe.predict_to_depth(texts)
    assert all(one["guaranteed"] for one in told)
    assert min(one["depth"] for one in told) < 4, "nothing stopped early: the test shows nothing"
    assert set(told[0]) == {"text", "label", "score", "scores", "depth", "guaranteed"}


def test_an_evaluation_says_how_deep_it_went(halting: Finetuned, reviews: Path):
    safe = evaluate(halting.run, reviews, device="cpu")
    full = evaluate(halting.run, reviews, device="cpu", depth="full")
    assert safe.score == full.score
    assert safe.reached is not None
    assert full.reached is not None
    assert (safe.reached.depth, safe.reached.guaranteed) == ("safe", True)
    assert full.reached.macs_share == pytest.approx(1.0)
    assert safe.reached.macs_share < 1.0
    bounded = evaluate(halting.run, reviews, device="cpu", depth=AskedDepth(None, 2)).reached
    assert bounded is not None
    assert not bounded.guaranteed
    assert bounded.mean_depth <= 2


def test_a_budget_of_multiply_adds_bounds_every_text(halting: Finetuned, reviews: Path):
    texts = load_task(reviews).train.texts[:40]
    full = load(halting.run, device="cpu", depth="full")
    features = full.kind.features(Split(texts, None), labelled=False)
    assert full.depth is not None
    whole = full.ran(features, full.depth)
    half = load(halting.run, device="cpu", depth=AskedDepth("full", None, whole.full_macs // len(texts) // 2))
    assert half.depth is not None
    ran = half.ran(features, half.depth)
    assert 0 < ran.macs <= whole.full_macs / 2
    assert not half.depth.guaranteed
    with pytest.raises(InputError, match=r"--budget-macs.*the first unit alone needs"):
        load(halting.run, device="cpu", depth=AskedDepth(None, None, 10)).predict(texts)


def test_the_curve_is_written_and_falls_in_cost(halting: Finetuned, reviews: Path):
    curve = curve_of(halting.run, reviews, device="cpu")
    shares = [point.macs_share for point in curve.points]
    assert shares == sorted(shares, reverse=True)
    named = {point.depth: point for point in curve.points}
    assert named["full"].score == named["safe"].score
    assert [point.guaranteed for point in curve.points if point.depth in ("full", "safe")] == [True, True]
    assert not named["kappa=0.5"].guaranteed
    assert all(sum(point.depths) == curve.rows for point in curve.points)
    written = json.loads((Path(halting.run) / "depth_curve.json").read_text())
    assert [point["depth"] for point in written["points"]] == [point.depth for point in curve.points]
    assert (Path(halting.run) / "depth_curve.png").read_bytes().startswith(b"\x89PNG")


def test_calibration_keeps_its_bound(
    halting: Finetuned, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    held = labelled(tmp_path / "held.csv", rows=300, seed=9)
    with pytest.raises(InputError, match=r"300 rows; a bound of 1\.00% at 95% needs 5,000"):
        calibrate(halting.run, held, device="cpu")
    monkeypatch.setattr(calibration, "LEAST_ROWS", 100)
    with pytest.raises(InputError, match=r"of its 300 rows are rows that the run was trained on"):
        calibrate(halting.run, reviews, device="cpu", disagree=0.05)
    made = calibrate(halting.run, held, disagree=0.05, device="cpu")
    assert made.kappa < 1 and made.asked == 0.05
    assert upper_limit(made.differing, made.rows, 0.95) <= 0.05
    assert json.loads((Path(halting.run) / "calibration.json").read_text())["kappa"] == made.kappa
    calibrated = load(halting.run, device="cpu", depth="calibrated")
    assert calibrated.depth is not None
    assert not calibrated.depth.guaranteed
    texts = load_task(reviews).train.texts
    deeper = load(halting.run, device="cpu").predict_to_depth(texts)
    assert sum(one["depth"] for one in calibrated.predict_to_depth(texts)) <= sum(one["depth"] for one in deeper)


def test_the_exact_limit_and_the_rows_it_needs():
    """Clopper and Pearson by its definition: the binomial tail at the limit is what the confidence leaves."""
    from scipy.stats import binom

    assert rows_needed(0.01, 0.95) == 299
    assert upper_limit(0, 299, 0.95) <= 0.01 < upper_limit(0, 298, 0.95)
    for differing, rows in ((0, 50), (3, 100), (40, 1000)):
        limit = upper_limit(differing, rows, 0.95)
        assert binom.cdf(differing, rows, limit) == pytest.approx(0.05, rel=1e-6)
    assert upper_limit(5, 5, 0.95) == 1.0
    assert share_of("1%") == share_of("0.01") == 0.01
    for text in ("x", "0", "150%"):
        with pytest.raises(InputError, match="--disagree"):
            share_of(text)


@pytest.mark.parametrize(("method", "rule"), [("patience", "patience=1"), ("entropy", "entropy=0.4")])
def test_other_methods_train_their_own_heads(
    method: str, rule: str, encoder: Path, reviews: Path, tmp_path: Path, halting: Finetuned
):
    first = encoder
    if method == "entropy":  # DeeBERT's second stage stands on a model that was fine-tuned
        plain = (*DACT[1:], "hidden=tanh")
        first = Path(finetune(encoder, reviews, out=tmp_path / "first", settings=plain, **HERE).run)
    settings = (f"halting.method={method}", "lr=1e-3", "min_updates=60", "evaluations=1")
    made = finetune(first, reviews, out=tmp_path / "run", settings=settings, **HERE)
    model = load_model(made.run)
    assert isinstance(model.config.head, ExitsConfig)
    if method == "entropy":
        before = load_model(first)
        used = before.encoder.layers[0][0].mixer.qkv.weight
        assert np.array_equal(model.encoder.layers[0][0].mixer.qkv.weight.detach(), used.detach())
        last: Any = model.head.units[-1]  # type: ignore[union-attr]
        assert np.array_equal(last.classes.weight.detach(), before.head.classes.weight.detach())  # type: ignore[union-attr]
        answered = load(first, device="cpu").predict(load_task(reviews).train.texts[:40])
        again = load(made.run, device="cpu", depth="full").predict(load_task(reviews).train.texts[:40])
        assert [one.label for one in answered] == [one.label for one in again]
    assert evaluate(made.run, reviews, device="cpu", depth=rule).reached is not None
    with pytest.raises(InputError, match="no halting values"):
        load(made.run, device="cpu", depth="safe")
    with pytest.raises(InputError, match="no halting values"):
        calibrate(made.run, reviews, device="cpu")


def test_a_last_unit_that_nobody_taught_learns_under_a_frozen_encoder(encoder: Path, reviews: Path, tmp_path: Path):
    """A classifier without a layer in front fits no unit; frozen as it is drawn, the full depth would be a guess."""
    plain = finetune(encoder, reviews, out=tmp_path / "first", settings=DACT[1:], **HERE)
    settings = ("halting.method=entropy", "lr=5e-3", "min_updates=120", "evaluations=1")
    made = finetune(plain.run, reviews, out=tmp_path / "run", settings=settings, **HERE)
    before, after = load_model(plain.run), load_model(made.run)
    for name, value in before.encoder.state_dict().items():
        assert np.array_equal(value, after.encoder.state_dict()[name]), name
    assert made.validation["accuracy"] > plain.validation["accuracy"] - 0.1


def test_units_learn_at_a_rate_of_their_own(encoder: Path, reviews: Path, tmp_path: Path):
    """It stands in the checkpoints: a run goes on only at the rate that it began with."""
    quick = ("halting.method=dact", "min_updates=4", "epochs=1", "evaluations=1", "batch_size=16")
    for name, settings in {"a": quick, "b": (*quick, "halting.unit_lr=5"), "c": (*quick, "halting.unit_lr=1")}.items():
        finetune(encoder, reviews, out=tmp_path / name, settings=settings, **HERE)
    assert differences(tmp_path / "a", tmp_path / "b") == []
    assert differences(tmp_path / "a", tmp_path / "c")
    with pytest.raises(InputError, match="made with another encoder, data or settings"):
        finetune(encoder, reviews, out=tmp_path / "a", settings=(*quick, "halting.unit_lr=2"), resume=True, **HERE)
    with pytest.raises(InputError, match=r"--set.halting.unit_lr"):
        finetune(encoder, reviews, out=tmp_path / "d", settings=(*quick, "halting.unit_lr=0"), **HERE)


def test_kills_change_nothing(encoder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The price follows from the number of the update, so a resumed run is the same to the bit."""
    from slimbert.train.run import RunFolder

    settings = (*DACT[:2], "min_updates=12", "epochs=1", "evaluations=4", "batch_size=16")
    finetune(encoder, reviews, out=tmp_path / "whole", settings=settings, **HERE)
    real = RunFolder.append

    def append(self: RunFolder, row: dict[str, Any]) -> None:
        real(self, row)
        if row["step"] == 7:
            raise OSError("as if killed")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", append)
        with pytest.raises(OSError, match="as if killed"):
            finetune(encoder, reviews, out=tmp_path / "run", settings=settings, **HERE)
    finetune(encoder, reviews, out=tmp_path / "run", settings=settings, resume=True, **HERE)
    assert differences(tmp_path / "run", tmp_path / "whole") == []


def test_transformers_reads_the_full_depth(halting: Finetuned, reviews: Path):
    import transformers

    import slimbert.hf

    texts = list(load_task(reviews).train.texts[:8])
    ours = load(halting.run, device="cpu", depth="full").predict(texts)
    for made in (
        transformers.pipeline("text-classification", model=halting.run, device="cpu"),
        slimbert.pipeline("text-classification", halting.run, device="cpu"),
    ):
        for theirs, mine in zip(made(texts), ours, strict=True):
            assert theirs["label"] == mine.label
            assert theirs["score"] == pytest.approx(mine.score, abs=1e-5)
    with pytest.raises(InputError, match=r"its head \(dact\) is not for token-classification"):
        slimbert.pipeline("token-classification", halting.run)


def test_what_cannot_be_asked(halting: Finetuned, encoder: Path, reviews: Path, tmp_path: Path):
    predictor = load(halting.run, device="cpu")
    for word, message in (
        ("soon", "'soon' is unknown"),
        ("kappa=2", "not a number from 0 to 1"),
        ("patience=x", "not a number from 1 to 4"),
    ):
        with pytest.raises(InputError, match=message):
            chosen_depth(predictor.model, predictor.kind, word)
    with pytest.raises(InputError, match="--max-depth: 9, the model has 4 units"):
        chosen_depth(predictor.model, predictor.kind, AskedDepth(None, 9))
    with pytest.raises(InputError, match="no calibration"):
        chosen_depth(predictor.model, predictor.kind, "calibrated", run=tmp_path)
    with pytest.raises(InputError, match="--set windows: mean with adaptive depth"):
        finetune(encoder, reviews, out=tmp_path / "w", settings=(*DACT, "windows=mean"), **HERE)
    plain = finetune(encoder, reviews, out=tmp_path / "plain", settings=("min_updates=2", "epochs=1"), **HERE)
    with pytest.raises(InputError, match="--depth: a head of kind sequence has no trace"):
        load(plain.run, device="cpu", depth="safe")
    with pytest.raises(InputError, match="its head answers after the last layer only"):
        curve_of(plain.run, reviews, device="cpu")


def test_the_last_unit_starts_from_the_classifier_that_was_there(encoder: Path, reviews: Path, tmp_path: Path):
    from slimbert.jobs.heading import with_head
    from slimbert.model import load_model as read

    made = finetune(
        encoder, reviews, out=tmp_path / "plain", settings=("min_updates=2", "epochs=1", "hidden=tanh"), **HERE
    )
    old = read(made.run)
    head = DactConfig(labels=old.config.head.labels, units=4, act="tanh", pool=old.config.head.pool)
    new = with_head(old, head, dropout=0.0, seed=0)
    last: Any = new.head.units[-1]  # type: ignore[union-attr]
    assert np.array_equal(last.trunk.weight.detach(), old.head.dense.weight.detach())  # type: ignore[union-attr]
    assert np.array_equal(last.classes.weight.detach(), old.head.classes.weight.detach())  # type: ignore[union-attr]
    assert dataclasses.replace(head, dropout=0.0) == new.config.head


def test_exits_over_a_frozen_encoder_learn_to_the_end(encoder: Path, reviews: Path, tmp_path: Path):
    """The full depth never changes there; it neither stops the run nor chooses the first checkpoint."""
    quick = ("epochs=1", "batch_size=16", "hidden=tanh", "lr=1e-3")
    first = finetune(encoder, reviews, out=tmp_path / "first", settings=(*quick, "min_updates=4"), **HERE)
    settings = (*quick, "halting.method=entropy", "min_updates=20", "evaluations=4", "patience=1")
    made = finetune(first.run, reviews, out=tmp_path / "run", settings=settings, **HERE)
    assert made.updates == 20
    best = checkpoints.best(tmp_path / "run" / "checkpoints")
    assert best is not None and best.step == 20
    assert not any("last exit is new" in note for note in made.notes)
    with pytest.raises(InputError, match="this one was not fine-tuned for these labels"):
        finetune(encoder, reviews, out=tmp_path / "no", settings=settings, **HERE)
