"""Feed-forward networks: each token on its own.

mlp: y = mix(down(act(up x)))                            Vaswani et al. 2017, arXiv:1706.03762, section 3.3
glu: y = down(act(gate x) * (up x))                      Shazeer 2020, arXiv:2002.05202, section 2

Groups cut weights and products: `groups` of the contraction (GroupBERT, with `mixer`, a dense map after it; Chelombiev
et al. 2021, arXiv:2106.05822), `up_groups` of the expansion too (ConvBERT; Jiang et al. 2020, arXiv:2008.02496).
"""

from torch import Tensor, nn

from ..config import Count, kind
from ..errors import InputError
from ..state import Context
from .activation import Activation, activation
from .linear import Fused, GroupedLinear, apart, linear


def check_groups(dim: int, hidden: int, groups: dict[str, int], path: str) -> None:
    """Raise InputError where groups do not divide the widths they split."""
    for field, count in groups.items():
        if dim % count or hidden % count:
            raise InputError(f"{path}.{field}", f"{count} groups do not divide {dim} and {hidden}", "choose a divisor")


@kind("mlp")
class MlpConfig:
    hidden: Count = 3072
    act: Activation = "gelu"
    bias: bool = True
    groups: Count = 1
    up_groups: Count = 1
    mixer: bool = False
    axes = {"hidden": ("hidden", 1, "groups", "up_groups")}

    def check(self, dim: int, path: str) -> None:
        check_groups(dim, self.hidden, {"groups": self.groups, "up_groups": self.up_groups}, path)

    def build(self, dim: int) -> "Mlp":
        return Mlp(self, dim)


class Mlp(nn.Module):
    """[B, S, dim] -> [B, S, dim]; dim * hidden * (1/up_groups + 1/groups) multiply-adds per token.

    A mixer is dim^2 more.
    """

    sinks = {"hidden": "down.weight"}

    def __init__(self, config: MlpConfig, dim: int) -> None:
        super().__init__()
        self.up = linear(dim, config.hidden, groups=config.up_groups, bias=config.bias)
        self.act = activation(config.act)
        self.down = linear(config.hidden, dim, groups=config.groups, bias=config.bias)
        self.mix = nn.Linear(dim, dim, bias=config.bias) if config.mixer else None
        self.axes: dict[str, tuple[str | None, ...]] = {
            "up.weight": ("hidden", "dim") if config.up_groups == 1 else ("*hidden", None, "hidden"),
            "up.bias": ("hidden",),
            "down.weight": ("dim", "hidden") if config.groups == 1 else ("*hidden", "hidden", None),
            "down.bias": ("dim",),
            "mix.weight": ("dim", "dim"),
            "mix.bias": ("dim",),
        }

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        up, down = self.up, self.down
        if isinstance(up, GroupedLinear) and isinstance(down, GroupedLinear) and up.groups == down.groups:
            hidden = self.act(up.product(apart(x, up.groups)))  # [G, B * S, hidden/G]: no copy between the products
            y = down.product(hidden).transpose(0, 1).reshape(x.shape)
        else:
            y = down(self.act(up(x)))
        return y if self.mix is None else self.mix(y)


@kind("glu")
class GluConfig:
    hidden: Count = 3072
    act: Activation = "gelu"
    bias: bool = False
    groups: Count = 1
    axes = {"hidden": ("hidden", 1, "groups")}

    def check(self, dim: int, path: str) -> None:
        check_groups(dim, self.hidden, {"groups": self.groups}, path)

    def build(self, dim: int) -> "Glu":
        return Glu(self, dim)


class Glu(nn.Module):
    """[B, S, dim] -> [B, S, dim]; dim * hidden * (2 + 1/groups) multiply-adds per token."""

    sinks = {"hidden": "down.weight"}

    def __init__(self, config: GluConfig, dim: int) -> None:
        super().__init__()
        self.gate_up = Fused(dim, (config.hidden,) * 2, bias=config.bias)
        self.act = activation(config.act)
        self.down = linear(config.hidden, dim, groups=config.groups, bias=config.bias)
        self.axes: dict[str, tuple[str | None, ...]] = {
            "gate_up.weight": ("hidden|hidden", "dim"),
            "gate_up.bias": ("hidden|hidden",),
            "down.weight": ("dim", "hidden") if config.groups == 1 else ("*hidden", "hidden", None),
            "down.bias": ("dim",),
        }

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        gate, up = self.gate_up.maps(x)
        return self.down(self.act(gate) * up)
