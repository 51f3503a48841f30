"""transformers' own ConvBERT as a masked language model: what ours is measured against, and what its update is made of.

As its classes come, with dropout, logits at every position and neighbourhoods laid out by `unfold`. Each of the three
can be taken away alone, with the weights left as they are, so that the time of an update can be split: `dropout` 0,
`chosen` (the head answers for the predicted rows only), `convolved` (our convolution stands in place of the unfold).
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ConvBertConfig, ConvBertForMaskedLM
from transformers.modeling_outputs import MaskedLMOutput

from ..parts.dynamic import convolve
from .masked_lm import NOT_PREDICTED


def convbert(
    config: ConvBertConfig, *, dropout: float = 0.1, chosen: bool = False, convolved: bool = False, seed: int = 0
) -> nn.Module:
    """ConvBertForMaskedLM with random weights, equal for equal seeds whatever else is asked for.

    Takes a batch as `peers.stock_batch` gives it; the output holds the loss. `config` is left as it is.
    """
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ConvBertForMaskedLM(ConvBertConfig(**{**config.to_dict(), **rates}))
    if convolved:
        for layer in model.convbert.encoder.layer:
            layer.attention.self.forward = partial(mixed, layer.attention.self)
    return Chosen(model) if chosen else model


def mixed(
    mixer: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **options: object
) -> tuple[Tensor, Tensor]:
    """The forward pass of a ConvBertSelfAttention [B, S, D], computed as there, but for the sums over neighbours."""
    x, heads = hidden_states, (mixer.num_attention_heads, mixer.attention_head_size)
    asked = mixer.query(x)
    spans = mixer.key_conv_attn_layer(x.transpose(1, 2)).transpose(1, 2)
    kernels = mixer.conv_kernel_layer(spans * asked).unflatten(-1, (heads[0], mixer.conv_kernel_size)).softmax(-1)
    summed = convolve(mixer.conv_out_layer(x).unflatten(-1, heads), kernels)  # [B, S, H, D]
    q, k, v = (y.unflatten(-1, heads).transpose(1, 2) for y in (asked, mixer.key(x), mixer.value(x)))
    scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(heads[1])
    weights = mixer.dropout((scores if attention_mask is None else scores + attention_mask).softmax(-1))
    read = torch.matmul(weights, v).transpose(1, 2)
    return torch.cat((read, summed), dim=2).flatten(2), weights


class Chosen(nn.Module):
    """A ConvBertForMaskedLM whose head answers for the rows with a label alone."""

    def __init__(self, model: ConvBertForMaskedLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> MaskedLMOutput:
        states = self.model.convbert(input_ids, attention_mask=attention_mask)[0]
        there = labels != NOT_PREDICTED
        logits = self.model.generator_lm_head(self.model.generator_predictions(states[there]))  # [N, V]
        return MaskedLMOutput(loss=functional.cross_entropy(logits, labels[there]), logits=logits)
