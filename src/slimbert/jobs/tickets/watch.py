"""What a search has seen so far: the masks that would have been drawn, and whether they have settled."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...methods.detector import distances, settled, stack, tolerance
from ...methods.earlybird import TicketRecipe
from ...methods.importance import by_coefficient
from ...methods.tickets import draw
from ...methods.units import KINDS, Kind, masks, units_of
from ...model import EncoderConfig
from ...subnet import Subnet
from ...train.loop import Start
from .stage import Clock

CLOSE = 1e-9  # shares are quotients: 0.03 - 0.02 is a little less than 0.01


class Watch:
    """The masks of a search by update.

    Raises InputError where the search is too short to detect anything, or what is to be cut would empty a layer.
    """

    def __init__(self, recipe: TicketRecipe, encoder: EncoderConfig, clock: Clock) -> None:
        self.recipe, self.encoder, self.clock = recipe, encoder, clock
        self.updates: list[int] = []
        self.shares: list[float] = []
        self.history: dict[Kind, list[Tensor]] = {kind: [] for kind in KINDS}
        self.why = ""  # once it is drawn
        self._check()
        ones = {key: torch.ones(axis.units) for key, axis in units_of(encoder).items()}
        draw(ones, encoder, recipe.draw)  # what cannot be drawn is told before the search, not after it

    def ticket(self, coefficients: Mapping[str, Tensor]) -> Subnet:
        """What is drawn by these."""
        rule = self.recipe.draw
        return draw(by_coefficient(coefficients, signed=rule.signed), self.encoder, rule)

    def saw(self, now: Start, coefficients: Mapping[str, Tensor]) -> Subnet:
        """Take the mask of this update; the ticket that it is."""
        subnet = self.ticket(coefficients)
        for kind, mask in masks(self.encoder, subnet).items():
            self.history[kind].append(mask)
        self.updates.append(now.step)
        self.shares.append(self.clock.share(now))
        return subnet

    def due(self, now: Start) -> bool:
        """Whether the mask of this update is taken."""
        rule = self.recipe.detector
        step, share = (self.updates[-1], self.shares[-1]) if self.updates else (0, 0.0)
        return now.step - step >= rule.every and self.clock.share(now) - share >= rule.spacing - CLOSE

    def ended(self, now: Start) -> bool:
        """Whether the ticket is drawn after this update, whatever the masks say."""
        rule = self.recipe.detector
        last = rule.last if rule.fixed is None else rule.fixed
        return now.step >= rule.least and self.clock.share(now) >= last - CLOSE

    def verdict(self, now: Start) -> str:
        """Why the ticket is drawn now; empty: it is not."""
        rule, share = self.recipe.detector, self.clock.share(now)
        if self.ended(now):
            self.why = "latest" if rule.fixed is None else "fixed"
        early = share < max(rule.first, self.clock.warm) - CLOSE or now.step < rule.least
        if rule.fixed is None and not early and all(self.settled(kind) for kind in KINDS):
            self.why = "detected"
        return self.why

    def settled(self, kind: Kind) -> bool:
        """Whether the masks of heads, or of neurons, hardly move any more."""
        rule = self.recipe.detector
        return settled(stack(self.history[kind]), self.tolerance(kind), queue=rule.queue, patience=rule.patience)

    def tolerance(self, kind: Kind) -> float:
        """The largest distance that counts as none."""
        return tolerance(getattr(self.recipe.detector, kind), len(self.history[kind][-1]) if self.updates else 0)

    def described(self) -> dict[str, Any]:
        """The distance matrices and what was decided, ready for JSON."""
        found: dict[str, Any] = {"updates": self.updates, "shares": self.shares, "why": self.why}
        for kind in KINDS:
            between = distances(stack(self.history[kind])).tolist()
            found[kind] = {"tolerance": self.tolerance(kind), "settled": self.settled(kind), "distances": between}
        return found

    def tensors(self) -> dict[str, Tensor]:
        """The masks, for a checkpoint."""
        return {f"masks.{kind}": stack(history) for kind, history in self.history.items()}

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint stands."""
        self.updates, self.shares = list(state["updates"]), list(state["shares"])
        self.history = {kind: list(tensors[f"masks.{kind}"]) if self.updates else [] for kind in KINDS}

    def _check(self) -> None:
        rule, unit = self.recipe.detector, self.clock.unit
        longest = rule.last if rule.fixed is None else rule.fixed
        if unit:
            cap = max(rule.least, math.ceil(longest * unit - CLOSE))
            possible = cap // max(rule.every, math.ceil(rule.spacing * unit - CLOSE), 1)
            spent = f"{cap} updates"
        else:
            cap, spent = None, f"{longest:.0%} of the time"
            possible = int(longest / rule.spacing + CLOSE) if rule.spacing else rule.needed
        if rule.fixed is None and possible < rule.needed:
            problem = f"a search of {spent} takes {possible} masks, the detector needs {rule.needed}"
            remedy = "raise last or least, lower every, spacing, queue or patience, or set fixed"
            raise InputError("ticket.detector", problem, remedy)
        warm = self.clock.warm * unit if unit else self.clock.warm
        if rule.fixed is None and warm > (longest if cap is None else cap) + CLOSE:
            problem = f"a search of {spent} is over before the warm-up is, so nothing can be detected"
            remedy = "lower warmup, raise ticket.detector.last, or set ticket.detector.fixed"
            raise InputError("ticket.detector", problem, remedy)
        self._check_rest(cap, longest)

    def _check_rest(self, cap: int | None, longest: float) -> None:
        """Raise InputError where the search, of `cap` updates or a share `longest` of the time, leaves nothing."""
        name, train = "last" if self.recipe.detector.fixed is None else "fixed", self.recipe.train
        if cap is not None and self.clock.total is not None:
            there = self.clock.total
            if train.start == "continue":  # it goes on at the update that the search came to
                there = round(train.share * there)
            if cap >= there:
                problem = f"the search may take {cap} updates, the run has {there}"
                raise InputError(f"ticket.detector.{name}", problem, "lower it and `least`, or train longer")
        if cap is None and longest >= train.share:
            problem = f"the search may take {longest:.0%} of the time, the whole run has {train.share:.0%}"
            raise InputError(f"ticket.detector.{name}", problem, "lower it, or raise ticket.train.share")
