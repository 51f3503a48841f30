"""The products of a GroupBERT layer one by one: the convolution in two layouts, grouped and dense maps, whole branches.

    python benchmarks/groupbert_core.py [--rounds 30] [--compile] [--name groupbert_core]

Width 768, [8, 128] and [8, 512]; float32, and bfloat16 where the hardware multiplies it; forward alone, and forward
with backward. The arms take turns, round by round; medians in ms, and their ratios to one dense product of 768 x 768.
With --compile every arm is compiled alone, under keys of its own. Resumes shape by shape; nothing else may run.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from records import done, keep, same_machine
from torch import Tensor, nn
from torch.nn import functional

from slimbert.model.model import ModelConfig, fresh
from slimbert.model.presets import from_pattern
from slimbert.parts.convolution import convolve, convolve_documents, convolve_line
from slimbert.state import Context
from slimbert.train.environment import best_dtype, gemm_tflops

DIM, HIDDEN, GROUPS = 768, 3072, 4
SHAPES = ((8, 128), (8, 512))
DENSE = "dense 768 to 768"
Arm = tuple[int, Callable[[Tensor], Tensor]]  # width of what it reads


class Forms(nn.Module):
    """The parts of one layer of groupbert_base and of bert_base, and other ways to compute some of them."""

    def __init__(self, segments: Tensor) -> None:
        super().__init__()
        config = from_pattern("1{cgs},1{f}", dim=DIM, vocab=100)
        first, second = fresh(ModelConfig(encoder=config), 0).encoder.layers
        self.convolution, self.grouped, self.attention = (residual.mixer for residual in first)
        self.plain = second[0].mixer
        kernel = self.convolution.conv.weight.detach().unsqueeze(2)
        self.ready = nn.Parameter(kernel.clone(memory_format=torch.channels_last))
        self.segments = segments

    def arms(self, *, plain: bool) -> dict[str, Arm]:
        """Name -> (width of the input, function); what writes into slices is for a plain forward alone."""
        conv, down = self.convolution.conv, self.grouped.down
        out: dict[str, Arm] = {
            DENSE: (DIM, self.convolution.out),
            "dense 768 to 1536": (DIM, self.convolution.value_gate),
            "dense 3072 to 768": (HIDDEN, self.plain.down),
            "grouped 3072 to 768": (HIDDEN, down),
            "grouped, bias apart": (HIDDEN, self.bias_apart),
            "grouped, joined": (HIDDEN, self.joined),
            "convolution, image": (DIM, lambda y: convolve(y, conv)),
            "convolution, image, kernel ready": (DIM, self.convolve_ready),
            "convolution, line": (DIM, lambda y: convolve_line(y, conv)),
            "convolution, documents": (DIM, lambda y: convolve_documents(y, conv, self.segments)),
            "gate": (2 * DIM, lambda y: functional.glu(y, dim=-1)),
            "gate, by hand": (2 * DIM, by_hand),
            "branch: convolution": (DIM, lambda x: self.convolution(x, Context(x))),
            "branch: grouped feed-forward": (DIM, lambda x: self.grouped(x, Context(x))),
            "branch: feed-forward": (DIM, lambda x: self.plain(x, Context(x))),
            "branch: attention": (DIM, lambda x: self.attention(x, Context(x))),
        }
        return out | {"grouped, into slices": (HIDDEN, self.into_slices)} if plain else out

    def bias_apart(self, x: Tensor) -> Tensor:
        weight, bias = self.grouped.down.weight, self.grouped.down.bias
        rows = x.reshape(-1, GROUPS, weight.shape[1]).transpose(0, 1)
        return torch.bmm(rows, weight).transpose(0, 1).reshape(*x.shape[:-1], -1) + bias

    def joined(self, x: Tensor) -> Tensor:
        weight, bias = self.grouped.down.weight, self.grouped.down.bias
        return torch.cat([part @ w for part, w in zip(x.chunk(GROUPS, -1), weight.unbind(), strict=True)], -1) + bias

    def into_slices(self, x: Tensor) -> Tensor:
        """What a kernel that writes the output in place could reach: one product with its bias per group."""
        weight, bias = self.grouped.down.weight, self.grouped.down.bias.view(GROUPS, -1)
        rows = x.view(-1, GROUPS, weight.shape[1])
        y = x.new_empty(len(rows), GROUPS, weight.shape[2])
        for g in range(GROUPS):
            torch.addmm(bias[g], rows[:, g], weight[g], out=y[:, g])
        return y.view(*x.shape[:-1], -1)

    def convolve_ready(self, y: Tensor) -> Tensor:
        conv, image = self.convolution.conv, y.transpose(1, 2).unsqueeze(2)
        z = functional.conv2d(image, self.ready, conv.bias, padding=(0, 3), groups=conv.groups)
        return z.squeeze(2).transpose(1, 2)


def by_hand(y: Tensor) -> Tensor:
    value, gate = y.chunk(2, dim=-1)
    return value * gate.sigmoid()


def milliseconds(function: Callable[[Tensor], Tensor], x: Tensor, backward: bool) -> float:
    """One call, with the gradients of the input and of the weights where asked."""
    if not backward:
        with torch.inference_mode():
            began = time.perf_counter()
            function(x)
            return 1000 * (time.perf_counter() - began)
    x = x.detach().requires_grad_()
    began = time.perf_counter()
    y = function(x)
    y.backward(torch.ones_like(y))
    return 1000 * (time.perf_counter() - began)


def measured(shape: tuple[int, int], dtype: torch.dtype, rounds: int, *, backward: bool, compiled: bool) -> Any:
    """Name -> median ms, and name -> ratio to the dense product; the first two rounds are not counted."""
    segments = torch.arange(shape[1]).div(32, rounding_mode="floor").expand(shape[0], -1)
    forms = Forms(segments).to(dtype)
    arms = forms.arms(plain=not (backward or compiled))
    if compiled:
        torch.compiler.reset()
        arms = {name: (width, torch.compile(arm, dynamic=False)) for name, (width, arm) in arms.items()}
    generator = torch.Generator().manual_seed(0)
    inputs = {width: torch.randn(*shape, width, generator=generator).to(dtype) for width in (DIM, 2 * DIM, HIDDEN)}
    times: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds + 2):
        for name in list(arms)[:: 1 if number % 2 else -1]:
            width, arm = arms[name]
            forms.zero_grad()
            taken = milliseconds(arm, inputs[width], backward)
            times[name] += [taken] if number >= 2 else []
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "ms": {name: round(value, 3) for name, value in medians.items()},
        "over_dense": {name: round(value / medians[DENSE], 3) for name, value in medians.items()},
        "gemm_tflops": gemm_tflops(str(dtype).removeprefix("torch.")),
    }


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--compile", action="store_true")
    options.add_argument("--name", default="groupbert_core")
    chosen = options.parse_args(argv)
    same_machine(chosen.name)
    for dtype in sorted({"float32", best_dtype("cpu")}, reverse=True):
        for shape in SHAPES:
            for backward in (False, True):
                words = ("compiled",) if chosen.compile else ()
                mode = "forward and backward" if backward else "forward"
                key = " ".join((dtype, f"{shape[0]}x{shape[1]}", mode, *words))
                if done(chosen.name, key) is None:
                    kind = getattr(torch, dtype)
                    found = measured(shape, kind, chosen.rounds, backward=backward, compiled=chosen.compile)
                    keep(chosen.name, key, found)
                    print(key, done(chosen.name, key), flush=True)


if __name__ == "__main__":
    main()
