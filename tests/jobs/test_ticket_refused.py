"""Tickets that could not be drawn, or not be trained, are refused before anything is searched."""

from typing import Any

import pytest

from slimbert.config import load
from slimbert.errors import InputError
from slimbert.jobs.finetune import settings_of
from slimbert.jobs.tickets.stage import Clock
from slimbert.jobs.tickets.watch import Watch
from slimbert.methods.earlybird import TicketRecipe
from slimbert.methods.tickets import DrawConfig
from slimbert.model import presets

ENCODER = presets.from_pattern("2{sf}", dim=32, head_dim=8, hidden=64, vocab=60, max_len=16)
EPOCH = 600


def watch(clock: Clock, **recipe: Any) -> Watch:
    return Watch(load(TicketRecipe, recipe, "ticket"), ENCODER, clock)


def test_ticket_whose_warm_up_outlasts_its_search_is_refused():
    watch(Clock(EPOCH, 0.15, 3 * EPOCH))
    with pytest.raises(InputError, match=r"a search of 120 updates is over before the warm-up is.*lower warmup"):
        watch(Clock(EPOCH, 0.3, 3 * EPOCH))
    watch(Clock(EPOCH, 0.3, 3 * EPOCH), detector={"fixed": 0.2})
    watch(Clock(50, 0.3, 300))  # `least` updates go on behind the warm-up
    with pytest.raises(InputError, match=r"a search of 10% of the time is over before the warm-up"):
        watch(Clock(None, 0.2, None, 60.0), detector={"last": 0.1, "spacing": 0.005})


@pytest.mark.parametrize("start", ["rewind", "continue"])
def test_ticket_that_leaves_no_update_to_train_is_refused(start: str):
    detector = {"fixed": 0.2}
    clock = Clock(EPOCH, 0.0, 3 * EPOCH)
    watch(clock, detector=detector, train={"start": start, "share": 0.1})
    train = {"start": start, "share": 0.06}  # 108 updates; the search takes 120
    if start == "rewind":
        watch(clock, detector=detector, train=train)  # these begin anew
    else:
        with pytest.raises(InputError, match=r"the search may take 120 updates, the run has 108"):
            watch(clock, detector=detector, train=train)
    with pytest.raises(InputError, match=r"the search may take 20% of the time, the whole run has 15%"):
        watch(Clock(None, 0.0, None, 60.0), detector=detector, train={"start": start, "share": 0.15})


def test_ticket_of_an_encoder_that_stays_as_it_is_is_refused():
    """In the second stage of DeeBERT nobody would teach what is left: neither with a search nor without."""
    stays = ("halting.method=entropy", "hidden=tanh")
    for recipe in (TicketRecipe(), TicketRecipe(draw=DrawConfig(by="random"))):
        with pytest.raises(InputError, match=r"--ticket: halting\.method=entropy leaves the encoder as it is.*first"):
            settings_of(stays, seed=None, early=recipe)
        assert settings_of(("halting.method=patience",), seed=None, early=recipe).halting is not None
    assert settings_of(stays, seed=None, early=None).halting is not None
