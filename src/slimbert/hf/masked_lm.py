"""Slimbert models that fill masks, as transformers sees them.

Where the encoder narrows, only the rows are computed that somebody asks for: those with a label and those that show
[MASK]; of a text that has neither, all. Nothing else depends on the other rows, so the answers are those of the run
that computes all; the logits of the rows that nobody asked for are 0, which says nothing.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_outputs import MaskedLMOutput

from ..config import HeadConfig
from ..model.heads import MaskedLmConfig
from ..model.kept import kept_places, traced
from ..model.model import usual_special
from ..state import Encoded, scatter
from .configuration import SlimbertConfig
from .modeling import SlimbertPreTrainedModel

NOT_PREDICTED = -100  # transformers' label of a position without a loss


class SlimbertForMaskedLM(SlimbertPreTrainedModel):
    """AutoModelForMaskedLM: ids [B, S] -> logits [B, S, V]; labels [B, S], -100 where nothing is predicted."""

    def __init__(self, config: SlimbertConfig) -> None:
        super().__init__(config)
        core = self.config.core()
        special = core.special or usual_special(core.encoder.embedding.vocab)
        self.mask_id = None if special is None else special.mask

    @classmethod
    def wanted(cls, config: SlimbertConfig) -> HeadConfig | None:
        head = config.core().head
        return head if isinstance(head, MaskedLmConfig) else MaskedLmConfig()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        every_row: bool = False,
    ) -> Any:
        """every_row: compute all rows where the encoder narrows too, as it is done where hidden_states are asked for,
        and in a graph."""
        keep = None if every_row else self._keep(input_ids, labels)
        places: Tensor | None = None
        there: Tensor | None = None
        if keep is not None:
            places, there = kept_places(keep)
        asks = (output_hidden_states, output_attentions)
        encoded, asked = self.encode(input_ids, attention_mask, token_type_ids, *asks, select=places)
        logits = self.answer(encoded)
        kept = encoded.state.index
        if labels is not None and kept is not None and there is not None:
            labels = labels.gather(1, kept).masked_fill(~there, NOT_PREDICTED)
        loss = None if labels is None else masked_loss(logits.flatten(0, 1), labels.flatten(), encoded)
        if kept is not None and there is not None:
            logits = scatter(logits.masked_fill(~there.unsqueeze(-1), 0.0), kept, input_ids.shape[1])
        return self.packed(MaskedLMOutput(loss=loss, logits=logits, **asked), return_dict)

    def _keep(self, input_ids: Tensor, labels: Tensor | None) -> Tensor | None:
        """[B, S] True where a row is asked for; None: all are, or it cannot be seen."""
        if not self.encoder.narrows or traced() or (labels is None and self.mask_id is None):
            return None
        keep = torch.zeros_like(input_ids, dtype=torch.bool) if labels is None else labels != NOT_PREDICTED
        if self.mask_id is not None:
            keep = keep | (input_ids == self.mask_id)
        return keep | ~keep.any(dim=1, keepdim=True)


def masked_loss(logits: Tensor, labels: Tensor, encoded: Encoded) -> Tensor:
    """Mean cross-entropy of the rows [N, V] with a label, in float32, and what the mixers add; 0 where none has one."""
    total = functional.cross_entropy(logits.float(), labels, ignore_index=NOT_PREDICTED, reduction="sum")
    return sum(encoded.state.losses, total / (labels != NOT_PREDICTED).sum().clamp(min=1))
