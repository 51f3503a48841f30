"""Accumulated answers, halting values and the safe rules of DACT: closed forms, adversaries, gradients."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from slimbert.model import halting
from slimbert.model.halting import Range, accumulate, bounds, class_is_safe, mixture, ponder, values
from slimbert.model.heads import Answers

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def drawn(seed: int, rows: int, units: int, classes: int) -> tuple[Tensor, Tensor]:
    """Sharp and flat answers y [N, B, C] and halting values h [B, N] near 0, near 1 and between, in float64."""
    generator = torch.Generator().manual_seed(seed)
    sharp = 8.0 * torch.rand(1, rows, 1, generator=generator, dtype=torch.float64)
    y = (sharp * torch.randn(units, rows, classes, generator=generator, dtype=torch.float64)).softmax(dim=-1)
    h = (4.0 * torch.randn(rows, units, generator=generator, dtype=torch.float64) - 1.0).sigmoid()
    return y, h


def run(y: Tensor, h: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """a_1 ... a_N and p_1 ... p_N by the definition."""
    answer, p, answers, left = y[0], torch.ones_like(h[:, 0]), [], []
    for n in range(len(y)):
        answer = y[0] if n == 0 else accumulate(answer, y[n], p)
        p = p * h[:, n]
        answers.append(answer)
        left.append(p)
    return answers, left


def weights(h: Tensor) -> Tensor:
    """[B, N] how much each unit's answer counts in the last one, given h [B, N]; they sum to 1."""
    p = h.cumprod(dim=1)
    before = torch.cat((torch.ones_like(p[:, :1]), p[:, :-1]), dim=1)
    rest = torch.cat((1 - p[:, :-1], torch.ones_like(p[:, :1])), dim=1)  # what unit n + 1 leaves of those before
    return before * rest.flip(1).cumprod(dim=1).flip(1)


@pytest.mark.parametrize(("classes", "units"), list(itertools.product((2, 3, 10), (1, 2, 6, 12))))
def test_answers_are_mixtures_of_what_the_units_said(classes: int, units: int):
    y, h = drawn(0, 64, units, classes)
    answers, _ = run(y, h)
    w = weights(h)
    assert_close(w.sum(dim=1), torch.ones(64, dtype=torch.float64))
    assert (w >= 0).all()
    assert_close(torch.einsum("bn,nbc->bc", w, y), answers[-1])
    for answer in answers:
        assert_close(answer.sum(dim=-1), torch.ones(64, dtype=torch.float64))


def test_the_extremes_of_halting():
    y, h = drawn(1, 8, 6, 3)
    assert_close(run(y, torch.ones_like(h))[0][-1], y[-1], rtol=0, atol=0)
    first = h.clone()
    first[:, 0] = 0.0
    assert_close(run(y, first)[0][-1], y[0], rtol=0, atol=0)
    for rule in ("tight", "published"):  # so it ends there
        assert class_is_safe(y[0], first[:, 0], 5, rule=rule).all()
    third = h.clone()
    third[:, 2] = 0.0
    noise = y.clone()
    noise[3:] = drawn(2, 8, 3, 3)[0]
    assert_close(run(noise, third)[0][-1], run(y, third)[0][-1], rtol=0, atol=0)


def test_the_last_halting_value_changes_the_price_alone():
    y, h = drawn(3, 8, 6, 3)
    other = h.clone()
    other[:, -1] = 0.123
    assert_close(run(y, other)[0][-1], run(y, h)[0][-1], rtol=0, atol=0)
    assert (ponder(other) != ponder(h)).all()
    p = h.cumprod(dim=1)
    assert (p.diff(dim=1) <= 0).all()
    assert ((ponder(h) > 0) & (ponder(h) < 6)).all()
    assert_close(ponder(h, "h"), h.sum(dim=1))


def test_other_shapes_of_the_price_charge_late_units_more():
    h = torch.full((1, 12), 0.99, dtype=torch.float64)
    running = h.cumprod(dim=1).cumsum(dim=1)[0]
    late = sum(max(0.0, float(value) - 5.0) for value in running)
    assert float(ponder(h, shape="linear")) == pytest.approx(float(ponder(h)) + late)
    steep = sum(torch.exp(value - 7.0).item() + 1.0 for value in running)
    assert float(ponder(h, shape="exp")) == pytest.approx(float(ponder(h)) + steep)


