"""GroupBERT beside BERT at several widths: equal multiply-adds, each family at its own best rate."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from arms import stop
from quality_arms import BERT, FAMILIES, known
from quality_record import bar, width_key
from quality_study import Study
from records import done

from slimbert.data.shards import Shards
from slimbert.errors import RunError

RATES, FURTHER = (5e-4, 1e-3, 2e-3), 2  # that are tried; at most so many beyond them
SHARE = 1 / 3  # of the time of a width, in which a rate is tried


def widths(study: Study) -> None:
    """BERT for the minutes of each width, GroupBERT for as many multiply-adds, both at the best of the rates tried.

    Stops where BERT, which comes first, does not count.
    """
    for dim, given in study.widths.items():
        for label in FAMILIES:
            rates = best_rate(partial(_tried, study, label, dim, given))
            tried = [[rate, loss if math.isfinite(loss) else None] for rate, loss in sorted(rates.items())]
            updates, lr = _updates(study, label, dim, given), min(rates, key=rates.__getitem__)
            key, below = width_key(dim, given, label), bar(study.name)
            run = study.run(key, label, dim=dim, updates=updates, lr=lr, part="widths", rates=tried)
            if label == BERT and run["val_loss"] > below:
                stop(
                    f"{key}: its loss is {run['val_loss']:.3f}, a run counts below {below:.3f}: before, all encoders "
                    f"are alike; give --width-minutes with more than {given:g} for this width"
                )


def best_rate(loss: Callable[[float], float]) -> dict[float, float]:
    """{rate: loss} of RATES; as long as the best is the highest or the lowest, of the next one beyond it as well."""
    tried = {rate: loss(rate) for rate in RATES}
    for _ in range(FURTHER):
        best = min(tried, key=tried.__getitem__)
        if min(tried) < best < max(tried):
            break
        beyond = 2 * best if best == max(tried) else best / 2
        tried[beyond] = loss(beyond)
    return tried


def _updates(study: Study, label: str, dim: int, given: float) -> int:
    """With as many multiply-adds as BERT's in so many minutes."""
    shards, shape = Shards.open(study.data, verify=False), replace(study.shape, dim=dim)
    bert, mine = (
        known(shape)[one].multiply_adds(shape, vocab=shards.vocab_size, length=shards.seq_len) for one in (BERT, label)
    )
    return max(1, round(study.updates(BERT, dim, given) * bert / mine))


def _tried(study: Study, label: str, dim: int, given: float, lr: float) -> float:
    """The loss at a rate after SHARE of the time; infinite where it diverges, which the record then says."""
    key, updates = width_key(dim, given, label, rate=lr), _updates(study, label, dim, SHARE * given)
    found: dict[str, Any] | None = done(study.name, key)
    if found is None:
        try:
            found = study.run(key, label, dim=dim, updates=updates, lr=lr, part="rates")
        except RunError as error:
            said = {"part": "rates", "diverged": str(error)}
            found = study.once(key, lambda: said)
    return float(found.get("val_loss", math.inf))
