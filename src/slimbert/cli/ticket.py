"""Commands of early-bird tickets: ticket find, ticket apply."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from . import output

if TYPE_CHECKING:
    from rich.console import Group

    from ..jobs.tickets.apply import Applied
    from ..jobs.tickets.find import Found

app = typer.Typer()
ticket = typer.Typer(rich_markup_mode=None)
app.add_typer(ticket, name="ticket", help="Find a smaller model early in training, apply it.")


@ticket.callback()
def _ticket() -> None:
    """Find a smaller model early in training, apply it."""


@ticket.command("find")
def find(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An encoder; for pretraining a recipe of it.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled data; for pretraining what `prepare` wrote.")],
    out: o.Out,
    recipe: Annotated[Path, typer.Option("--ticket", metavar="RECIPE", help="How to search and what to keep.")] = Path(
        "earlybird"
    ),
    init_from: o.InitFrom = None,
    text_column: o.TextColumns = None,
    label_column: o.LabelColumn = None,
    task: o.TaskKind = None,
    settings: o.Settings = None,
    resume: o.Resume = False,
    device: o.Device = None,
    seed: o.Seed = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Search for a ticket, write ticket.json, train no further.

    --set changes what it changes in finetune or pretrain, and the ticket recipe: ticket.draw.neurons.cut=0.5.
    """
    from ..jobs.tickets.find import find as job

    with output.results(json) as show:
        made = job(
            model, data, out=out, ticket=recipe, init_from=init_from, kind=task, settings=settings or (),
            resume=resume, device=device, seed=seed, text_columns=text_column, label_column=label_column,
        )  # fmt: skip
        show(made, *_found(made))


@ticket.command("apply")
def apply(
    model: o.Encoder,
    ticket: Annotated[Path, typer.Argument(metavar="TICKET", help="A ticket.json, or a folder that holds one.")],
    out: o.Out,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Cut a model to a ticket, write the smaller one.

    The tokenizer and the ticket come along.
    """
    from ..jobs.tickets.apply import apply as job

    with output.results(json) as show:
        made = job(model, ticket, out=out)
        show(made, *_applied(made))


def _found(made: "Found") -> list["Group | str"]:
    """What stays of every layer, and how it was drawn."""
    values = {
        "ticket": made.ticket,
        "drawn by": made.by,
        "drawn": made.why,
        "search": f"{made.updates:,} updates in {output.clock(made.seconds)}",
    }
    return [
        _units(made.units),
        output.pairs("", values),
        "",
        output.following(("ticket", "apply", "MODEL", made.ticket)),
    ]


def _applied(made: "Applied") -> list["Group | str"]:
    """What stays of every layer, and of the whole."""
    title = f"{made.folder}: cut to {made.ticket}"
    rows = [
        ["parameters", *_of(*made.parameters)],
        [f"multiply-adds of the layers, {made.length} tokens", *_of(*made.macs)],
    ]
    whole = output.table(title, ["", "after", "before", "stays"], rows)
    return [_units(made.units), whole, output.following(("show", made.folder))]


def _units(units: dict[str, tuple[int, int]]) -> "Group":
    rows = [[key, *_of(*sizes)] for key, sizes in units.items()]
    return output.table("Units", ["axis", "after", "before", "stays"], rows)


def _of(after: int, before: int) -> list[str]:
    return [output.count(after), output.count(before), output.share(after / before)]
