"""The products of a GroupBERT layer one by one: the convolution in two layouts, grouped and dense maps, whole branches.

    python benchmarks/groupbert_core.py [--rounds 30] [--compile] [--name groupbert_core]

Width 768, [8, 128] and [8, 512]; float32, and bfloat16 where the hardware multiplies it; forward alone, and forward
with backward. The arms take turns, round by round; medians in ms, and their ratios to one dense product of 768 x 768.
Attention runs as in an encoder of that length. Memory is what an arm keeps for its backward pass, counted. The goals: a
convolution of at most a quarter of the dense product, a grouped feed-forward network of at most 0.8 of a plain one.
With --compile every arm is compiled alone and timed alone, under keys of its own. Resumes shape by shape; nothing else
may run.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
from arms import table
from goals import Figure, goal_table
from records import describe, done, keep, same_machine
from saved import kept_mb
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
IMAGE, LINE = "convolution, image", "convolution, line"
GROUPED, PLAIN = "branch: grouped feed-forward", "branch: feed-forward"
MODES = {"forward": False, "forward and backward": True}
FIGURES = (  # the goals are those of the GroupBERT spec, section 9
    Figure(field="convolution over dense", said="convolution: times the dense product", most=0.25),
    Figure(field="grouped over plain", said="grouped feed-forward network: times the plain one", most=0.8),
    Figure(field="line over image", said="convolution, layout of one dimension: times the image"),
)
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
            IMAGE: (DIM, lambda y: convolve(y, conv)),
            "convolution, image, kernel ready": (DIM, self.convolve_ready),
            LINE: (DIM, lambda y: convolve_line(y, conv)),
            "convolution, documents": (DIM, lambda y: convolve_documents(y, conv, self.segments)),
            "gate": (2 * DIM, lambda y: functional.glu(y, dim=-1)),
            "gate, by hand": (2 * DIM, by_hand),
            "branch: convolution": (DIM, lambda x: self.convolution(x, Context(x))),
            GROUPED: (DIM, lambda x: self.grouped(x, Context(x))),
            PLAIN: (DIM, lambda x: self.plain(x, Context(x))),
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


def forms_of(shape: tuple[int, int], dtype: torch.dtype) -> Forms:
    """With documents of 32 tokens."""
    segments = torch.arange(shape[1]).div(32, rounding_mode="floor").expand(shape[0], -1)
    return Forms(segments).to(dtype)


def measured(shape: tuple[int, int], dtype: torch.dtype, rounds: int, *, backward: bool, compiled: bool) -> Any:
    """Name -> median ms, and name -> ratio to the dense product; the first two rounds are not counted."""
    forms = forms_of(shape, dtype)
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
    found: dict[str, Any] = {
        "ms": {name: round(value, 3) for name, value in medians.items()},
        "over_dense": {name: round(value / medians[DENSE], 3) for name, value in medians.items()},
        "convolution over dense": round(medians[IMAGE] / medians[DENSE], 4),
        "grouped over plain": round(medians[GROUPED] / medians[PLAIN], 4),
        "line over image": round(medians[LINE] / medians[IMAGE], 4),
        "gemm_tflops": gemm_tflops(str(dtype).removeprefix("torch.")),
    }
    if backward and not compiled:
        weights = tuple(forms.parameters())
        leaves = {width: x.clone().requires_grad_() for width, x in inputs.items()}
        found["kept_mb"] = {
            name: round(kept_mb(partial(arm, leaves[width]), weights), 6) for name, (width, arm) in arms.items()
        }
    return found


def keys() -> Iterator[tuple[str, str, tuple[int, int], bool, bool]]:
    """(key, dtype, shape, backward, compiled) of all that there can be."""
    for compiled, dtype, shape, mode in product((False, True), ("float32", "bfloat16"), SHAPES, MODES):
        words = (dtype, f"{shape[0]}x{shape[1]}", mode, *(["compiled"] if compiled else []))
        yield " ".join(words), dtype, shape, MODES[mode], compiled


def text(name: str) -> str:
    """The tables of what the record holds."""
    there = {key: found for key, *_ in keys() if (found := done(name, key))}
    rows = [
        [
            key,
            arm,
            f"{ms:,.3f}",
            f"{found['over_dense'][arm]:.3f}",
            f"{found['kept_mb'][arm]:,.2f}" if "kept_mb" in found else "",
            f"{found['gemm_tflops']:.3f}",
        ]
        for key, found in there.items()
        for arm, ms in found["ms"].items()
    ]
    columns = ["measurement", "arm", "median, ms", "times the dense product", "kept, MB", "TFLOP/s then"]
    return f"{goal_table(name, dict.fromkeys(there, FIGURES))}\n\n{table(columns, rows)}"


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--compile", action="store_true")
    options.add_argument("--name", default="groupbert_core")
    chosen = options.parse_args(argv)
    same_machine(chosen.name)
    dtypes = {"float32", best_dtype("cpu")}
    for key, dtype, shape, backward, compiled in keys():
        if dtype in dtypes and compiled == chosen.compile and done(chosen.name, key) is None:
            kind = getattr(torch, dtype)
            keep(chosen.name, key, measured(shape, kind, chosen.rounds, backward=backward, compiled=compiled))
            print(key, done(chosen.name, key), flush=True)
    describe(chosen.name, text(chosen.name))


if __name__ == "__main__":
    main()
