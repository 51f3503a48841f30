"""What is asked of a measurement, and whether it was reached: the tables of a record, also of one that is partly there.

A measurement keeps its numbers under one key of the record; a `Figure` says which of them is meant, and its goal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arms import listed, table
from records import done

ABSENT = "not measured"
FAILED = "failed"  # the key of the sentence that a measurement keeps instead of figures
REACHED, SHORT = "reached", "**short**"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number of a measurement: where it stands in the result, and what it is. It should be `least` or more, or `most`
    or less; where neither is given there is no goal."""

    field: str
    said: str
    least: float | None = None
    most: float | None = None

    @property
    def goal(self) -> str:
        if self.least is not None:
            return f"at least {self.least:.3g}"
        return "" if self.most is None else f"at most {self.most:.3g}"

    def verdict(self, value: float) -> str:
        if self.least is None and self.most is None:
            return ""
        enough = self.least is None or value >= self.least
        return REACHED if enough and (self.most is None or value <= self.most) else SHORT


Figures = Mapping[str, Sequence[Figure]]  # by the key of the measurement


def goal_table(name: str, figures: Figures) -> str:
    """A line for each figure with a goal: measured, reached or short; how many there are of each; the other figures."""
    rows, others, verdicts = [], [], []
    for key, some in figures.items():
        found = done(name, key)
        for figure in some:
            value = None if found is None else found.get(figure.field)
            without = FAILED if found and FAILED in found else ABSENT
            verdict, shown = (without, without) if value is None else (figure.verdict(value), f"{value:.3g}")
            if figure.goal:
                rows.append([key, figure.said, figure.goal, shown, "" if value is None else verdict])
                verdicts.append(verdict)
            else:
                others.append([key, figure.said, shown])
    counts = ", ".join(f"{verdicts.count(one)} {one.strip('*')}" for one in (REACHED, SHORT, FAILED, ABSENT))
    tables = [table(["measurement", "figure", "goal", "measured", ""], rows), f"Of {len(rows)} goals {counts}."]
    return "\n\n".join([*tables, "Without a goal:", table(["measurement", "figure", "measured"], others)])


def arm_table(name: str, keys: Sequence[str]) -> str:
    """A line for each arm that `timing.side_by_side` timed: its median in ms, and the machine's matrix product then."""
    rows = []
    for key in keys:
        found: dict[str, Any] = done(name, key) or {}
        for arm, one in found.items():
            if isinstance(one, dict) and "median" in one:
                rows.append([key, arm, f"{1000 * one['median']:,.1f}", f"{found['gemm_tflops']:.3f}"])
    return table(["measurement", "arm", "median, ms", "TFLOP/s then"], rows)


def succeeded(name: str, key: str) -> bool:
    """Whether the record holds the figures of a measurement."""
    found = done(name, key)
    return found is not None and FAILED not in found


def failures(name: str, figures: Figures) -> str:
    """Why measurements have no figures, as a list; empty where none failed."""
    said = [f"{key}: {found[FAILED]}" for key in figures if FAILED in (found := done(name, key) or {})]
    return "" if not said else f"Failed:\n\n{listed(said)}"


def absent(name: str, figures: Figures) -> str:
    """What the record does not hold yet, as a list; empty where it is whole."""
    missing = [key for key in figures if done(name, key) is None]
    return "" if not missing else f"Not measured yet:\n\n{listed(missing)}"
