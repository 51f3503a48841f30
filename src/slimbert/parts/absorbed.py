"""Attention to a frozen memory that is never projected: for few rows, the maps of keys and values move to the queries.

    score_j = q' (W_k m_j + b_k) = (W_k' q)' m_j + q' b_k       the last term is the same for every j: softmax drops it
    y       = sum_j p_j (W_v m_j + b_v) = W_v (sum_j p_j m_j) + b_v sum_j p_j

The same function in another order of products, exact also where attention weights are dropped (their sum is then not
1). Rotary positions stand between W_k and the score, so they forbid it; a bias on the scores does not. Multi-head
latent attention absorbs its maps in the same way: DeepSeek-AI 2024, arXiv:2405.04434, section 2.1.2.
"""

import math

import torch
from torch import Tensor

from .dropout import dropout as drop

# Time of an absorbed multiply-add in direct ones, with which the rule loses least over all measured sizes, in the mean
# and at worst (benchmarks/records/absorbed: AVX2, float32): with gradients 0.0% and 0.0%, without 1.2% and 19%.
PRICE = 1.1
PRICE_WITHOUT_GRADIENTS = 1.4


def pays(*, rows: int, length: int, dim: int, heads: int, width: int, price: float | None = None) -> bool:
    """Whether `rows` of a text cost less absorbed: its memory has `length` tokens of width `dim`; `width` is that of
    all heads together; price: one of the two above, unless it is just being measured."""
    absorbed = 2 * rows * dim * (width + length * heads)  # multiply-adds; queries and output cost the same both ways
    direct = 2 * length * width * (dim + rows)
    usual = PRICE if torch.is_grad_enabled() else PRICE_WITHOUT_GRADIENTS
    return (usual if price is None else price) * absorbed < direct


def absorbed(
    q: Tensor,
    memory: Tensor,
    *,
    key: Tensor,
    value: tuple[Tensor, Tensor | None],
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Queries [B, H, K, Dh] over memory [B, S, D] -> (what they read [B, H, K, Dh], attention map [B, H, K, S]).

    key: weight [H * Dh, D]; value: weight [H * Dh, D] and bias [H * Dh]; bias: what is added to the scores. 2 K D (H Dh
    + S H) multiply-adds per text.
    """
    b, h, k, d = q.shape
    asked = _per_head(q * (1 / math.sqrt(d)), key.reshape(h, d, -1))  # [B, H, K, D]
    scores = torch.bmm(asked.flatten(1, 2), memory.transpose(1, 2)).view(b, h, k, -1)
    weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
    dropped = drop(weights, dropout) if dropout else weights
    read = torch.bmm(dropped.to(memory.dtype).flatten(1, 2), memory).view(b, h, k, -1)  # [B, H, K, D]
    y = _per_head(read, value[0].reshape(h, d, -1).transpose(1, 2))
    if value[1] is None:
        return y, weights
    shift = value[1].view(h, 1, d)
    return y + (shift * dropped.sum(dim=-1, keepdim=True) if dropout else shift).to(y.dtype), weights


def _per_head(x: Tensor, maps: Tensor) -> Tensor:
    """x [B, H, K, I] times the map [H, I, O] of its head -> [B, H, K, O], without a copy of the maps for every text."""
    b, h, k, _ = x.shape
    return torch.bmm(x.transpose(0, 1).flatten(1, 2), maps).view(h, b, k, -1).transpose(0, 1)
