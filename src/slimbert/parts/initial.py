"""Fresh weights: what every part is filled with before training.

Linear maps and embeddings are normal with the standard deviation of the encoder's config (BERT: 0.02, Devlin et al.
2018, arXiv:1810.04805, the published code), biases are zero, norms are the identity; depthwise kernels have a rule of
their own. torch's defaults train badly here. Random weights live in maps and tables, filled here from the generator; a
map with an `init_std` of its own keeps to it. A part that owns raw parameters or buffers fills all of them in
`reset_parameters()`, with constants.
"""

import torch
from torch import nn

from .depthwise import Depthwise
from .linear import GroupedLinear

Map = nn.Linear | GroupedLinear | nn.Conv1d | nn.Conv2d


def initialise(module: nn.Module, std: float, generator: torch.Generator | None = None) -> None:
    """Fill what `module` itself owns (not its children)."""
    if isinstance(module, Map):
        own: float | None = getattr(module, "init_std", None)
        nn.init.normal_(module.weight, std=std if own is None else own, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Depthwise):
        std = 1 / module.weight.shape[-1]
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=std, generator=generator)
    elif any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False)):
        module.reset_parameters()  # type: ignore[operator]


def initialise_all(module: nn.Module, std: float, generator: torch.Generator | None = None) -> None:
    """Fill a module and all below it."""
    for child in module.modules():
        initialise(child, std, generator)
