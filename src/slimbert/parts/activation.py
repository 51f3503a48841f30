"""The nonlinearities a config can name; modules, so that quantisation can swap them."""

from typing import Literal

from torch import nn

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh"]


def activation(name: Activation) -> nn.Module:
    """The module called `name`: exact GELU, its tanh approximation, ReLU, SiLU or tanh."""
    if name == "gelu_tanh":
        return nn.GELU(approximate="tanh")
    return {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}[name]()
