"""Drawing a ticket: which heads and neurons stay, given a score for each.

Chen et al. 2021, arXiv:2101.00063 (EarlyBERT): heads are cut in every layer alike, neurons wherever in the encoder they
score lowest. The published code keeps what is above a quantile, which among ties cuts everything; here counts are
exact. Of equal scores the first unit stays.

Units stay or go in chunks, so that widths are multiples of what hardware likes (`multiple`) and grouped maps lose
equally many in every group. A chunk is as good as its units on average. One filling serves all rules: the least that
every layer needs, then the best chunks while they fit, where what must fit is a number of units or of multiply-adds.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..config import Count, Share, Size
from ..errors import InputError
from ..model import EncoderConfig
from ..subnet import Axis, Subnet
from .importance import Scores
from .units import AXES, costs, kind_of, name_of, units_of

Per = Literal["layer", "all"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadsConfig:
    """`cut`: the share that goes. `per` layer: of each layer; all: of all layers together. `least` stay in each."""

    cut: Share = 1 / 3
    per: Per = "layer"
    least: Count = 1
    multiple: Count = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeuronsConfig:
    """As for heads. `per` layer gives layers of equal width. `multiple`: of every width, and of all that stay."""

    cut: Share = 0.4
    per: Per = "all"
    least: Count = 1
    multiple: Count = 16


Rule = HeadsConfig | NeuronsConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """`by`: what the scores are. `budget`: the share of the layers' multiply-adds that stays, shared by heads and
    neurons (`cut` and `per` then say nothing), counted for rows of `length` tokens of which `keep` are wanted (null:
    all; in a run, those that it asks for). `seed`: of random scores; null: the run's."""

    by: Literal["coefficient", "random", "magnitude"] = "coefficient"
    signed: bool = False
    heads: HeadsConfig = HeadsConfig()
    neurons: NeuronsConfig = NeuronsConfig()
    budget: Share | None = None
    length: Count = 128
    keep: Count | None = None
    seed: Size | None = None


class Column(NamedTuple):
    """The units of one axis in chunks that stay or go together, the best chunk first."""

    key: str
    units: int
    chunks: Tensor  # [C, size] numbers of units
    scores: list[float]  # [C]
    least: int  # chunks that stay in any case

    @property
    def size(self) -> int:
        return self.chunks.shape[1]

    def kept(self, count: int) -> list[int]:
        """The units of the first `count` chunks, rising."""
        return sorted(self.chunks[:count].flatten().tolist())


def draw(scores: Scores, encoder: EncoderConfig, rule: DrawConfig, *, path: str = "ticket.draw") -> Subnet:
    """The units to keep; axes that lose none are not named. Raises InputError where a layer would be left empty."""
    axes = units_of(encoder)
    options: dict[str, Rule] = {"heads": rule.heads, "neurons": rule.neurons}
    columns = [
        column(key, axis, scores[key], options[kind_of(key)], path=f"{path}.{kind_of(key)}")
        for key, axis in axes.items()
        if rule.budget is not None or options[kind_of(key)].cut > 0
    ]
    taken = _by_count(columns, options, path) if rule.budget is None else _by_budget(columns, encoder, rule, path)
    kept = {one.key: one.kept(count) for one, count in zip(columns, taken, strict=True)}
    return Subnet.of({key: units for key, units in kept.items() if len(units) < axes[key].units})


