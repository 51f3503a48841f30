"""A ticket as a file: the units that stay, how they were drawn, and the architecture that they belong to."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from ...atomic import write_json
from ...errors import InputError
from ...model import EncoderConfig
from ...subnet import Subnet, axes_of, shrink
from ...train.run import TICKET

FORMAT = 1


class Ticket(NamedTuple):
    """A drawn ticket.

    source: the hash of the architecture; by, why: what it was drawn by and when (`detected`, `latest`, `fixed`,
    `no search`); updates, tokens, seconds: of its search; recipe: the ticket recipe; run: the hash of the run and the
    recipe that it was drawn in.
    """

    subnet: Subnet
    source: str
    by: str
    why: str
    updates: int
    tokens: int
    seconds: float
    recipe: dict[str, Any]
    run: str

    @property
    def digest(self) -> str:
        """A hash of the units that stay."""
        return hashed(self.subnet.units)


def hashed(plain: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def architecture(encoder: EncoderConfig) -> str:
    """A hash of what a ticket depends on: the width, and the kinds and axes of all mixers.

    Vocabulary, row length and dropout may differ between the model a ticket was found in and the one it is applied to.
    """
    layers = [
        [
            [mixer.kind, {name: list(axis) for name, axis in axes_of(mixer).items()}]
            for mixer in getattr(step, "mix", ())
        ]
        for step in encoder.layers
    ]
    return hashed({"dim": encoder.dim, "layers": layers})


def write_ticket(folder: Path, ticket: Ticket) -> Path:
    """Write ticket.json, whole or not at all."""
    plain = {"format": FORMAT, **ticket._asdict(), "subnet": {key: list(kept) for key, kept in ticket.subnet.units}}
    write_json(folder / TICKET, plain, indent=None)
    return folder / TICKET


def read_ticket(place: str | Path) -> Ticket:
    """The ticket in a file, or in a folder that holds one. Raises InputError where it is none."""
    path = Path(place) / TICKET if Path(place).is_dir() else Path(place)
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(place, f"no ticket here ({path.name} is missing)", "make one: slimbert ticket find") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, f"not readable as JSON ({error})"[:200], "draw the ticket again") from None
    if not isinstance(data, dict) or "subnet" not in data:
        raise InputError(path, "not a ticket", "name a ticket.json, or a run folder that holds one")
    if data.get("format") != FORMAT:
        raise InputError(path, f"format {data.get('format')!r}, this version reads {FORMAT}", "update slimbert")
    try:
        units = {str(key): [int(unit) for unit in kept] for key, kept in data["subnet"].items()}
        rest = {name: data[name] for name in Ticket._fields if name != "subnet"}
        return Ticket(subnet=Subnet.of(units), **rest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, f"not a whole ticket ({error!r})"[:200], "draw the ticket again") from None


def fitting(ticket: Ticket, encoder: EncoderConfig, place: str | Path) -> Subnet:
    """The ticket's subnet. Raises InputError where it was drawn from another architecture."""
    if ticket.source != architecture(encoder):
        problem = f"drawn from another architecture than this one of {encoder.depth()} layers and width {encoder.dim}"
        raise InputError(place, problem, "apply it to the model it was found in, or find one here")
    shrink(encoder, ticket.subnet)  # a file that was edited may name units that are not there
    return ticket.subnet
