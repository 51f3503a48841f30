"""What the scores of a run are called, and in which order people see them."""

from collections.abc import Mapping
from typing import NamedTuple

NAMES = {
    "f1": "F1",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "rmse": "RMSE",
    "mae": "MAE",
    "exact": "exact match",
    "mrr": "MRR@10",
    "recall_1": "recall@1",
    "recall_10": "recall@10",
}
IN_UNITS = ("rmse", "mae")  # of the labels
CORRELATIONS = ("pearson", "spearman", "matthews")  # from -1 to 1; all others are shares


class Score(NamedTuple):
    """One score with its name; `low` and `high` are its 95% interval, where one is known."""

    name: str
    value: float
    low: float | None
    high: float | None
    in_units: bool
    correlation: bool


def shown_name(name: str) -> str:
    """What people call it."""
    return NAMES.get(name, name.replace("_", " "))


def ordered(scores: Mapping[str, float], metric: str) -> list[Score]:
    """The scores of a run, the one that selects first; without `rows` and the bounds of intervals."""
    names = [name for name in scores if name != "rows" and not name.endswith(("_low", "_high"))]
    return [
        Score(
            shown_name(name),
            scores[name],
            scores.get(f"{name}_low"),
            scores.get(f"{name}_high"),
            name in IN_UNITS,
            name in CORRELATIONS,
        )
        for name in sorted(names, key=lambda name: name != metric)
    ]