@pytest.mark.parametrize("kind", ["class", "labels", "number"])
def test_the_log_form_is_the_plain_form(kind: Answers):
    generator = torch.Generator().manual_seed(4)
    logits = [3 * torch.randn(16, 1 if kind == "number" else 4, generator=generator) for _ in range(5)]
    log_h = torch.nn.functional.logsigmoid(3 * torch.randn(16, 5, generator=generator))
    span = Range(-1.0, 4.0) if kind == "number" else Range()
    y = torch.stack([values(one, kind, span) for one in logits])
    found = mixture(logits, log_h, kind, span)
    assert_close(found, halting.logits_of(run(y, log_h.exp())[0][-1], kind), rtol=1e-4, atol=1e-4)


def test_gradients_stay_finite_where_float32_ends():
    logits = [torch.tensor([[200.0, -200.0]], requires_grad=True) for _ in range(4)]
    z = torch.tensor([[60.0, -60.0, 60.0, 0.0]], requires_grad=True)
    loss = -mixture(logits, torch.nn.functional.logsigmoid(z), "class")[0, 1]
    loss.backward()
    assert loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in logits)


def test_accumulation_has_the_gradient_of_its_formula():
    logits = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    z = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def plain(z: Tensor, *logits: Tensor) -> Tensor:
        return run(torch.stack([one.softmax(-1) for one in logits]), z.sigmoid())[0][-1]

    assert torch.autograd.gradcheck(plain, (z, *logits))
    plain(z, *logits)[:, 0].sum().backward()
    assert z.grad is not None
    assert not z.grad[:, -1].any()  # the last halting value leads nowhere
    assert z.grad[:, :-1].abs().min() > 0


RULES = [("tight", 1.0), ("published", 1.0), ("tight", 0.7)]


@pytest.mark.parametrize(("rule", "h_max"), RULES)
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), units=st.sampled_from([1, 2, 6, 12, 24]), classes=st.sampled_from([2, 3, 10]))
def test_no_unit_to_come_changes_a_class_that_was_called_safe(
    rule: halting.Rule, h_max: float, seed: int, units: int, classes: int
):
    """On drawn answers, and where every later unit is sure of the runner-up and goes on."""
    y, h = drawn(seed, 128, units, classes)
    h = h * h_max
    answers, left = run(y, h)
    for n in range(units):
        safe = class_is_safe(answers[n], left[n], units - n - 1, rule=rule, h_max=h_max)
        assert (answers[-1].argmax(-1) == answers[n].argmax(-1))[safe].all()
        hostile, answer, p = answers[n].topk(2, dim=-1).indices[:, 1], answers[n], left[n]
        against = torch.nn.functional.one_hot(hostile, classes).double()
        for _ in range(units - n - 1):
            answer, p = accumulate(answer, against, p), p * h_max
        assert (answer.argmax(-1) == answers[n].argmax(-1))[safe].all()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), units=st.sampled_from([2, 6, 12]))
def test_the_tight_rule_never_stops_later_than_the_published_one(seed: int, units: int):
    y, h = drawn(seed, 256, units, 3)
    for n, (answer, p) in enumerate(zip(*run(y, h), strict=True)):
        published = class_is_safe(answer, p, units - n - 1, rule="published")
        assert class_is_safe(answer, p, units - n - 1)[published].all()


def test_a_class_that_is_just_not_safe_can_be_overtaken():
    """The tight bound is attained: no rule that looks at a, p and what is left could stop here."""
    p, left = torch.tensor([0.2], dtype=torch.float64), 3
    share = float(halting.kept_share(p, left))
    gap = 1 / share - 1 - 1e-6  # (gap + 1) share is slightly below 1
    answer = torch.tensor([[(1 + gap) / 2, (1 - gap) / 2]], dtype=torch.float64)
    assert not class_is_safe(answer, p, left, margin=0.0)
    for _ in range(left):
        answer = accumulate(answer, torch.tensor([[0.0, 1.0]], dtype=torch.float64), p)
    assert answer[0, 1] > answer[0, 0]


def test_h_max_stops_earlier_and_one_is_the_plain_rule():
    y, h = drawn(5, 512, 12, 3)
    h = 0.7 * h
    bounded, plain = [
        sum(
            class_is_safe(answer, p, 12 - n - 1, h_max=h_max).sum()
            for n, (answer, p) in enumerate(zip(*run(y, h), strict=True))
        )
        for h_max in (0.7, 1.0)
    ]
    assert bounded > plain


@pytest.mark.parametrize("span", [Range(), Range(0.0, 5.0)])
def test_the_last_answer_lies_within_the_bounds(span: Range):
    y, h = drawn(6, 256, 12, 3)
    y = span.low + (span.high - span.low) * y
    answers, left = run(y, h)
    for n, (answer, p) in enumerate(zip(answers, left, strict=True)):
        low, high = bounds(answer, p, 12 - n - 1, span)
        assert ((low - 1e-9 <= answers[-1]) & (answers[-1] <= high + 1e-9)).all()