def column(key: str, axis: Axis, scores: Tensor, rule: Rule, *, path: str) -> Column:
    """The units of an axis, scores [units], in chunks of as many as `multiple` and its groups ask for."""
    groups, size = axis.groups, math.lcm(axis.groups, rule.multiple)
    if size > axis.units:
        problem = f"{size} (with groups) are more than the {axis.units} of {key}"
        raise InputError(f"{path}.multiple", problem, "lower it")
    if rule.least > axis.units // size * size:
        raise InputError(f"{path}.least", f"{rule.least} are more than {key} can keep", "lower it")
    grouped = scores.double().view(groups, -1)
    order = grouped.argsort(dim=1, descending=True, stable=True)  # [G, units/G]
    units = (order + torch.arange(groups)[:, None] * grouped.shape[1]).T.flatten()  # the best of each group, and so on
    chunks = units[: len(units) // size * size].view(-1, size)
    means = scores.double()[chunks].mean(dim=1).tolist()
    return Column(key, axis.units, chunks, means, -(-rule.least // size))


def _by_count(columns: Sequence[Column], options: dict[str, Rule], path: str) -> list[int]:
    """Chunks kept of every column: each layer by itself, or all axes of one name together."""
    pools: dict[str, list[int]] = {}
    for place, one in enumerate(columns):
        alone = options[kind_of(one.key)].per == "layer"
        pools.setdefault(one.key if alone else name_of(one.key), []).append(place)
    taken = [0] * len(columns)
    for name, places in pools.items():
        pool = [columns[place] for place in places]
        kind, units = kind_of(pool[0].key), sum(one.units for one in pool)
        rule = options[kind]
        stay = units - int(rule.cut * units + 0.5)
        stay -= stay % rule.multiple
        found = _filled(pool, [one.size for one in pool], stay - sum(one.least * one.size for one in pool))
        if found is None:
            where = pool[0].key if len(pool) == 1 else f"{len(pool)} layers ({name})"
            problem = f"{rule.cut:g} leaves {stay} of {units} {kind} in {where}, too few for {rule.least} in each"
            raise InputError(f"{path}.{kind}.cut", problem, f"lower it (least {rule.least}, multiple {rule.multiple})")
        for place, count in zip(places, found, strict=True):
            taken[place] = count
    return taken


def _by_budget(columns: Sequence[Column], encoder: EncoderConfig, rule: DrawConfig, path: str) -> list[int]:
    """Chunks kept of every column, all in one competition.

    Heads and neurons have coefficients of different spread, so that scores are taken in deviations from the mean of
    their like: the rule is ours, no paper's.
    """
    assert rule.budget is not None
    length = min(rule.length, encoder.embedding.max_len)
    found = costs(encoder, length=length, keep=rule.keep)
    prices = [one.size * found.unit[one.key] for one in columns]
    cut = sum((one.units - one.least * one.size) * found.unit[one.key] for one in columns)  # all that can go
    left = int(rule.budget * found.layers) - (found.layers - cut)
    alike = {name: _spread([one for one in columns if name_of(one.key) == name]) for name in AXES}
    fair = [one._replace(scores=_standard(one.scores, *alike[name_of(one.key)])) for one in columns]
    taken = _filled(fair, prices, left)
    if taken is None:
        least = (found.layers - cut) / found.layers
        problem = f"{rule.budget:g} of the multiply-adds, the least that can stay is {least:.3f}"
        raise InputError(f"{path}.budget", problem, "raise it, or lower `least`")
    return taken


def _filled(columns: Sequence[Column], prices: Sequence[int], left: int) -> list[int] | None:
    """Chunks kept of every column: its least, then the best of all while their price fits; None: the least does not."""
    if left < 0:
        return None
    taken = [one.least for one in columns]
    rest = ((-one.scores[i], c, i) for c, one in enumerate(columns) for i in range(one.least, len(one.scores)))
    for _, c, i in sorted(rest):
        if i == taken[c] and prices[c] <= left:
            taken[c], left = i + 1, left - prices[c]
    return taken


def _spread(columns: Iterable[Column]) -> tuple[float, float]:
    """Mean and deviation of the scores of some columns."""
    scores = [score for one in columns for score in one.scores]
    if not scores:
        return 0.0, 0.0
    mean = math.fsum(scores) / len(scores)
    return mean, math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))


def _standard(scores: Iterable[float], mean: float, deviation: float) -> list[float]:
    return [(score - mean) / deviation if deviation else 0.0 for score in scores]
