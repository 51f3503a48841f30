"""What a fine-tuned run scores and executes, depth by depth, and what depths take that take turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from depth_verdicts import Floats, packed
from scored import BATCH, scored
from ticket_steps import interval

from slimbert.data.metrics import differ
from slimbert.data.tasks import Split
from slimbert.jobs.depth import can_stop, chosen_depth
from slimbert.jobs.depth.calibrate import differs
from slimbert.jobs.predict import Predictor, load
from slimbert.jobs.tasks.features import Features
from slimbert.model import ModelConfig
from slimbert.model.cost import cost
from slimbert.train.supervised import with_first_row

TURNS = 5


def run_points(run: Path, rows: Split, words: Sequence[str] = ("full",)) -> dict[str, Any]:
    """{rows, points}: what stands in the record of a run, a point for each depth of `words`, the full one first.

    over_full: the score minus that in full depth, with its 95% interval; otherwise: texts that are answered otherwise
    than in full depth, which the safe rule must not; right: the rows that are answered right. Nothing is timed.
    """
    predictor = load(run, device="cpu")
    if not can_stop(predictor.model):
        return {"rows": len(rows), "points": [flat(run, predictor, rows)]}
    kind, metric, predictor.batch_size = predictor.kind, predictor.task.metric, BATCH
    features = kind.features(rows, labelled=False)
    found: list[dict[str, Any]] = []
    full: Any = None
    for word in words:
        depth = chosen_depth(predictor.model, kind, word)
        ran = predictor.ran(features, depth)
        here = kind.measured(rows, features, ran.outputs)[metric]
        full = full or (here, ran.outputs)
        over = differ(here, full[0], draws=2000)
        point = {
            "depth": word,
            "guaranteed": depth.guaranteed,
            "score": kind.score(rows, features, ran.outputs)[metric],
            "mean_depth": float(ran.depth.mean()),
            "macs_share": ran.macs / ran.full_macs,
            "macs_per_text": ran.macs / len(rows),
            "depths": np.bincount(ran.depth)[1:].tolist(),
            "over_full": [over.difference, over.low, over.high],
            "otherwise": int(differs(predictor, rows.texts, features, ran.outputs, full[1]).sum()),
        }
        found.append(point | ({"right": packed(here.rows[:, 0] > 0)} if metric == "accuracy" else {}))
    return {"rows": len(rows), "points": found}


def flat(run: Path, predictor: Predictor, rows: Split) -> dict[str, Any]:
    """The one point of a model that always runs all its layers."""
    found = scored(run, rows)
    macs = macs_of(predictor, predictor.kind.features(rows, labelled=False))
    kept: dict[str, Any] = {name: found[name] for name in ("score", "right") if name in found}
    return {"depth": "full", "macs_share": 1.0, "macs_per_text": macs / len(rows), **kept}


def scores_of(run: Path, rows: Split, words: Sequence[str]) -> list[dict[str, Any]]:
    """Score and multiply-adds per text of each depth: by what a depth is chosen."""
    predictor = load(run, device="cpu")
    kind, predictor.batch_size = predictor.kind, BATCH
    features = kind.features(rows, labelled=False)
    found = []
    for word in words:
        ran = predictor.ran(features, chosen_depth(predictor.model, kind, word))
        score = kind.score(rows, features, ran.outputs)[predictor.task.metric]
        found.append({"depth": word, "score": score, "macs_per_text": ran.macs / len(rows)})
    return found


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


# time, of what takes turns: this needs a quiet machine


def promises(run: Path, rows: Split, words: Sequence[str]) -> dict[str, Any]:
    """For each depth: the share of the multiply-adds that is executed, and the share of the time that it takes in
    batches of 32, beside the model's plain answers in full depth."""
    predictor = load(run, device="cpu")
    features = predictor.kind.features(rows, labelled=False)
    shares: dict[str, float] = {}

    def stopping(word: str) -> float:
        predictor.batch_size = BATCH
        ran = predictor.ran(features, chosen_depth(predictor.model, predictor.kind, word))
        shares[word] = ran.macs / ran.full_macs
        return ran.seconds

    calls: dict[str, Callable[[], float]] = {"full": partial(answering, predictor, features, BATCH)}
    calls |= {word: partial(stopping, word) for word in words}
    spent = seconds_of(calls)
    found: dict[str, Any] = {"rows": len(rows), "ms in full": 1000 * float(np.median(spent["full"])) / len(rows)}
    for word in words:
        ratios = spent[word] / spent["full"]
        found[word] = {"macs_share": shares[word], "time_share": float(np.median(ratios)), "interval": interval(ratios)}
    return found


def chart(runs: Mapping[str, tuple[Path, Sequence[str]]], samples: Mapping[int, Split]) -> dict[str, Any]:
    """{size: {"arm, depth": ms per text, turn by turn}}: all depths of all runs in turn, in batches of each size."""
    models = {arm: load(run, device="cpu") for arm, (run, _) in runs.items()}
    found: dict[str, Any] = {}
    for size, rows in samples.items():
        features = {arm: model.kind.features(rows, labelled=False) for arm, model in models.items()}
        calls = {
            f"{arm}, {word}": partial(at_depth, models[arm], features[arm], size, word)
            for arm, (_, words) in runs.items()
            for word in words
        }
        found[str(size)] = {
            call: [round(1000 * one / len(rows), 4) for one in spent] for call, spent in seconds_of(calls).items()
        }
    return found


def at_depth(predictor: Predictor, features: Features, size: int, word: str) -> float:
    """Seconds of all answers at a depth; in full depth, of the plain model."""
    if word == "full":
        return answering(predictor, features, size)
    predictor.batch_size = size
    return predictor.ran(features, chosen_depth(predictor.model, predictor.kind, word)).seconds


def answering(predictor: Predictor, features: Features, size: int) -> float:
    """Seconds of the plain answers in full depth, in batches of `size`."""
    predictor.batch_size, predictor.depth = size, None
    began = time.perf_counter()
    predictor.outputs(features)
    return time.perf_counter() - began


def seconds_of(calls: Mapping[str, Callable[[], float]]) -> dict[str, Floats]:
    """[TURNS] the seconds that each call says it took, in turn, after one of each that does not count; the order turns
    round by round."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TURNS + 1):
        for name in sorted(calls, reverse=bool(turn % 2)):
            spent[name].append(calls[name]())
    return {name: np.array(times[1:]) for name, times in spent.items()}
