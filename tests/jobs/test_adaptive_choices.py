"""Adaptive depth in its parts, without training: what may be asked, how runs are timed and bounded, what is chosen."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from laws.test_adaptive import ENCODERS, LABELS, made
from slimbert.data.tasks import Split
from slimbert.errors import InputError
from slimbert.jobs.depth import adaptive_head, check_frozen, chosen_depth
from slimbert.jobs.depth import calibrate as calibration
from slimbert.jobs.depth import run as running
from slimbert.jobs.depth.choose import AskedDepth, Depth
from slimbert.jobs.depth.run import Ran, run_adaptively, run_in_turn
from slimbert.jobs.finetune import settings_of
from slimbert.jobs.standing import Standing
from slimbert.jobs.tasks.features import Column, Features
from slimbert.methods.earlybird import TicketRecipe
from slimbert.model import ModelConfig
from slimbert.model.adaptive import Confident, Patience, Safe
from slimbert.model.exits import DactConfig, ExitsConfig
from slimbert.model.heads import SequenceConfig
from slimbert.model.model import Model
from slimbert.train.halting import HaltingConfig
from slimbert.train.loop import Step

WHERE: Any = {"pad_id": 0, "device": "cpu"}
KIND: Any = SimpleNamespace(description=SimpleNamespace(thresholds=None))
NEVER = Confident(threshold=2.0)


def rows(lengths: list[int], **rest: Any) -> Features:
    draw = np.random.default_rng(0)
    owner = rest.pop("owner", list(range(len(lengths))))
    return Features([draw.integers(1, 30, size) for size in lengths], None, np.array(owner), **rest)


def number(kind: type = DactConfig) -> Model:
    head: Any = {"labels": ("score",), "units": 4, "answer": "number", "low": 0.0, "high": 50.0}
    return ModelConfig(encoder=ENCODERS["post-norm"], head=kind(**head)).build()


# what may be asked


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("full=1", "full takes no value"),
        ("published=0.5", "published takes no value"),
        ("calibrated=1%", "calibrated takes no value"),
        ("safe=0.05", "a tolerance is for numbers, this run answers with class"),
        ("patience=2.7", "not a whole number"),
        ("kappa", "not a number from 0 to 1"),
    ],
)
def test_values_that_mean_nothing_are_refused(word: str, message: str):
    with pytest.raises(InputError, match=f"--depth: .*{message}"):
        chosen_depth(made("post-norm"), KIND, word)


def test_a_tolerance_is_asked_or_a_share_of_the_range():
    policies = {word: chosen_depth(number(), KIND, word).policy for word in ("safe", "safe=0.3", "kappa=0.5")}
    assert [policy.tolerance for policy in policies.values()] == [1.0, 0.3, 1.0]  # type: ignore[union-attr]
    assert chosen_depth(number(), KIND, "safe=0.3").guaranteed
    patient = chosen_depth(number(ExitsConfig), KIND, "patience=2").policy
    assert patient == Patience(count=2, tolerance=1.0)
    with pytest.raises(InputError, match=r"'safe=51': not a number from 0 to 50"):
        chosen_depth(number(), KIND, "safe=51")
    for word in ("entropy=0.3", "confidence=0.9"):
        with pytest.raises(InputError, match=r"this run answers with a number; give safe=0\.05 or patience=2"):
            chosen_depth(number(ExitsConfig), KIND, word)


# how runs are timed and bounded


def test_counting_multiply_adds_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    real = running._per_point

    def counted(*given: Any) -> tuple[int, ...]:
        now[0] += 1.0
        return real(*given)

    monkeypatch.setattr(running, "_per_point", counted)
    monkeypatch.setattr(running.time, "perf_counter", lambda: now[0])
    features = rows([9, 7, 5, 3])
    ran = run_adaptively(made("post-norm"), features, Depth("safe", Safe()), batch_size=2, **WHERE)
    assert now[0] > 0 and ran.macs > 0
    assert ran.seconds == 0.0


def test_depths_take_turns_after_a_batch_that_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    model, features, seen = made("post-norm"), rows([9, 8, 7, 6, 5]), []
    real = running._Run.answered

    def noted(self: Any, index: Any, **rest: Any) -> Any:
        seen.append((self.policy.threshold, tuple(index)))
        return real(self, index, **rest)

    monkeypatch.setattr(running._Run, "answered", noted)
    depths = [Depth(str(limit), Confident(threshold=limit)) for limit in (0.5, 2.0)]
    first, second = run_in_turn(model, features, depths, batch_size=2, warm=True, **WHERE)
    warm, timed = seen[:2], seen[2:]
    assert warm == [(0.5, (0, 1)), (2.0, (0, 1))]
    assert [limit for limit, _ in timed] == [0.5, 2.0, 2.0, 0.5, 0.5, 2.0]
    assert [index for _, index in timed] == [(0, 1), (0, 1), (2, 3), (2, 3), (4,), (4,)]
    alone = run_adaptively(model, features, depths[1], batch_size=2, **WHERE)
    assert second.macs == alone.macs == second.full_macs and first.macs < first.full_macs
    assert all(np.array_equal(a, b) for a, b in zip(second.outputs, alone.outputs, strict=True))


def test_a_budget_does_not_depend_on_what_else_is_in_the_batch():
    model, features = made("post-norm"), rows([12, 4, 3])
    each = [sum(running._per_point(model.config, length, 1)) for length in (12, 4)]
    depth = Depth("full", None, None, (each[0] + each[1]) // 2)
    together = run_adaptively(model, features, depth, **WHERE)
    alone = [run_adaptively(model, rows([length]), depth, **WHERE).depth[0] for length in (12, 4, 3)]
    assert together.depth.tolist() == alone
    assert together.depth[0] < 4 and together.depth[1] == together.depth[2] == 4
    bounded = run_adaptively(model, features, depth._replace(max_depth=1), **WHERE)
    assert bounded.depth.tolist() == [1, 1, 1]


def test_windows_that_are_repaired_together_all_go_to_the_end():
    """No two tags may follow each other here: a window of two words goes to the end, and takes along the others of its
    text, which had stopped before."""
    model = made("post-norm", answer="tags")
    always, never = torch.ones(3, dtype=torch.bool), torch.zeros(3, 3, dtype=torch.bool)
    policy = Safe(kappa=0.01, legal=never, starts=always, ends=always)
    words = [np.array(places) for places in ([1], [1, 2], [1], [2])]
    features = rows([9, 8, 7, 6], owner=[0, 0, 1, 1], columns={"select": Column(words, 0, 8)})
    ran = run_adaptively(model, features, Depth("kappa", policy), **WHERE)
    whole = run_adaptively(model, features, Depth("full", None), **WHERE)
    assert ran.depth[0] == ran.depth[1] == 4 and max(ran.depth[2:]) < 4
    for unit in (0, 1):
        np.testing.assert_allclose(ran.outputs[unit][:2], whole.outputs[unit][:2], atol=1e-5)
    assert ran.full_macs == whole.full_macs
    several = run_adaptively(model, dataclasses.replace(features, owner=np.arange(4)), Depth("k", policy), **WHERE)
    assert several.depth[0] < 4 and several.macs < ran.macs


# calibration


def test_calibration_takes_the_last_before_the_first_that_fails(monkeypatch: pytest.MonkeyPatch):
    planted = {0.85: 0, 0.7225: 5, 0.6141: 90, 0.522: 0}
    asked: list[str] = []

    def ran(model: Any, features: Any, depth: Depth, **rest: Any) -> Ran:
        asked.append(depth.said)
        value = float(depth.said.partition("=")[2] or 1.0)
        return Ran([value], np.array([round(4 * value)]), int(100 * value), 100, 0.0)

    def differs(predictor: Any, texts: Any, features: Any, first: Any, second: Any) -> Any:
        return np.arange(1000) < planted[first[0]]

    monkeypatch.setattr(calibration, "run_adaptively", ran)
    monkeypatch.setattr(calibration, "differs", differs)
    monkeypatch.setattr(calibration, "chosen_depth", lambda model, kind, word: Depth(word, None))
    predictor: Any = SimpleNamespace(
        model=None, pad_id=0, device="cpu", kind=SimpleNamespace(features=lambda split, labelled: None)
    )
    made = calibration._search(predictor, [""] * 1000, 0.02, 0.95, "run")
    assert asked == ["full", "safe", "kappa=0.85", "kappa=0.7225", "kappa=0.6141"]
    assert (made.kappa, made.differing, made.rows, made.asked) == (0.7225, 5, 1000, 0.02)
    assert [(kappa, count) for kappa, count, _ in made.tried] == [(0.85, 0), (0.7225, 5), (0.6141, 90)]
    assert calibration.upper_limit(5, 1000, 0.95) <= 0.02 < calibration.upper_limit(90, 1000, 0.95)


# what is selected, and from what it starts


def standing(
    halting: HaltingConfig, values: list[float], monkeypatch: pytest.MonkeyPatch
) -> tuple[Standing, list[bool]]:
    """(where a run stands after validations with these scores, which of them became the best checkpoint)."""
    saved: list[bool] = []
    monkeypatch.setattr(Standing, "save", lambda self, run, step, best=False: saved.append(best))
    run: Any = SimpleNamespace(settings=SimpleNamespace(halting=halting), updates=len(values))
    made = Standing()
    for n, value in enumerate(values, 1):
        made.validated(run, Step(n, 0.0, {}, 0, 0.0, 0.0, 0.0), value=value, loss=1.0)
    return made, saved


def test_halting_chooses_no_checkpoint_while_its_price_rises(monkeypatch: pytest.MonkeyPatch):
    values = [0.9, 0.9, 0.5, 0.6, 0.55]
    made, saved = standing(HaltingConfig(ramp=0.6), values, monkeypatch)
    assert saved == [False, False, True, True, False]
    assert (made.best[0], made.stale) == (0.6, 1)
    assert standing(HaltingConfig(ramp=0.6, tau=0.0), values, monkeypatch)[1] == [True, False, False, False, False]
    assert standing(HaltingConfig(method="patience"), values, monkeypatch)[1] == [True, False, False, False, False]


def test_exits_over_a_frozen_encoder_take_the_last_checkpoint(monkeypatch: pytest.MonkeyPatch):
    """The score in full depth is the same at every validation: it would stop the run, and choose the first."""
    made, saved = standing(HaltingConfig(method="entropy"), [0.9] * 6, monkeypatch)
    assert saved == [True] * 6 and made.stale == 0


def test_a_frozen_encoder_must_have_learnt_the_task():
    encoder, units = ENCODERS["post-norm"], ExitsConfig(labels=LABELS, units=4)
    check_frozen(ModelConfig(encoder=encoder, head=SequenceConfig(labels=LABELS, hidden=None)), units)
    for before in (None, SequenceConfig(labels=("x", "y"))):
        with pytest.raises(InputError, match="was not fine-tuned for these labels; fine-tune it first"):
            check_frozen(ModelConfig(encoder=encoder, head=before), units)
    with pytest.raises(InputError, match="one trace point"):
        check_frozen(ModelConfig(encoder=encoder, head=units), dataclasses.replace(units, units=1))


def test_settings_shape_the_head():
    halting = HaltingConfig(width=16, shared=True, bias=1.0, h_max=0.9)
    train: Any = Split(["a"], np.array([0]))
    head = adaptive_head(SequenceConfig(labels=LABELS, hidden=None), 4, train, halting)
    assert head == DactConfig(labels=LABELS, units=4, width=16, shared=True, bias=1.0, h_max=0.9)
    exits = adaptive_head(SequenceConfig(labels=LABELS), 4, train, HaltingConfig(method="patience", width=16))
    assert exits == ExitsConfig(labels=LABELS, units=4, width=16)
    with pytest.raises(InputError, match=r"--set halting\.method: patience has no halting values"):
        settings_of(("halting.method=patience", "halting.bias=1"), seed=None, early=None)


def test_settings_of_a_run_follow_what_it_does():
    stops = settings_of(("halting.method=dact",), seed=3, early=None)
    assert (stops.windows, stops.seed, stops.warmup) == ("cut", 3, 0.1)
    assert settings_of((), seed=None, early=TicketRecipe()).warmup == 0.05
    assert settings_of(("warmup=0.2",), seed=None, early=TicketRecipe()).warmup == 0.2
    fixed = dataclasses.replace(TicketRecipe(), detector=dataclasses.replace(TicketRecipe().detector, fixed=0.2))
    assert settings_of((), seed=None, early=fixed).warmup == 0.1


def test_a_depth_that_cannot_be_reached_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="--max-depth: 9, the model has 4 units"):
        chosen_depth(made("post-norm"), KIND, AskedDepth(None, 9))
    with pytest.raises(InputError, match="no calibration"):
        chosen_depth(made("post-norm"), KIND, "calibrated", run=tmp_path)
