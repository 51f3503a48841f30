"""transformers' own ELECTRA in a plain loop: what our detection of replaced tokens is measured against.

transformers has both models and no objective around them. `electra_step` is one update as it is usually written:
ElectraForMaskedLM on the masked rows (logits at every position, labels -100 where nothing is predicted), ids drawn at
the chosen places by the argmax under Gumbel noise, ElectraForPreTraining on the rows that result, one embedding for
both, the losses added 1 to 50, and the update of `peers.updates`.
"""

from collections.abc import Callable, Sequence
from itertools import cycle

import torch
from torch import Tensor, nn
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining
from transformers.modeling_outputs import MaskedLMOutput

from .masked_lm import NOT_PREDICTED
from .peers import Precision, Shape, stock_batch, updates


class Electra(nn.Module):
    """Both models. `forward` takes a batch as `stock_batch` gives it; the output holds the loss of both."""

    def __init__(
        self, shape: Shape, *, table: int, width: float = 0.25, dropout: float = 0.1, rtd_weight: float = 50.0
    ) -> None:
        super().__init__()
        self.rtd_weight = rtd_weight
        self.discriminator = ElectraForPreTraining(_config(shape, 1.0, table=table, dropout=dropout))
        self.generator = ElectraForMaskedLM(_config(shape, width, table=table, dropout=dropout))
        shared = self.discriminator.electra.embeddings
        self.generator.electra.embeddings = shared
        self.generator.generator_lm_head.weight = shared.word_embeddings.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> MaskedLMOutput:
        guessed = self.generator(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
        chosen = labels != NOT_PREDICTED
        logits = guessed.logits[chosen].detach().float()  # [N, V]
        noise = -torch.empty_like(logits).exponential_().log()
        original = torch.where(chosen, labels, input_ids)
        ids = original.clone()
        ids[chosen] = (logits + noise).argmax(dim=-1)
        found = self.discriminator(input_ids=ids, attention_mask=attention_mask, labels=(ids != original).long())
        return MaskedLMOutput(loss=guessed.loss + self.rtd_weight * found.loss, logits=found.logits)


def electra_step(
    shape: Shape,
    batches: Sequence[dict[str, Tensor]],
    *,
    table: int,
    precision: Precision,
    tuned: bool = False,
    compiled: bool = False,
    device: str = "cpu",
    seed: int = 0,
) -> Callable[[], float]:
    """`step() -> loss`: one update on the next of the fixed `batches` (ours), which are used in turn.

    table: width of the token table. tuned: without dropout; compiled: by torch.compile, in as many graphs as it finds.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: nn.Module = Electra(shape, table=table, dropout=0.0 if tuned else 0.1)
    step = updates(model.to(device), precision=precision, compiled=compiled)
    turn = cycle([{name: value.to(device) for name, value in stock_batch(one).items()} for one in batches])
    return lambda: float(step(next(turn)))


def _config(shape: Shape, width: float, *, table: int, dropout: float) -> ElectraConfig:
    """ELECTRA's rule: width, hidden units and heads by the same share, at least one head."""
    dim = max(1, round(width * shape.dim))
    return ElectraConfig(
        vocab_size=shape.vocab,
        embedding_size=table,
        hidden_size=dim,
        num_hidden_layers=shape.layers,
        num_attention_heads=max(1, int(width * shape.heads)),
        intermediate_size=4 * dim,
        max_position_embeddings=shape.max_len,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
