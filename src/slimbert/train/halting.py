"""Training of models that may stop early.

dact: task(a_N) + tau * mean(rho), with every layer always run. DACT-BERT: Eyzaguirre et al. 2021, arXiv:2109.11745.
patience: the mean of all units' losses, the n-th counting n times (PABEE, Zhou et al. 2020, arXiv:2006.04152). entropy:
the sum of the losses of all units but the last, under an encoder that is trained already and stays as it is (the second
stage of DeeBERT, Xin et al. 2020, arXiv:2004.12993).
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from ..config import NonNegative, Share
from ..errors import InputError
from ..model.exits import Everything, Exits
from ..model.halting import Ponder, Shape, ponder
from ..model.model import Model
from .objectives import Batch, Encode, Loss, with_auxiliary
from .supervised import Judge, Supervised, with_first_row

Method = Literal["dact", "patience", "entropy"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HaltingConfig:
    """`tau`: the price of going on, reached over the first `ramp` of the run. `ponder`, `shape`: its form.

    `every_unit`: weight of the mean loss of all units beside the accumulated answer's (ours: units that count for
    little learn, too). `detach`: halting values do not train the encoder.
    """

    method: Method = "dact"
    tau: NonNegative = 5e-3
    ponder: Ponder = "p"
    shape: Shape = "unit"
    ramp: Share = 0.2
    every_unit: NonNegative = 0.1
    detach: bool = False


class Halting(Supervised):
    """Supervised, over a head that has a trace. `progress` in the batch: the share of the run that is over."""

    def __init__(self, model: Model, judge: Judge, config: HaltingConfig = HaltingConfig()) -> None:
        super().__init__(model, judge)
        head = model.head
        if not isinstance(head, Exits):
            said = getattr(model.config.head, "kind", "none")
            raise InputError(
                "model.head", f"a head of kind {said} has no trace", "give it a head of kind dact or exits"
            )
        self.config = config
        head.detached = config.detach
        if config.method == "entropy":
            for parameter in (*model.encoder.parameters(), *head.units[-1].parameters()):
                parameter.requires_grad_(False)

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        head, method = self.model.head, self.config.method
        assert isinstance(head, Exits)
        encoded = encode(None, with_first_row(self.model, batch))
        everything = head.everything(encoded.trace)
        each = self._each(head, everything, batch)
        if method == "dact":
            loss = self._dact(everything, each, batch)
        else:
            counts = torch.arange(1, len(each) + 1, device=each.device, dtype=each.dtype)
            mean = (each * counts).sum() / counts.sum() if method == "patience" else each[:-1].sum()
            loss = Loss(mean, {"task": mean})
        return with_auxiliary(loss, encoded)

    def _each(self, head: Exits, everything: Everything, batch: Batch) -> Tensor:
        """[N] the loss of every unit by itself."""
        number = head.config.answer == "number"
        said = [head.value(one) if number else one.float() for one in everything.logits]
        return torch.stack([self.judge(one, batch) for one in said])

    def _dact(self, everything: Everything, each: Tensor, batch: Batch) -> Loss:
        config, log_h = self.config, everything.log_h
        assert log_h is not None, "a head of kind exits does not halt: its method is patience or entropy"
        mean = self.judge(everything.answer.float(), batch)
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
