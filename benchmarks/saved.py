"""Memory that a call keeps for its backward pass: what autograd saves, counted tensor by tensor."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def kept_mb(run: Callable[[], Tensor], weights: Iterable[Tensor] = ()) -> float:
    """MB (2^20 bytes) without the weights, which are there anyway. A slice counts as what it shows; of tensors that
    begin at the same place the largest."""
    own = {weight.untyped_storage().data_ptr() for weight in weights}
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            sizes[tensor.data_ptr()] = max(sizes.get(tensor.data_ptr(), 0), tensor.nbytes)
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(count, lambda tensor: tensor):
        y = run()  # holds the graph: memory that was freed could be counted as that of the next tensor
    assert y.requires_grad
    return sum(sizes.values()) / 2**20
