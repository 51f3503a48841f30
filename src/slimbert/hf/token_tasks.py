"""Slimbert models that answer for single tokens, as transformers sees them: tags, and the ends of answers."""

import dataclasses
from typing import Any

from torch import Tensor
from torch.nn import functional
from transformers.modeling_outputs import QuestionAnsweringModelOutput, TokenClassifierOutput

from ..config import HeadConfig
from ..model.exits import EarlyConfig
from ..model.heads import SpanConfig, TokenConfig
from .configuration import SlimbertConfig
from .modeling import SlimbertPreTrainedModel, loss_of


class SlimbertForTokenClassification(SlimbertPreTrainedModel):
    """AutoModelForTokenClassification: ids [B, S] -> logits [B, S, C]; labels [B, S], -100 where there is none."""

    @classmethod
    def wanted(cls, config: SlimbertConfig) -> HeadConfig | None:
        head = config.core().head
        if isinstance(head, EarlyConfig) and head.answer == "tags":
            return dataclasses.replace(head, labels=config.labels)
        rate = head.dropout if isinstance(head, TokenConfig) else 0.0
        return TokenConfig(labels=config.labels, dropout=rate)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        encoded, asked = self.encode(input_ids, attention_mask, token_type_ids, output_hidden_states, output_attentions)
        logits = self.answer(encoded)
        loss = None if labels is None else loss_of(logits.flatten(0, 1), labels.flatten(), encoded)
        return self.packed(TokenClassifierOutput(loss=loss, logits=logits, **asked), return_dict)


class SlimbertForQuestionAnswering(SlimbertPreTrainedModel):
    """AutoModelForQuestionAnswering: ids [B, S] -> start_logits and end_logits [B, S]; positions [B] of both ends."""

    @classmethod
    def wanted(cls, config: SlimbertConfig) -> HeadConfig | None:
        head = config.core().head
        return head if isinstance(head, SpanConfig) else SpanConfig()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        encoded, asked = self.encode(input_ids, attention_mask, token_type_ids, output_hidden_states, output_attentions)
        start, end = self.answer(encoded).unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            ends = ((start, start_positions), (end, end_positions))
            outside = start.shape[1]  # places beyond the row do not count, as in transformers
            each = [
                functional.cross_entropy(scores.float(), places.flatten().clamp(0, outside), ignore_index=outside)
                for scores, places in ends
            ]
            loss = sum(encoded.state.losses, (each[0] + each[1]) / 2)
        output = QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end, **asked)
        return self.packed(output, return_dict)
