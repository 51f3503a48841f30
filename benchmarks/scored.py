"""What a run that is done says of each held row, so that two runs can still be paired when both are gone.

Where a row is right or wrong, that is all that is kept, four rows in a digit (`right`); else its numbers (`each`), of
which F1 of tags has three: right, answered, there.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from depth_verdicts import DRAWS, Floats, packed, unpacked

from slimbert.data.metrics import f1_of_counts, paired_bootstrap
from slimbert.data.metrics.seeds import Paired
from slimbert.data.tasks import Split
from slimbert.jobs.predict import load

BATCH = 32


def scored(run: Path, rows: Split) -> dict[str, Any]:
    """{metric, score, rows}, and `right` or `each`, of a finished run in full depth."""
    predictor = load(run, device="cpu")
    kind, metric, predictor.batch_size = predictor.kind, predictor.task.metric, BATCH
    features = kind.features(rows, labelled=False)
    outputs = predictor.outputs(features)
    numbers = kind.measured(rows, features, outputs)[metric].rows
    kept = {"right": packed(numbers[:, 0] > 0)} if metric == "accuracy" else {"each": _put_away(numbers)}
    return {"metric": metric, "score": kind.score(rows, features, outputs)[metric], "rows": len(rows), **kept}


def numbers_of(run: Mapping[str, Any]) -> Floats | None:
    """[N, K] what is kept of the rows of a run; None where nothing is."""
    if "right" in run:
        return unpacked(run["right"], run["rows"]).astype(np.float64)[:, None]
    if "each" not in run:
        return None
    numbers = np.frombuffer(zlib.decompress(base64.b64decode(run["each"])), dtype="<f4")
    return numbers.reshape(run["rows"], -1).astype(np.float64)


def paired(runs: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> Paired | None:
    """The mean difference of the scores of runs and others, seed by seed; its interval is over the rows, of which the
    same are drawn for all: the seeds stay as they are. None where rows are not kept."""
    first, second = ([numbers_of(run) for run in some] for some in (runs, others))
    if any(one is None for one in (*first, *second)):
        return None
    tables: list[Any] = [np.concatenate([one for one in some if one is not None], axis=1) for some in (first, second)]
    width = tables[0].shape[1] // len(runs)

    def mean_score(means: Floats) -> Floats:
        seeds = means.reshape(len(means), len(runs), width)
        each = f1_of_counts(seeds) if width == 3 else seeds[:, :, 0]
        return np.asarray(each, dtype=np.float64).mean(axis=1)

    return paired_bootstrap(*tables, statistic=mean_score, draws=DRAWS)


def _put_away(numbers: Floats) -> str:
    return base64.b64encode(zlib.compress(numbers.astype("<f4").tobytes(), 9)).decode()
