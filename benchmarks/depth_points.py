"""What a fine-tuned run scores, executes and takes, depth by depth: by the code of `evaluate --depth-curve`."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from depth_verdicts import Floats, packed
from ticket_steps import interval

from slimbert.data.metrics import differ
from slimbert.data.tasks import Split
from slimbert.jobs.depth import can_stop, chosen_depth
from slimbert.jobs.depth.calibrate import differs
from slimbert.jobs.depth.curve import few_of, points_of
from slimbert.jobs.predict import Predictor, load
from slimbert.jobs.tasks.features import Features
from slimbert.model import ModelConfig
from slimbert.model.cost import cost
from slimbert.train.supervised import with_first_row

BATCH, TURNS = 32, 5


def run_points(run: Path, rows: Split, words: Sequence[str] = ("full",)) -> dict[str, Any]:
    """{rows, points}: what stands in the record of a run, a point for each depth of `words`, the full one first.

    over_full: the score minus that in full depth, with its 95% interval; otherwise: texts that are answered otherwise
    than in full depth, which the safe rule must not; right: the rows that are answered right.
    """
    predictor = load(run, device="cpu")
    if not can_stop(predictor.model):
        return {"rows": len(rows), "points": [flat(predictor, rows)]}
    kind, metric = predictor.kind, predictor.task.metric
    features = kind.features(rows, labelled=False)
    found: list[dict[str, Any]] = []
    full: Any = None
    for point, outputs in points_of(predictor, rows, words=words):
        here = kind.measured(rows, features, outputs)[metric]
        full = full or (here, outputs)
        over = differ(here, full[0], draws=2000)
        other = int(differs(predictor, rows.texts, features, outputs, full[1]).sum())
        right = {"right": packed(here.rows[:, 0] > 0)} if metric == "accuracy" else {}
        apart = {"over_full": [over.difference, over.low, over.high], "otherwise": other}
        found.append({**point._asdict(), **apart, **right})
    return {"rows": len(rows), "points": found}


def scores_of(run: Path, rows: Split, words: Sequence[str]) -> list[dict[str, Any]]:
    """Score and multiply-adds per text of each depth: by what a depth is chosen. Nothing is timed."""
    predictor = load(run, device="cpu")
    kind, predictor.batch_size = predictor.kind, BATCH
    features = kind.features(rows, labelled=False)
    found = []
    for word in words:
        ran = predictor.ran(features, chosen_depth(predictor.model, kind, word))
        score = kind.score(rows, features, ran.outputs)[predictor.task.metric]
        found.append({"depth": word, "score": score, "macs_per_text": ran.macs / len(rows)})
    return found


def flat(predictor: Predictor, rows: Split) -> dict[str, Any]:
    """The one point of a model that always runs all its layers."""
    kind, metric = predictor.kind, predictor.task.metric
    features, alone = (kind.features(some, labelled=False) for some in (rows, few_of(rows)))
    timed(predictor, alone, BATCH)  # what is loaded first is not timed
    outputs, spent = timed(predictor, features, BATCH)
    here = kind.measured(rows, features, outputs)[metric]
    macs = macs_of(predictor, features)
    return {
        "depth": "full",
        "score": kind.score(rows, features, outputs)[metric],
        "macs_share": 1.0,
        "macs_per_text": macs / len(rows),
        "ms_batch_32": 1000 * spent / len(rows),
        "ms_batch_1": 1000 * timed(predictor, alone, 1)[1] / len(alone),
        **({"right": packed(here.rows[:, 0] > 0)} if metric == "accuracy" else {}),
    }


def timed(predictor: Predictor, features: Features, size: int) -> tuple[list[Any], float]:
    """(the answers in full depth in batches of `size`, seconds)."""
    predictor.batch_size, predictor.depth = size, None
    began = time.perf_counter()
    outputs = predictor.outputs(features)
    return outputs, time.perf_counter() - began


def macs_of(predictor: Predictor, features: Features) -> int:
    """Multiply-adds of all texts in full depth, in the batches of 32 in which they are answered, padding included."""
    order = np.argsort(-features.lengths(), kind="stable")
    total = 0
    for first in range(0, len(order), BATCH):
        index = order[first : first + BATCH]
        batch = with_first_row(predictor.model, features.batch(index, pad_id=predictor.pad_id, device="cpu"))
        length, select = batch["input_ids"].shape[1], batch.get("select")
        keep = None if select is None else min(select.shape[1], length)
        total += len(index) * _of_text(predictor.model.config, length, keep)
    return total


@lru_cache(maxsize=4096)
def _of_text(config: ModelConfig, length: int, keep: int | None) -> int:
    return sum(part.macs for part in cost(config, length=length, keep=keep))


# time, of what takes turns


def promises(run: Path, rows: Split, words: Sequence[str]) -> dict[str, Any]:
    """For each depth: the share of the multiply-adds that is executed, and the share of the time that it takes in
    batches of 32, beside the model's plain answers in full depth."""
    predictor = load(run, device="cpu")
    kind = predictor.kind
    features = kind.features(rows, labelled=False)
    depths = {word: chosen_depth(predictor.model, kind, word) for word in words}
    shares: dict[str, float] = {}

    def stopping(word: str) -> float:
        predictor.batch_size = BATCH
        ran = predictor.ran(features, depths[word])
        shares[word] = ran.macs / ran.full_macs
        return ran.seconds

    calls = {"full": lambda: timed(predictor, features, BATCH)[1], **{word: partial(stopping, word) for word in words}}
    spent = seconds_of(calls)
    found: dict[str, Any] = {"rows": len(rows), "ms in full": 1000 * float(np.median(spent["full"])) / len(rows)}
    for word in words:
        ratios = spent[word] / spent["full"]
        found[word] = {"macs_share": shares[word], "time_share": float(np.median(ratios)), "interval": interval(ratios)}
    return found


def beside(dense: Path, run: Path, rows: Split, word: str) -> dict[str, Any]:
    """How many times as fast as a dense run another one answers at one depth, in batches of 32."""
    whole, small = load(dense, device="cpu"), load(run, device="cpu")
    depth, small.batch_size = chosen_depth(small.model, small.kind, word), BATCH
    for_whole, for_small = (predictor.kind.features(rows, labelled=False) for predictor in (whole, small))
    calls = {
        "dense": lambda: timed(whole, for_whole, BATCH)[1],
        "small": lambda: small.ran(for_small, depth).seconds,
    }
    spent = seconds_of(calls)
    ratios = spent["dense"] / spent["small"]
    ms = {f"ms, {name}": 1000 * float(np.median(times)) / len(rows) for name, times in spent.items()}
    faster = {"times_as_fast": float(np.median(ratios)), "interval": interval(ratios)}
    return {"rows": len(rows), "depth": word, **ms, **faster}


def seconds_of(calls: Mapping[str, Callable[[], float]]) -> dict[str, Floats]:
    """[TURNS] the seconds that each call says it took, in turn, after one of each that does not count; the order turns
    round by round."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TURNS + 1):
        for name in sorted(calls, reverse=bool(turn % 2)):
            spent[name].append(calls[name]())
    return {name: np.array(times[1:]) for name, times in spent.items()}
