"""BERT's masked-LM training step written by hand, without parts, state or configs: composition is held against it.

The same mathematics as the preset of equal shape (post-norm, fused q, k, v, batched matrix products, logits at the
chosen positions only), so it is an oracle too: with our weights copied into it, it gives our loss.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class HandwrittenBert(nn.Module):
    """`forward` is the loss of a masked-LM batch: input_ids [B, S]; positions, labels, weights [B, P]."""

    def __init__(self, *, layers: int, dim: int, heads: int, vocab: int, max_len: int = 512, std: float = 0.02) -> None:
        super().__init__()
        self.heads = heads
        self.token, self.place, self.kind = nn.Embedding(vocab, dim), nn.Embedding(max_len, dim), nn.Embedding(2, dim)
        self.first = nn.LayerNorm(dim, eps=1e-12)
        self.qkv = nn.ModuleList(nn.Linear(dim, 3 * dim) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.norm1 = nn.ModuleList(nn.LayerNorm(dim, eps=1e-12) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(dim, 4 * dim) for _ in range(layers))
        self.down = nn.ModuleList(nn.Linear(4 * dim, dim) for _ in range(layers))
        self.norm2 = nn.ModuleList(nn.LayerNorm(dim, eps=1e-12) for _ in range(layers))
        self.dense, self.last = nn.Linear(dim, dim), nn.LayerNorm(dim, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocab))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        ids, positions = batch["input_ids"], batch["positions"]
        b = len(ids)
        line = torch.arange(ids.shape[1], device=ids.device)
        x = self.first(self.token(ids) + self.place(line) + self.kind.weight[0])
        d, h = x.shape[-1], self.heads
        at = positions[..., None].expand(-1, -1, d)
        for i in range(len(self.qkv)):
            if i + 1 < len(self.qkv):
                q, k, v = torch.split(self.qkv[i](x), d, dim=-1)
            else:  # nothing after the last keys and values reads the other rows
                w, bias = self.get_parameter(f"qkv.{i}.weight"), self.get_parameter(f"qkv.{i}.bias")
                k, v = torch.split(functional.linear(x, w[d:], bias[d:]), d, dim=-1)
                x = x.gather(1, at)
                q = functional.linear(x, w[:d], bias[:d])
            q, k, v = (part.view(b, -1, h, d // h).transpose(1, 2).flatten(0, 1) for part in (q, k, v))
            weights = torch.softmax(torch.bmm(q * (1 / math.sqrt(d // h)), k.transpose(1, 2)), dim=-1).to(v.dtype)
            mixed = torch.bmm(weights, v).view(b, h, -1, d // h).transpose(1, 2).flatten(2)
            x = self.norm1[i](x + self.out[i](mixed))
            x = self.norm2[i](x + self.down[i](functional.gelu(self.up[i](x))))
        rows = self.last(functional.gelu(self.dense(x)))
        logits = functional.linear(rows, self.token.weight, self.bias).flatten(0, 1)
        losses = functional.cross_entropy(logits.float(), batch["labels"].flatten(), reduction="none")
        weights = batch["weights"].flatten()
        return (losses * weights).sum() / weights.sum().clamp(min=1)
