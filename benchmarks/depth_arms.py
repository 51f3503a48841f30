"""The arms of the benchmark of adaptive depth: how each is trained, and at which depths it is measured."""

from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from ticket_runs import earlybird

from slimbert.jobs.depth.curve import HALTING
from slimbert.jobs.source import open_encoder
from slimbert.jobs.tickets.recipe import ticket_recipe
from slimbert.methods.importance import at_random
from slimbert.methods.tickets import draw
from slimbert.model import EncoderConfig, ModelConfig
from slimbert.model.cost import cost_per_point
from slimbert.model.narrowing import Place, narrow
from slimbert.subnet import shrink
from slimbert.train.halting import TAUS, UNITS_OF_DACT

LR = 5e-5  # `pilot.py rates` says whether 1e-4, what `slimbert finetune` takes at this width, is better
TAU = TAUS[2]  # 5e-3; `pilot.py taus` says whether another one is better
TRIED_TAUS = (TAUS[1], TAUS[2], TAUS[-1])
NARROW_AT = 3  # layers of six that compute every token
# what goes, goes where it costs: in the layers that compute every token. Counted before anything is trained, `counted`
TICKET = ("ticket.draw.budget=0.55", "ticket.draw.keep=1", "ticket.draw.length=50")
ADAPTIVE, COMBINED = "DACT", "narrow + ticket + DACT"
PLAIN, FIRST_ROW = ("hidden=tanh",), ("pool=cls",)  # a layer before the classes, as units have; one state for the mean
ENTROPIES = ("full", *(f"entropy={value}" for value in (0.05, 0.15, 0.3, 0.45, 0.6, 0.67)))
PATIENCES = ("full", *(f"patience={count}" for count in range(1, 6)))


class Arm(NamedTuple):
    """How an arm is trained and at which depths it is measured. layers: of the encoder that stay; narrow: with a
    narrowing; after: the arm that its run begins from; once: first seed only; validated: the depths are scored on
    validation, too, where one of them is chosen."""

    settings: tuple[str, ...] = PLAIN
    words: tuple[str, ...] = ("full",)
    layers: int | None = None
    narrow: bool = False
    ticket: tuple[str, ...] | None = None
    after: str | None = None
    once: bool = False
    validated: bool = False


def halting(method: str, *more: str) -> tuple[str, ...]:
    return (f"halting.method={method}", f"halting.unit_lr={UNITS_OF_DACT:g}", *more)


def dact(tau: float) -> tuple[str, ...]:
    return halting("dact", f"halting.tau={tau}")


def cls(arm: Arm) -> Arm:
    """The same, once, with the first token's state in the place of the mean: the last layer then computes one row."""
    return arm._replace(settings=(*arm.settings, *FIRST_ROW), once=True)


DEPTHS = Arm(dact(TAU), HALTING, validated=True)
TRUNCATED = {f"truncated {count}": Arm(layers=count) for count in (2, 3, 4)}
ARMS = {  # in the order in which those of a seed are made
    "dense": Arm(),
    "entropy": Arm(halting("entropy"), ENTROPIES, after="dense"),
    ADAPTIVE: DEPTHS,
    **{f"DACT, tau {tau}": DEPTHS._replace(settings=dact(tau), once=True) for tau in TRIED_TAUS if tau != TAU},
    **TRUNCATED,
    "patience": Arm(halting("patience"), PATIENCES),
    **{f"{name}, cls": cls(arm) for name, arm in {"dense": Arm(), **TRUNCATED, ADAPTIVE: DEPTHS}.items()},
}
COMBINATION = {
    "narrow": Arm(narrow=True, once=True),
    "narrow + ticket": Arm(narrow=True, ticket=TICKET, once=True),
    COMBINED: Arm(dact(TAU), HALTING, narrow=True, ticket=TICKET, validated=True),
}


def counted(encoder: Path, at: int, ticket: tuple[str, ...], *, length: int = 50) -> dict[str, Any]:
    """Multiply-adds of a text up to each trace point, of what the combination is made of: known before any training.

    The ticket is drawn at random, by its own rule. dense, cls: with one row of the last layer.
    """
    model = open_encoder(encoder, prefer="pooler")[0]
    recipe, _ = ticket_recipe(earlybird("earlybird"), ticket, "")
    assert recipe is not None
    small = narrow(model, Place(at)).config.encoder
    cut = shrink(small, draw(at_random(small, 0), small, recipe.draw))
    whole = model.config.encoder

    def spent(config: EncoderConfig, keep: int | None) -> list[int]:
        return list(accumulate(cost_per_point(ModelConfig(encoder=config), length=length, keep=keep)))

    found: dict[str, Any] = {"length": length, "dense": spent(whole, None), "dense, cls": spent(whole, 1)}
    return found | {"narrow": spent(small, 1), "narrow + ticket": spent(cut, 1)}
