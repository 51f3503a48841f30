"""Curves of `quality.py` beside BERT's, and the goal: a combination ahead of BERT at every time.

Two losses differ where they lie further apart than the seeds do (`Spread.margin`). No verdict where a run does not
count, and none for the time before one of the two does, since all encoders are alike there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from goals import ABSENT
from quality_arms import BERT
from quality_record import (
    Run,
    Seeds,
    Spread,
    bar,
    by_seed,
    counts,
    counts_from,
    mean_at,
    minutes,
    spread,
    times,
    wanted,
)

FROM = 5.0  # minutes: from here on a combination should be ahead of BERT
AHEAD, BEHIND, LEVEL, UNSURE, UNCOUNTED = "ahead", "behind", "within the seeds", f"seeds {ABSENT}", "not counted"


def told(lead: float, seeds: Spread | None, *numbers: int) -> str:
    """What a loss that is lower by `lead` says; numbers: of the seeds in each of the two means."""
    if seeds is None:
        return UNSURE
    margin = seeds.margin(*numbers)
    return AHEAD if lead > margin else BEHIND if lead < -margin else LEVEL


class Lead(NamedTuple):
    """By how much an arm's loss lies below BERT's at a minute, and what that says."""

    minute: float
    lead: float
    said: str


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The curve of an arm beside BERT's, means over the seeds that both have. leads: at every validation from FROM on;
    since: the first minute from FROM on at which one of the two counts; None: one of them never does."""

    seeds: int
    leads: Sequence[Lead]
    since: float | None

    @property
    def before(self) -> list[Lead]:
        """While neither counts: no verdict follows from these."""
        return [one for one in self.leads if self.since is not None and one.minute < self.since]

    @property
    def after(self) -> list[Lead]:
        return [one for one in self.leads if self.since is not None and one.minute >= self.since]

    @property
    def verdict(self) -> str:
        """Ahead: so at every time; behind, or within the seeds: so at one of them."""
        said = {one.said for one in self.after}
        return next((word for word in (UNSURE, BEHIND, LEVEL, AHEAD) if word in said), UNCOUNTED)


def shared(one: Seeds, other: Seeds) -> tuple[list[Run], list[Run]]:
    """The runs of two arms with the seeds that both have."""
    seeds = sorted(one.keys() & other.keys())
    return [one[seed] for seed in seeds], [other[seed] for seed in seeds]


def beside(name: str, label: str, given: float) -> Beside | None:
    """The curves of an arm and of BERT that were given so many minutes; None: one of them is not there."""
    found, below = by_seed(name, given), bar(name)
    if label not in found or BERT not in found:
        return None
    mine, bert = shared(found[label], found[BERT])
    both = times([*mine, *bert])
    when = [minute for minute in both if minute >= FROM] or both[-1:]
    begin = [minute for some in (mine, bert) if (minute := counts_from(some, below)) is not None]
    leads = []
    for minute in when:
        lead = mean_at(bert, minute) - mean_at(mine, minute)
        sure = told(lead, spread(name, share=minute / both[-1]), len(mine), len(bert))
        leads.append(Lead(minute, lead, sure))
    return Beside(seeds=len(mine), leads=leads, since=max(when[0], min(begin)) if len(begin) == 2 else None)


def goal(name: str) -> str:
    """Is there a combination that is ahead of BERT in the screening, and stays so in the long run?"""
    said = f"A combination ahead of BERT at every time from {FROM:g} minutes on"
    short, long = minutes(name)["screening"], minutes(name)["long"]
    found = by_seed(name, short)
    if BERT not in found:
        return f"{said}: {ABSENT}."
    if not counts(found[BERT][0], bar(name)):
        return f"{said}: no verdict, since {BERT} does not count after {short:g} minutes."
    compared = {label: one for label in found if not label.startswith(BERT) and (one := beside(name, label, short))}
    first = [label for label, one in compared.items() if one.verdict == AHEAD]
    longer = {label: beside(name, label, long) for label in first}
    stays = {label: one for label, one in longer.items() if one is not None and one.verdict == AHEAD}
    if stays:
        each = [f"{label} to {long:g} minutes (told from minute {one.since:.1f} on)" for label, one in stays.items()]
        return f"{said}: {'; '.join(each)}."
    if absent := [label for label, one in longer.items() if one is None]:
        return f"{said}: {', '.join(absent)} to {short:g} minutes, to {long:g} {ABSENT}."
    if first:
        return f"{said}: **short**, {', '.join(first)} to {short:g} minutes, not to {long:g}."
    missing = [label for label, arm in wanted(name).items() if label not in found and not arm.detects]
    if missing or any(one.verdict == UNSURE for one in compared.values()):
        return f"{said}: no verdict yet, {f'{len(missing)} arms {ABSENT}' if missing else UNSURE}."
    return f"{said}: **short**, none of those that count."
