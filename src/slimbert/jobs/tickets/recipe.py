"""A ticket recipe as a file of YAML, and the settings that change it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config import load, override
from ...errors import InputError
from ...methods.earlybird import TicketRecipe
from ...train.recipe import read_recipe
from ...train.run import SEARCH, TICKET

PREFIX = "ticket."


def ticket_recipe(
    ticket: str | Path | Mapping[str, Any] | None, settings: Sequence[str], out: str | Path
) -> tuple[TicketRecipe | None, list[str]]:
    """The checked recipe (None: without a ticket), and the settings that are not about it.

    ticket: a file with `ticket:` in it, or its plain data. Raises InputError with the path of what does not fit, and
    where `out` holds a run with a ticket, but none is asked for.
    """
    if ticket is None:
        if (Path(out) / SEARCH).is_dir() or (Path(out) / TICKET).exists():
            raise InputError(
                out, "a run with a ticket", "go on with the --ticket it began with, or choose another --out"
            )
        return None, list(settings)
    own = [setting for setting in settings if setting.startswith(PREFIX)]
    data = dict(ticket) if isinstance(ticket, Mapping) else read_recipe(ticket)
    if "ticket" not in data:
        place = "--ticket" if isinstance(ticket, Mapping) else f"--ticket {ticket}"
        raise InputError(place, "no `ticket:` in it", "name a ticket recipe, e.g. recipes/earlybird.yaml")
    recipe = load(TicketRecipe, override(data, own, "recipe")["ticket"] or {}, "ticket")
    recipe.check()
    return recipe, [setting for setting in settings if setting not in own]
