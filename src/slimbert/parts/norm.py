"""Normalisation of each token's vector.

LayerNorm: y = g (x - mean) / sqrt(var + eps) + b        Ba et al. 2016, arXiv:1607.06450
RMSNorm:   y = g x / sqrt(mean(x^2) + eps)               Zhang and Sennrich 2019, arXiv:1910.07467
"""

from torch import nn

from ..config import NonNegative, kind


@kind("layer_norm", role="norm")
class LayerNormConfig:
    eps: NonNegative = 1e-12  # BERT's published code
    bias: bool = True

    def build(self, dim: int) -> nn.LayerNorm:
        return nn.LayerNorm(dim, eps=self.eps, bias=self.bias)


@kind("rms_norm", role="norm")
class RmsNormConfig:
    eps: NonNegative = 1e-6

    def build(self, dim: int) -> nn.RMSNorm:
        return nn.RMSNorm(dim, eps=self.eps)
