"""Times side by side: every arm in turn, medians and ratios, so that what else the machine does hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Run = Callable[[], object]


def side_by_side(arms: Mapping[str, Run], *, rounds: int, warm: int = 2) -> dict[str, Any]:
    """{arm: {median, seconds}}, after `warm` calls of each; the order turns round by round."""
    for run in arms.values():
        for _ in range(warm):
            run()
    spent: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            begin = time.perf_counter()
            arms[name]()
            spent[name].append(time.perf_counter() - begin)
    return with_medians(spent)


def with_medians(spent: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """{arm: {median, seconds}} of the seconds of every arm, round by round."""
    return {name: {"median": statistics.median(times), "seconds": list(times)} for name, times in spent.items()}


def ratio(found: Mapping[str, Any], slow: str, fast: str) -> float:
    """How many times as fast `fast` is: the median over the rounds of the ratios within a round."""
    pairs = zip(found[slow]["seconds"], found[fast]["seconds"], strict=True)
    return statistics.median(one / other for one, other in pairs)
