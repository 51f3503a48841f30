"""What a fine-tuned run scores, executes and takes, depth by depth: by the code of `evaluate --depth-curve`."""

import statistics
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from depth_verdicts import packed
from tickets import interval

from slimbert.data.metrics import differ
from slimbert.data.tasks import Split
from slimbert.jobs.depth import can_stop, chosen_depth
from slimbert.jobs.depth.curve import few_of, points_of
from slimbert.jobs.predict import Predictor, load
from slimbert.jobs.tasks.features import Features
from slimbert.model import ModelConfig
from slimbert.model.cost import cost
from slimbert.train.supervised import with_first_row

BATCH, TURNS = 32, 5


def run_points(run: Path, rows: Split, words: Sequence[str] = ("full",)) -> dict[str, Any]:
    """{rows, points}: what stands in the record of a run, a point for each depth of `words`, the full one first.

    over_full: the score minus that in full depth, with its 95% interval; right: the rows that are answered right.
    """
    predictor = load(run, device="cpu")
    if not can_stop(predictor.model):
        return {"rows": len(rows), "points": [flat(predictor, rows)]}
    kind, metric = predictor.kind, predictor.task.metric
    features = kind.features(rows, labelled=False)
    found: list[dict[str, Any]] = []
    full = None
    for point, outputs in points_of(predictor, rows, words=words):
        here = kind.measured(rows, features, outputs)[metric]
        full = full or here
        over = differ(here, full, draws=2000)
        right = {"right": packed(here.rows[:, 0] > 0)} if metric == "accuracy" else {}
        found.append({**point._asdict(), "over_full": [over.difference, over.low, over.high], **right})
    return {"rows": len(rows), "points": found}


def flat(predictor: Predictor, rows: Split) -> dict[str, Any]:
    """The one point of a model that always runs all its layers."""
    kind, metric = predictor.kind, predictor.task.metric
    features, alone = (kind.features(some, labelled=False) for some in (rows, few_of(rows)))
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


def promises(run: Path, rows: Split, words: Sequence[str]) -> dict[str, Any]:
    """For each depth: the share of the multiply-adds that is executed, and the share of the time that it takes in
    batches of 32, beside the model's plain answers in full depth; they take turns."""
    predictor = load(run, device="cpu")
    kind = predictor.kind
    features = kind.features(rows, labelled=False)
    depths = {word: chosen_depth(predictor.model, kind, word) for word in words}
    predictor.batch_size = BATCH
    predictor.ran(features, depths[words[0]])  # what is loaded first is not timed
    spent: dict[str, list[float]] = {word: [] for word in ("full", *words)}
    shares: dict[str, float] = {}
    for turn in range(TURNS):
        for word in sorted(spent, reverse=bool(turn % 2)):
            if word == "full":
                spent[word].append(timed(predictor, features, BATCH)[1])
            else:
                ran = predictor.ran(features, depths[word])
                spent[word].append(ran.seconds)
                shares[word] = ran.macs / ran.full_macs
    found: dict[str, Any] = {"rows": len(rows), "ms in full": 1000 * statistics.median(spent["full"]) / len(rows)}
    for word in words:
        ratios = np.array(spent[word]) / np.array(spent["full"])
        found[word] = {"macs_share": shares[word], "time_share": float(np.median(ratios)), "interval": interval(ratios)}
    return found
