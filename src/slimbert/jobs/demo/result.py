"""What the demo came to."""

from typing import NamedTuple

from ..predict import Filled
from ..pretrain import Pretrained
from ..tasks.classification import Prediction
from .contest import Contender


class Sentence(NamedTuple):
    """A sentence with a hidden word, and the likeliest words for it."""

    text: str
    words: tuple[Filled, ...]


class Demo(NamedTuple):
    """What the demo came to. seconds: wall-clock of everything, and of each phase; files: what lies where."""

    out: str
    seconds: float
    phases: dict[str, float]
    notes: tuple[str, ...]
    pretrained: Pretrained
    first_loss: float
    filled: tuple[Sentence, ...]
    contenders: tuple[Contender, ...]
    verdict: tuple[str, ...]
    answers: tuple[Prediction, ...]
    files: dict[str, str]
    next: tuple[str, ...]
