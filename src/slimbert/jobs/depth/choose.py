"""How deep a run goes, from a word on the command line."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ...errors import InputError
from ...model import Model
from ...model.adaptive import Confident, Entropy, Patience, Policy, Rule, Safe
from ...model.exits import DactConfig, EarlyConfig, Exits
from ..tasks import Kind

CALIBRATION = "calibration.json"
WORDS = "full, safe, published, calibrated, kappa=0.5, patience=2, entropy=0.3 or confidence=0.9"
PLAIN = ("full", "published", "calibrated")  # words without a value
OF_CLASSES = ("entropy", "confidence")  # of a number there is neither
TOLERANCE = 0.02  # of the range of a number, where none is asked for: PABEE's 0.1 on scores from 0 to 5


class AskedDepth(NamedTuple):
    """What a caller wants: a rule (one of WORDS; None: safe where the head halts, else full), units and multiply-adds
    that a text may need at most. safe=0.05: the tolerance of a number, in the unit of the labels."""

    rule: str | None = None
    max_depth: int | None = None
    budget_macs: int | None = None


class Depth(NamedTuple):
    """policy: when a text may stop, None where all go to the end; bounds on units, and on multiply-adds per text."""

    said: str
    policy: Policy | None
    max_depth: int | None = None
    budget_macs: int | None = None

    @property
    def guaranteed(self) -> bool:
        """Whether the answers are those of the full depth, for certain."""
        bounded = self.max_depth is not None or self.budget_macs is not None
        return not bounded and (self.policy is None or self.policy.guaranteed)


def chosen_depth(
    model: Model,
    kind: Kind,
    asked: AskedDepth | str | None = None,
    *,
    run: str | Path | None = None,
) -> Depth:
    """The depth that is asked for; `run`: where a calibration stands. Raises InputError where the head cannot do it."""
    head = model.config.head
    word, max_depth, budget_macs = asked if isinstance(asked, AskedDepth) else AskedDepth(asked)
    if not isinstance(head, EarlyConfig):
        if word not in (None, "full") or max_depth or budget_macs:
            said = getattr(head, "kind", "none")
            remedy = "train one: slimbert finetune ... --set halting.method=dact"
            raise InputError("--depth", f"a head of kind {said} has no trace", remedy)
        return Depth("full", None)
    if max_depth is not None and not 1 <= max_depth <= head.units:
        raise InputError("--max-depth", f"{max_depth}, the model has {head.units} units", f"give 1 to {head.units}")
    word = word or ("safe" if isinstance(head, DactConfig) else "full")
    name, given, value = word.partition("=")
    if given and name in PLAIN:
        raise InputError("--depth", f"{word!r}: {name} takes no value", f"give {WORDS}")
    if head.answer == "number" and name in OF_CLASSES:
        raise InputError("--depth", f"{name}, but this run answers with a number", "give safe=0.05 or patience=2")
    if name == "full":
        policy: Policy | None = None
    elif name in ("safe", "published", "calibrated", "kappa"):
        if not isinstance(head, DactConfig):
            problem = f"{name}, but this head has no halting values"
            raise InputError("--depth", problem, "give patience=2 or entropy=0.3")
        kappa = _calibrated(run) if name == "calibrated" else _number(word, value, 0.0, 1.0) if name == "kappa" else 1.0
        tolerance = _tolerance(word, value, head) if name == "safe" and given else tolerance_of(head)
        policy = _safe(kind, head, "published" if name == "published" else "tight", kappa, tolerance)
    elif name == "patience":
        count = _number(word, value, 1, head.units)
        if not count.is_integer():
            raise InputError("--depth", f"{word!r}: not a whole number", f"give {WORDS}")
        policy = Patience(count=int(count), tolerance=tolerance_of(head))
    elif name == "entropy":
        policy = Entropy(threshold=_number(word, value, 0.0, np.inf))
    elif name == "confidence":
        policy = Confident(threshold=_number(word, value, 0.0, 1.0))
    else:
        raise InputError("--depth", f"{word!r} is unknown", f"give {WORDS}")
    return Depth(word, policy, max_depth, budget_macs)


def can_stop(model: Model) -> bool:
    """Whether a model has answers before its end."""
    return isinstance(model.head, Exits)


def tolerance_of(head: EarlyConfig) -> float:
    """How far apart two numbers may be that count as the same answer, where nothing else is asked."""
    return TOLERANCE * (head.high - head.low)


def _tolerance(word: str, value: str, head: DactConfig) -> float:
    if head.answer != "number":
        problem = f"{word!r}: a tolerance is for numbers, this run answers with {head.answer}"
        raise InputError("--depth", problem, "give safe")
    return _number(word, value, 0.0, head.high - head.low)


def _safe(kind: Kind, head: DactConfig, rule: Rule, kappa: float, tolerance: float) -> Safe:
    """The safe rule for what the task makes of the answers: thresholds of labels, tags that may follow each other."""
    sides = kind.description.thresholds
    if head.answer == "class" and sides:
        sides = (1 - sides[0], sides[0])
    elif head.answer == "labels":
        sides = sides or (0.5,) * len(head.labels)
    if sides:
        return Safe(rule=rule, kappa=kappa, thresholds=torch.tensor(sides, dtype=torch.float64))
    if head.answer == "tags":
        allowed = torch.from_numpy(np.asarray(kind.allowed))  # type: ignore[attr-defined]
        count = len(head.labels)
        ends = allowed[:count, count + 1]
        inner, starts = allowed[:count, :count], allowed[count, :count]
        return Safe(rule=rule, kappa=kappa, legal=inner, starts=starts, ends=ends)
    return Safe(rule=rule, kappa=kappa, tolerance=tolerance)


def _calibrated(run: str | Path | None) -> float:
    path = Path(run or ".") / CALIBRATION
    try:
        return float(json.loads(path.read_text())["kappa"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(path, "no calibration", "make one: slimbert calibrate RUN --data HELD_OUT") from None


def _number(word: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high:
        raise InputError("--depth", f"{word!r}: not a number from {low:g} to {high:g}", f"give {WORDS}")
    return value
