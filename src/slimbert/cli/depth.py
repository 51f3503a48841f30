"""Adaptive depth on the command line: calibrate, and what its results look like to a person."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from . import output
from .output import count, pairs, share, table

if TYPE_CHECKING:
    from rich.console import Group

    from ..jobs.depth.calibrate import Calibrated
    from ..jobs.depth.curve import Curve
    from ..jobs.evaluate import Reached

app = typer.Typer()


@app.command()
def calibrate(
    run: o.Run,
    data: Annotated[
        Path, typer.Option("--data", metavar="HELD_OUT", help="Texts held out of train; labels are not needed.")
    ],
    disagree: Annotated[
        str, typer.Option("--disagree", metavar="SHARE", help="Answers that may differ from the full depth: 1%.")
    ] = "1%",
    confidence: Annotated[float, typer.Option("--confidence", help="Of the bound.")] = 0.95,
    text_column: o.TextColumns = None,
    device: o.Device = None,
    threads: o.Threads = None,
    json: o.Json = False,
) -> None:
    """Choose how early a run may stop, with a bound.

    Writes calibration.json into the run; predict and evaluate use it with --depth calibrated.
    """
    from ..jobs.depth.calibrate import calibrate as job
    from ..jobs.depth.calibrate import share_of

    with output.results(json) as show:
        made = job(
            run, data, disagree=share_of(disagree), confidence=confidence, text_columns=text_column, device=device
        )
        show(made, calibrated(made), output.following(("predict", made.run, "TEXT", "--depth", "calibrated")))


def calibrated(made: "Calibrated") -> "Group":
    """The threshold that was chosen, and its bound."""
    values = {
        "run": made.run,
        "rows": count(made.rows),
        "kappa": f"{made.kappa:g}",
        "answers that differ": f"{count(made.differing)} ({share(made.differing / made.rows)})",
        "at most, with confidence": f"{share(made.asked)} (as asked), {made.confidence:g}",
        "units on average": f"{made.mean_depth:.2f}",
        "multiply-adds": f"{share(made.macs_share)} of full depth",
    }
    return pairs("", values)


def curve(made: "Curve") -> list["Group | str"]:
    """A line for each depth, by falling cost."""
    columns = ["depth", made.metric, "units", "multiply-adds", "ms, batch 32", "ms, alone"]
    rows = [
        [
            point.depth + ("" if point.guaranteed else " *"),
            f"{point.score:.4f}",
            f"{point.mean_depth:.2f}",
            share(point.macs_share),
            f"{point.ms_batch_32:.2f}",
            f"{point.ms_batch_1:.2f}",
        ]
        for point in made.points
    ]
    note = "* answers may differ from the full depth; drawn in depth_curve.png of the run"
    return [table(f"Depth against score, {made.rows:,} rows", columns, rows), note]


def reached(made: "Reached") -> str:
    """How deep an evaluation went, in a line."""
    sure = "for certain those of the full depth" if made.guaranteed else "not for certain those of the full depth"
    cost = f"{made.mean_depth:.2f} units on average, {share(made.macs_share)} of the multiply-adds"
    return f"depth {made.depth}: {cost}; answers are {sure}"
