"""Score against cost: one run at several depths, with multiply-adds, milliseconds, and how deep texts went."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...atomic import plain, write_atomically, write_json
from ...data.tasks import Split
from ...errors import InputError
from ...model.exits import DactConfig
from ..evaluate import labelled_rows
from ..predict import Predictor, load
from .choose import can_stop, chosen_depth
from .run import run_in_turn

HALTING = ("full", "safe", *(f"kappa={kappa}" for kappa in (0.5, 0.25, 0.12, 0.06, 0.03, 0.015)))
ALONE = 200  # texts that are also timed one by one


class Point(NamedTuple):
    """One depth: its score, what it executed and took; depths[n]: texts that stopped at unit n + 1."""

    depth: str
    guaranteed: bool
    score: float
    mean_depth: float
    macs_share: float
    macs_per_text: float
    ms_batch_32: float
    ms_batch_1: float
    depths: tuple[int, ...]


class Curve(NamedTuple):
    """The points of one run on one set of rows, by falling cost."""

    metric: str
    rows: int
    points: tuple[Point, ...]


def curve_of(
    run: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    device: str | None = None,
) -> Curve:
    """The curve of a run on labelled data, written into it as depth_curve.json and depth_curve.png.

    Arguments as of `evaluate`. Raises InputError where the run cannot stop early.
    """
    predictor = load(run, device=device)
    if not can_stop(predictor.model):
        remedy = "train one that does: --set halting.method=dact"
        raise InputError(run, "its head answers after the last layer only", remedy)
    rows = labelled_rows(predictor, run, data, split=split, text_columns=text_columns, label_column=label_column)
    made = depth_curve(predictor, rows)
    write_json(Path(run) / "depth_curve.json", plain(made), indent=1)
    write_atomically(Path(run) / "depth_curve.png", draw(made))
    return made


def words_for(predictor: Predictor) -> tuple[str, ...]:
    """The depths that are tried: kappas of a head that halts, else patience, and of classes entropy and confidence."""
    head: Any = predictor.model.config.head
    if isinstance(head, DactConfig):
        return HALTING
    patience = [f"patience={count}" for count in range(1, head.units)]
    if head.answer == "number":
        return ("full", *patience)
    entropy = [f"entropy={value}" for value in (0.05, 0.1, 0.2, 0.4, 0.6)]
    return ("full", *patience, *entropy, *(f"confidence={value}" for value in (0.99, 0.95, 0.9, 0.8, 0.7)))


def depth_curve(predictor: Predictor, rows: Split, *, words: Sequence[str] | None = None) -> Curve:
    """Score every depth on labelled rows, and time it in batches of 32 and one by one."""
    points = [point for point, _ in points_of(predictor, rows, words=words)]
    return Curve(predictor.task.metric, len(rows), tuple(sorted(points, key=lambda point: -point.macs_share)))


def points_of(
    predictor: Predictor, rows: Split, *, words: Sequence[str] | None = None
) -> Iterator[tuple[Point, list[Any]]]:
    """Each depth of `words`, in their order, with what the model says of each unit of the rows; batch by batch they
    take turns."""
    kind, units = predictor.kind, predictor.model.config.head.units  # type: ignore[union-attr]
    features, alone = (kind.features(some, labelled=False) for some in (rows, few_of(rows)))
    words = words or words_for(predictor)
    depths = [chosen_depth(predictor.model, kind, word) for word in words]
    where: Any = {"pad_id": predictor.pad_id, "device": predictor.device, "warm": True}
    together = run_in_turn(predictor.model, features, depths, batch_size=32, **where)
    single = run_in_turn(predictor.model, alone, depths, batch_size=1, **where)
    for word, depth, ran, one in zip(words, depths, together, single, strict=True):
        point = Point(
            word,
            depth.guaranteed,
            kind.score(rows, features, ran.outputs)[predictor.task.metric],
            float(ran.depth.mean()),
            ran.macs / ran.full_macs,
            ran.macs / len(rows),
            1000 * ran.seconds / len(rows),
            1000 * one.seconds / len(alone),
            tuple(np.bincount(ran.depth, minlength=units + 1)[1:].tolist()),
        )
        yield point, ran.outputs


def few_of(rows: Split) -> Split:
    """The texts that are also timed one by one: ALONE of them, evenly spread."""
    return rows.take(np.linspace(0, len(rows) - 1, min(ALONE, len(rows))).astype(np.int64))


def draw(curve: Curve) -> bytes:
    """The curve as a PNG: score against multiply-adds and milliseconds, and where texts stopped."""
    from matplotlib.figure import Figure  # takes a second to load

    from ...train.curve import png

    figure = Figure(figsize=(12, 3.8), dpi=150, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    scores = [point.score for point in curve.points]
    left.plot([100 * point.macs_share for point in curve.points], scores, "o-", color="#c8502d")
    left.set_xlabel("multiply-adds, % of full depth")
    for name, colour in (("ms_batch_32", "#c8502d"), ("ms_batch_1", "#2d6fc8")):
        label = f"batch {name.rpartition('_')[2]}"
        middle.plot([getattr(point, name) for point in curve.points], scores, "o-", color=colour, label=label)
    middle.set_xlabel("milliseconds per text")
    middle.legend(frameon=False)
    left.set_ylabel(curve.metric)
    units = np.arange(1, len(curve.points[0].depths) + 1)
    shown = curve.points[:: max(1, len(curve.points) // 4)]
    for place, point in enumerate(shown):
        width = 0.8 / len(shown)
        right.bar(units + place * width - 0.4 + width / 2, np.array(point.depths), width, label=point.depth)
    right.set_xlabel("units that ran")
    right.set_ylabel("texts")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return png(figure)
