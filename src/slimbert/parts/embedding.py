"""Token ids to vectors: x = project(norm(token[id] + position[place] + type[t])).

Absolute learned positions: Devlin et al. 2018, arXiv:1810.04805. Factorised (a table narrower than the encoder, then a
projection): Lan et al. 2019, arXiv:1909.11942, section 3.1. Positions restart with each document of a packed row.
"""

from torch import Tensor, nn

from ..config import Count, NormConfig, Share, Size, kind
from ..state import places
from .dropout import Dropout
from .norm import LayerNormConfig


@kind("absolute", role="embedding")
class AbsoluteConfig:
    """`width` None: that of the encoder; else factorised. `offset`: rows of the table before place 0 (RoBERTa: 2)."""

    vocab: Count = 30522
    width: Count | None = None
    max_len: Count = 512
    offset: Size = 0
    types: Size = 2
    dropout: Share = 0.0
    norm: NormConfig = LayerNormConfig()

    def build(self, dim: int) -> "Embedding":
        return Embedding(self, dim, positions=self.max_len + self.offset)


@kind("tokens", role="embedding")
class TokensConfig:
    """No positions here: attention knows them (rotary, ALiBi). `max_len` is the longest row that is fed."""

    vocab: Count = 30522
    width: Count | None = None
    max_len: Count = 512
    types: Size = 0
    dropout: Share = 0.0
    norm: NormConfig = LayerNormConfig()

    def build(self, dim: int) -> "Embedding":
        return Embedding(self, dim, positions=0)


class Embedding(nn.Module):
    """ids [B, S] -> [B, S, dim]; width * dim multiply-adds per token where factorised, else none."""

    def __init__(self, config: AbsoluteConfig | TokensConfig, dim: int, *, positions: int) -> None:
        super().__init__()
        width = config.width or dim
        self.offset = getattr(config, "offset", 0)
        self.token = nn.Embedding(config.vocab, width)
        self.position = nn.Embedding(positions, width) if positions else None
        self.token_type = nn.Embedding(config.types, width) if config.types else None
        self.norm = config.norm.build(width)
        self.project = nn.Linear(width, dim) if width != dim else None
        self.dropout = Dropout(config.dropout)

    def forward(self, ids: Tensor, types: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        x = self.token(ids)
        if self.position is not None:
            x = x + self.position(places(segments, ids.shape[1], ids.device) + self.offset)
        if self.token_type is not None:
            x = x + (self.token_type.weight[0] if types is None else self.token_type(types))
        x = self.dropout(self.norm(x))
        return x if self.project is None else self.project(x)
