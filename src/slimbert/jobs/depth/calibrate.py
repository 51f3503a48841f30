"""Choosing how much earlier than the safe rule a run may stop, with a bound on how often its answers then differ.

kappa counts what later units may still change for less (model/adaptive.py). From 1 downwards, the last kappa is taken
before the first whose exact upper limit (Clopper and Pearson 1934) of the share of texts that are answered otherwise
than in full depth exceeds the bound asked. Tested in that fixed order, the bound asked holds for the kappa that is
chosen; a limit from the same texts of that kappa alone would not, as these texts have chosen it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...atomic import write_json
from ...data.tasks import Split, count_trained_on, load_texts
from ...errors import InputError
from ...model.exits import DactConfig
from ..predict import Predictor, load
from ..tasks.kind import Outputs
from ..tasks.tagging import tagged
from .choose import CALIBRATION, Depth, chosen_depth, tolerance_of
from .run import Ran, run_adaptively

LEAST_ROWS = 5000
KAPPAS = tuple(round(0.85**n, 4) for n in range(30))  # 1, 0.85, ... 0.009


class Calibrated(NamedTuple):
    """`asked`: with `confidence`, no more than this share of such texts is answered otherwise than in full depth.

    `differing` of `rows` were, at `kappa`. tried: (kappa, differing, share of the multiply-adds), down to the
    first that failed.
    """

    run: str
    kappa: float
    differing: int
    rows: int
    asked: float
    confidence: float
    mean_depth: float
    macs_share: float
    tried: tuple[tuple[float, int, float], ...]


def calibrate(
    run: str | Path,
    data: str | Path,
    *,
    disagree: float = 0.01,
    confidence: float = 0.95,
    text_columns: Sequence[str] | None = None,
    device: str | None = None,
) -> Calibrated:
    """Write calibration.json into the run, from texts that it was not trained on; labels are not needed.

    Raises InputError where the rows are too few for the bound asked, some were trained on, or the run has no halting
    values.
    """
    if not 0 < disagree < 1 or not 0 < confidence < 1:
        raise InputError("--disagree", f"{disagree} with confidence {confidence}", "give shares such as 1% and 0.95")
    predictor = load(run, device=device)
    if not isinstance(predictor.model.config.head, DactConfig):
        said = getattr(predictor.model.config.head, "kind", "none")
        raise InputError(run, f"a head of kind {said} has no halting values", "train one with halting.method=dact")
    texts = _texts(data, tuple(text_columns or predictor.task.text_columns), predictor.task.kind)
    needed = max(LEAST_ROWS, rows_needed(disagree, confidence))
    if len(texts) < needed:
        problem = f"{len(texts):,} rows; a bound of {disagree:.2%} at {confidence:.0%} needs {needed:,}"
        raise InputError(data, problem, "give more rows that were held out of train, or a looser bound")
    if known := count_trained_on(texts, run):
        problem = f"{known:,} of its {len(texts):,} rows are rows that the run was trained on"
        raise InputError(data, problem, "give rows that were held out of train")
    found = _search(predictor, texts, disagree, confidence, run)
    write_json(Path(run) / CALIBRATION, found._asdict(), indent=1)
    return found


def _texts(data: str | Path, columns: tuple[str, ...], kind: str) -> Sequence[Any]:
    """The texts, in the form in which the run knows its own: what is tagged by its words."""
    texts = load_texts(data, text_columns=columns, kind=kind)
    return [tagged(text) for text in texts] if kind == "ner" else texts


def share_of(text: str) -> float:
    """`1%` or `0.01` as a number. Raises InputError on anything else."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise InputError("--disagree", f"{text!r} is not a share", "give 1% or 0.01")
    return value


def rows_needed(disagree: float, confidence: float) -> int:
    """The fewest rows with which a bound can be met at all: with none of them differing."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - disagree))


def upper_limit(differing: int, rows: int, confidence: float) -> float:
    """The exact upper limit of a share of which `differing` of `rows` were seen."""
    from scipy.stats import beta

    return 1.0 if differing >= rows else float(beta.ppf(confidence, differing + 1, rows - differing))


def _search(predictor: Predictor, texts: Any, disagree: float, confidence: float, run: str | Path) -> Calibrated:
    features = predictor.kind.features(Split(texts, None), labelled=False)

    def at(word: str) -> Ran:
        depth: Depth = chosen_depth(predictor.model, predictor.kind, word)
        return run_adaptively(predictor.model, features, depth, pad_id=predictor.pad_id, device=predictor.device)

    full = at("full")
    chosen, tried = (1.0, 0, at("safe")), []
    for kappa in KAPPAS[1:]:
        ran = at(f"kappa={kappa}")
        differing = int(differs(predictor, texts, features, ran.outputs, full.outputs).sum())
        tried.append((kappa, differing, ran.macs / ran.full_macs))
        if upper_limit(differing, len(texts), confidence) > disagree:
            break
        chosen = (kappa, differing, ran)
    kappa, differing, ran = chosen
    return Calibrated(
        run=str(run),
        kappa=kappa,
        differing=differing,
        rows=len(texts),
        asked=disagree,
        confidence=confidence,
        mean_depth=float(ran.depth.mean()),
        macs_share=ran.macs / ran.full_macs,
        tried=tuple(tried),
    )


def differs(predictor: Predictor, texts: Any, features: Any, first: Outputs, second: Outputs) -> NDArray[np.bool_]:
    """[N] whether a text is answered otherwise by two runs: with another label, other labels or tags, a number farther
    away than the tolerance of such a run. first, second: what they say of each unit of the features."""
    one, other = (predictor.kind.answers(texts, features, outputs) for outputs in (first, second))
    head: Any = predictor.model.config.head
    return np.array([_differ(a, b, tolerance_of(head)) for a, b in zip(one, other, strict=True)])


def _differ(one: Any, other: Any, tolerance: float) -> bool:
    if hasattr(one, "value"):
        return bool(abs(one.value - other.value) > tolerance)
    name = next(name for name in ("label", "labels", "words") if hasattr(one, name))
    return bool(getattr(one, name) != getattr(other, name))
