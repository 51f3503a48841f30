"""A recipe: one complete run as a file of YAML."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from ..config import ObjectiveConfig, load, override
from ..errors import InputError
from ..model.model import ModelConfig
from ..parts.core import CoreName
from .objectives import MaskedLmObjectiveConfig
from .optim import OptimConfig
from .replaced import ReplacedTokensConfig as ReplacedTokensConfig  # registers the kind

Precision = Literal["auto", "float32", "bfloat16"]
BUDGETS = ("steps", "tokens", "time")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """`seq_len` None: the row length of the prepared data."""

    seq_len: int | None = None
    segments: bool = False  # True: documents that share a row do not see each other


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """15% of the positions: Devlin et al. 2018, arXiv:1810.04805, section 3.1. The objective says what they show."""

    rate: float = 0.15
    whole_word: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One budget: updates (`steps`), `tokens`, or wall-clock (`time`, as in 90s, 10m, 2h).

    `batch_size`: rows of one update, over all processes and the `accumulate` micro-batches.
    """

    steps: int | None = None
    tokens: int | None = None
    time: str | None = None
    batch_size: int = 64
    accumulate: int = 1
    checkpoint_every: int = 500
    evaluate_every: int = 500
    evaluate_rows: int = 512
    keep: int = 2
    precision: Precision = "auto"
    core: CoreName = "sdpa"
    compile: bool = False
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A pretraining run."""

    model: ModelConfig
    objective: ObjectiveConfig = MaskedLmObjectiveConfig()
    data: DataConfig = DataConfig()
    masking: MaskingConfig = MaskingConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()

    def check(self, path: str = "recipe") -> None:
        """Validity across fields. Raises InputError with the path."""
        self.optim.check(f"{path}.optim")
        if hasattr(self.objective, "check"):
            self.objective.check(f"{path}.objective")
        given = [name for name in BUDGETS if getattr(self.train, name) is not None]
        if len(given) != 1:
            raise InputError(f"{path}.train", f"{len(given)} budgets ({', '.join(given)})", "set steps, tokens or time")
        for name in (
            "batch_size",
            "accumulate",
            "checkpoint_every",
            "evaluate_every",
            "evaluate_rows",
            "keep",
            given[0],
        ):
            value = getattr(self.train, name)
            if not isinstance(value, str) and value < 1:
                raise InputError(f"{path}.train.{name}", f"{value} is below 1", "give a whole number of at least 1")
        if self.train.seed < 0:
            raise InputError(f"{path}.train.seed", f"{self.train.seed} is negative", "give 0 or more")
        if self.train.time is not None:
            seconds(self.train.time, f"{path}.train.time")
        if self.train.batch_size % self.train.accumulate:
            problem = f"{self.train.accumulate} micro-batches do not divide {self.train.batch_size} rows"
            raise InputError(f"{path}.train.accumulate", problem, "choose a divisor of train.batch_size")
        if not 0 < self.masking.rate < 1:
            raise InputError(f"{path}.masking.rate", f"{self.masking.rate} is not a share", "give 0 to 1, e.g. 0.15")


def recipes() -> tuple[Path, ...]:
    """The recipes that come with slimbert: beside the code where it is installed, beside src/ in a checkout."""
    places = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")
    return next((found for place in places if (found := tuple(sorted(place.glob("*.yaml"))))), ())


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The plain data of a YAML file, or of one of `recipes()` by its name where there is no such file.

    Raises InputError with the line of what is broken.
    """
    if not Path(path).exists():
        path = next((known for known in recipes() if Path(path).name in (known.name, known.stem)), path)
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(known.stem for known in recipes())
        raise InputError(path, f"cannot be read ({error.strerror})", f"name a YAML file, or one of {known}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that does not exist is a ValueError
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = path if line is None else f"{path}:{line + 1}"
        said = " ".join(str(getattr(error, "problem", error)).split())
        raise InputError(place, f"not YAML ({said})", "mend the line") from None
    if not isinstance(data, dict):
        raise InputError(path, "not a mapping", "write `model:`, `train:` and so on")
    return data


def with_settings(data: Mapping[str, Any], assignments: Sequence[str], *, budget: str | None = None) -> dict[str, Any]:
    """A recipe's plain data with `--set` assignments and `--budget`; setting one budget replaces the others."""
    settings = [*assignments, *([f"train.{_budget(budget)}"] if budget is not None else [])]
    budgets = {f"train.{name}" for name in BUDGETS}
    chosen = [a for a in settings if a.partition("=")[0] in budgets][-1:]
    train = data.get("train")
    if chosen and isinstance(train, Mapping):
        data = {**data, "train": {name: value for name, value in train.items() if name not in BUDGETS}}
    settings = [a for a in settings if a.partition("=")[0] not in budgets] + chosen
    result: dict[str, Any] = override(dict(data), settings, "recipe")
    return result


def load_recipe(data: Mapping[str, Any], *, path: str = "recipe") -> Recipe:
    """The checked Recipe that plain data describes."""
    recipe = load(Recipe, data, path)
    recipe.check(path)
    return recipe


def seconds(text: str, place: str) -> float:
    """`90s`, `10m`, `1.5h` as seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(text).strip())
    if not found or float(found[1]) <= 0:
        raise InputError(place, f"{text!r} is not a time", "write e.g. 90s, 10m, 2h")
    return float(found[1]) * UNITS[found[2]]


def _budget(text: str) -> str:
    """`10m` -> time=10m, `2000steps` -> steps=2000, `50Mtokens` -> tokens=50000000."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMB]?)\s*(steps?|tokens?)", text.strip())
    if found:
        scale = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}[found[2]]
        return f"{found[3].rstrip('s')}s={int(float(found[1]) * scale)}"
    seconds(text, "--budget")
    return f"time={text.strip()}"
