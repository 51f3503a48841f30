"""The detector: when masks have settled, heads and neurons apart, and never sooner than one swapped unit."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods.tickets import ENCODERS
from slimbert.config import dump, load
from slimbert.errors import InputError
from slimbert.jobs.tickets.stage import Clock
from slimbert.jobs.tickets.watch import Watch
from slimbert.methods.detector import DetectorConfig, distances, settled, stack, tolerance
from slimbert.methods.earlybird import TicketRecipe
from slimbert.methods.tickets import DrawConfig, HeadsConfig, NeuronsConfig
from slimbert.methods.units import units_of
from slimbert.train.loop import Start

BERT = ENCODERS["bert"]
CLOCK = Clock(unit=100, warm=0.0, total=300)  # 100 updates an epoch, 3 epochs
QUICK: dict[str, Any] = {"every": 1, "spacing": 0.01, "first": 0.0, "last": 0.9, "least": 0}


def watch(clock: Clock = CLOCK, **detector: Any) -> Watch:
    rule = DrawConfig(heads=HeadsConfig(cut=0.5), neurons=NeuronsConfig(cut=0.5, multiple=1))
    return Watch(TicketRecipe(detector=DetectorConfig(**{**QUICK, **detector}), draw=rule), BERT, clock)


def coefficients(seed: int = 0, *, still: str = "") -> dict[str, Tensor]:
    """Random ones; those of an axis called `still` do not depend on the seed."""
    out = {}
    for place, (key, axis) in enumerate(units_of(BERT).items()):
        number = place if key.endswith(still or "!") else 1000 * (seed + 1) + place
        out[key] = torch.rand(axis.units, generator=torch.Generator().manual_seed(number))
    return out


def drawn_at(found: Watch, seeds: Any, **rest: Any) -> tuple[int, str]:
    """(the first update with a verdict, what it is) where update n has the coefficients of seeds(n)."""
    for step in range(1, 300):
        now = Start(step)
        if found.due(now) or found.ended(now):
            found.saw(now, coefficients(seeds(step), **rest))
            if found.verdict(now):
                return step, found.why
    raise AssertionError("no verdict")


@pytest.mark.parametrize(("queue", "patience"), [(2, 1), (5, 1), (5, 5), (3, 4)])
def test_ticket_is_drawn_as_soon_as_queue_and_patience_are_met(queue: int, patience: int):
    found = watch(queue=queue, patience=patience)
    assert drawn_at(found, lambda step: 0) == (queue + patience - 1, "detected")
    assert (distances(stack(found.history["heads"])) == 0).all()


def test_ticket_of_random_masks_is_drawn_at_the_latest_only():
    found = watch()
    assert drawn_at(found, lambda step: step) == (90, "latest")
    between = distances(stack(found.history["neurons"]))
    off = between[~torch.eye(len(between), dtype=torch.bool)]
    assert off.mean() == pytest.approx(0.5, abs=0.02)  # 2 r (1 - r) at r = 0.5


@pytest.mark.parametrize("moving", ["heads", "neurons"])
def test_ticket_needs_heads_and_neurons_to_settle(moving: str):
    found = watch()
    assert drawn_at(found, lambda step: step, still="hidden" if moving == "heads" else "head") == (90, "latest")
    assert not found.settled("heads" if moving == "heads" else "neurons")
    assert found.settled("neurons" if moving == "heads" else "heads")


def test_ticket_masks_that_settle_late_are_found_then():
    """Random for 30 updates, then still: the first 9 still masks are the first that can be told."""
    assert drawn_at(watch(), lambda step: min(step, 31)) == (31 + 8, "detected")


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=2, max_size=6))
def test_ticket_distance_is_a_metric_from_0_to_1(rows: list[list[bool]]):
    """Symmetric, 0 for equal masks alone, no shorter by way of a third: the share of the units that differ."""
    masks = torch.tensor(rows)
    between = distances(masks)
    assert torch.equal(between, between.T)
    assert ((between >= 0) & (between <= 1)).all()
    assert torch.equal(between == 0, (masks[:, None] == masks[None]).all(dim=2))
    assert torch.allclose(between, (masks[:, None] != masks[None]).double().mean(dim=2))
    assert (between[:, None] <= between[:, :, None] + between[None] + 1e-12).all()  # a to c, by way of b
    assert torch.equal(distances(~masks), between)


@given(entries=st.integers(2, 400), swaps=st.integers(0, 3))
def test_ticket_tolerance_is_never_below_one_swapped_unit(entries: int, swaps: int):
    """One unit in, one out: two entries of all."""
    count, half = min(swaps, entries // 2), entries // 2
    places = torch.arange(entries)
    mask, moved = places < half, (places >= count) & (places < half + count)
    near = settled(torch.stack([mask, moved]), tolerance(0.0, entries), queue=2, patience=1)
    assert near == (count <= 1)
    assert tolerance(0.02, 144) == 0.02
    assert tolerance(0.02, 72) == 2 / 72


def test_ticket_detector_waits_for_first_warmup_and_least():
    assert drawn_at(watch(first=0.3), lambda step: 0) == (30, "detected")
    assert drawn_at(watch(clock=CLOCK._replace(warm=0.4)), lambda step: 0) == (40, "detected")
    assert drawn_at(watch(least=50), lambda step: 0) == (50, "detected")
    with pytest.raises(InputError, match="over before the warm-up is"):
        watch(clock=CLOCK._replace(warm=2.0))


def test_ticket_at_a_fixed_share_is_drawn_there():
    assert drawn_at(watch(fixed=0.2), lambda step: 0) == (20, "fixed")
    assert drawn_at(watch(fixed=0.2, least=35), lambda step: 0) == (35, "fixed")


def test_ticket_masks_are_taken_at_their_distance():
    found = watch(every=10, spacing=0.01, last=0.95)
    drawn_at(found, lambda step: step)
    assert found.updates == [10, 20, 30, 40, 50, 60, 70, 80, 90, 95]
    found = watch(every=2, spacing=0.05)
    drawn_at(found, lambda step: step)
    assert found.updates == list(range(5, 91, 5))


def test_ticket_shares_of_a_budget_in_time():
    found = watch(clock=Clock(unit=None, warm=0.1, total=None, seconds=60.0), last=0.5)
    for step in range(1, 70):
        now = Start(step, 0, step / 2)
        if found.due(now) or found.ended(now):
            found.saw(now, coefficients(step))
            if found.verdict(now):
                break
    assert (now.seconds, found.why) == (30.0, "latest")
    assert found.updates[:3] == [2, 4, 6]  # 0.6 s are a hundredth


def test_ticket_watch_goes_on_from_a_checkpoint():
    whole, first = watch(), watch()
    for step in range(1, 13):
        whole.saw(Start(step), coefficients(step))
    for step in range(1, 6):
        first.saw(Start(step), coefficients(step))
    again = watch()
    again.restore(first.tensors(), {"updates": first.updates, "shares": first.shares})
    for step in range(6, 13):
        again.saw(Start(step), coefficients(step))
    assert again.described() == whole.described()


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ({"last": 0.05}, r"ticket\.detector: a search of 5 updates takes 5 masks, the detector needs 9; raise last"),
        ({"every": 20}, r"ticket\.detector: a search of 90 updates takes 4 masks, the detector needs 9"),
        ({"spacing": 0.2}, r"takes 4 masks, the detector needs 9"),
        ({"last": 1.0, "least": 300}, r"ticket\.detector\.last: the search may take 300 updates, the run has 300"),
        ({"fixed": 1.0, "least": 400}, r"ticket\.detector\.fixed: the search may take 400 updates, the run has 300"),
    ],
)
def test_ticket_search_that_cannot_work(detector: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        watch(**detector)


def test_ticket_search_that_is_short_may_be_fixed():
    assert drawn_at(watch(fixed=0.03), lambda step: step) == (3, "fixed")


def test_ticket_recipes_are_read_back_and_checked():
    recipe = TicketRecipe(detector=DetectorConfig(fixed=0.2))
    assert load(TicketRecipe, dump(recipe), "ticket") == recipe
    for data, place in (
        ({"draw": {"heads": {"cut": 1}}}, r"ticket\.draw\.heads\.cut: 1 leaves no unit"),
        ({"draw": {"budget": 0}}, r"ticket\.draw\.budget"),
        ({"draw": {"neurons": {"cut": 1.5}}}, r"ticket\.draw\.neurons\.cut: 1\.5 is not in 0 to 1"),
        ({"train": {"share": 0}}, r"ticket\.train\.share"),
        ({"train": {"lr": -1}}, r"ticket\.train\.lr"),
        ({"train": {"start": "again"}}, r"ticket\.train\.start: 'again' is not one of rewind, continue"),
        ({"search": {"lr": 0}}, r"ticket\.search\.lr"),
        ({"detector": {"queue": 1}}, r"ticket\.detector\.queue"),
        ({"detector": {"first": 0.5}}, r"ticket\.detector\.first: 0\.5 is after last, 0\.2"),
        ({"draws": {}}, r"ticket\.draws: no such field, did you mean 'draw'\?"),
    ):
        with pytest.raises(InputError, match=place):
            load(TicketRecipe, data, "ticket").check()
