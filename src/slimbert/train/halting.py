"""Training of models that may stop early.

dact: task(a_N) + tau * mean(rho), with every layer always run. DACT-BERT: Eyzaguirre et al. 2021, arXiv:2109.11745.
patience: the mean of all units' losses, the n-th counting n times (PABEE, Zhou et al. 2020, arXiv:2006.04152). entropy:
the sum of the losses of all units but the last, under an encoder that is trained already and stays as it is, and so
does the last unit (the second stage of DeeBERT, Xin et al. 2020, arXiv:2004.12993). Where the classifier that was there
does not fit the last unit, that one is new, and learns, too.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ..config import Between, NonNegative, Share, Size
from ..errors import InputError
from ..model.exits import Exits, Positive, UnitAnswers
from ..model.halting import Ponder, Shape, ponder
from ..model.model import Model
from .objectives import Batch, Encode, Loss, with_auxiliary
from .supervised import Judge, Supervised, with_first_row

Method = Literal["dact", "patience", "entropy"]
Factor = Annotated[float, Between(1e-3, 1e3)]
UNITS_OF_DACT = 5.0  # 1e-4 beside 2e-5 for the encoder: our spec's choice, no published value is known
TAUS = (0.0, 1e-3, 5e-3, 1e-2, 5e-2)  # of the authors' configs of DACT on CLEVR; those of the BERT paper are not known


@dataclasses.dataclass(frozen=True, kw_only=True)
class HaltingConfig:
    """`tau`: the price of going on, reached over the first `ramp` of the run. `ponder`, `shape`: its form.

    `every_unit`: weight of the mean loss of all units beside the accumulated answer's (ours: units that count for
    little learn, too). `detach`: halting values do not train the encoder. `unit_lr`: of the units, times the learning
    rate of the run; None: 5 with dact, whose units are new beside a trained encoder, 1 with the others, as published.
    `width`, `shared`, `bias`, `h_max`: of the head, see DactConfig.
    """

    method: Method = "dact"
    tau: NonNegative = 5e-3
    ponder: Ponder = "p"
    shape: Shape = "unit"
    ramp: Share = 0.2
    every_unit: NonNegative = 0.1
    detach: bool = False
    unit_lr: Factor | None = None
    width: Size = 0
    shared: bool = False
    bias: float = 3.0
    h_max: Positive = 1.0

    def check(self) -> None:
        """Raises InputError where halting values are described that a method does not have."""
        if self.method != "dact" and (self.shared, self.bias, self.h_max) != (False, 3.0, 1.0):
            problem = f"{self.method} has no halting values"
            raise InputError("--set halting.method", problem, "leave out halting.shared, bias and h_max, or set dact")

    def chooses(self, share: float) -> bool:
        """Whether validation may choose a checkpoint when this share of the run is over: not while going on is nearly
        free, as the score in full depth would choose a model that stops late."""
        return self.method != "dact" or self.tau == 0 or share >= self.ramp

    @property
    def takes_last(self) -> bool:
        """Whether the last checkpoint counts: under a frozen encoder the full depth says nothing of what learns."""
        return self.method == "entropy"

    @property
    def unit_factor(self) -> float:
        """Times the learning rate of the run, at which units learn."""
        if self.unit_lr is not None:
            return self.unit_lr
        return UNITS_OF_DACT if self.method == "dact" else 1.0


class Halting(Supervised):
    """Supervised, over a head that has a trace. `progress` in the batch: the share of the run that is over.

    taught: whether the last unit answers already.
    """

    def __init__(
        self, model: Model, judge: Judge, config: HaltingConfig = HaltingConfig(), *, taught: bool = True
    ) -> None:
        super().__init__(model, judge)
        head = model.head
        if not isinstance(head, Exits):
            said = getattr(model.config.head, "kind", "none")
            raise InputError(
                "model.head", f"a head of kind {said} has no trace", "give it a head of kind dact or exits"
            )
        self.config, self.taught = config, taught
        head.detached = config.detach
        if config.method == "entropy":
            for part in (model.encoder, *([head.units[-1]] if taught else [])):
                part.requires_grad_(False)

    def rates(self) -> dict[nn.Parameter, float]:
        head = self.model.head
        assert isinstance(head, Exits)
        factor = self.config.unit_factor
        return {} if factor == 1.0 else dict.fromkeys(head.units.parameters(), factor)

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        head, method = self.model.head, self.config.method
        assert isinstance(head, Exits)
        encoded = encode(None, with_first_row(self.model, batch))
        answers = head.unit_answers(encoded.trace)
        each = self._each(head, answers, batch)
        if method == "dact":
            loss = self._dact(answers, each, batch)
        else:
            counts = torch.arange(1, len(each) + 1, device=each.device, dtype=each.dtype)
            weighted = (each * counts).sum() / counts.sum()
            mean = weighted if method == "patience" else (each[:-1] if self.taught else each).sum()
            loss = Loss(mean, {"task": mean})
        return with_auxiliary(loss, encoded.state.losses)

    def _each(self, head: Exits, answers: UnitAnswers, batch: Batch) -> Tensor:
        """[N] the loss of every unit by itself."""
        number = head.config.answer == "number"
        said = [head.value(one) if number else one.float() for one in answers.logits]
        return torch.stack([self.judge(one, batch) for one in said])

    def _dact(self, answers: UnitAnswers, each: Tensor, batch: Batch) -> Loss:
        config, log_h = self.config, answers.log_h
        assert log_h is not None, "a head of kind exits does not halt: its method is patience or entropy"
        mean = self.judge(answers.answer.float(), batch)
        price = torch.as_tensor(config.tau, device=mean.device)
        if "progress" in batch and config.ramp > 0:
            price = price * (batch["progress"] / config.ramp).clamp(max=1.0)
        rho = ponder(log_h.exp(), config.ponder, config.shape).mean()
        loss = Loss(mean, {"task": mean}).plus("ponder", price * rho)
        return loss.plus("every_unit", config.every_unit * each.mean()) if config.every_unit else loss


def with_progress(batches: Iterable[Batch], start: int, updates: int) -> Iterator[Batch]:
    """The batches, each with the share of the run that is over: `start` updates of `updates` were made before."""
    for n, batch in enumerate(batches, start):
        yield {**batch, "progress": torch.tensor(n / updates)}
