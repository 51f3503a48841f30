"""Milliseconds of the forms of ConvBERT's dynamic convolution, beside transformers' unfold and one square linear map.

    python benchmarks/convbert_core.py [--rounds 15] [--precision float32] [--compile] [--name convbert_core]

The widths are those of ConvBERT base: 6 heads of 64 of an encoder of width 768, a kernel of 9. `few` is the number of
kept rows: for them the script also times the values of all rows, gathered, beside the sums that the kernels take of the
tokens themselves. All that is compared takes turns; medians of the rounds, forward and with the backward pass.
The goal is a core of at most a quarter of the linear map. With --compile the form for a compiler is compiled beside the
others, under keys of its own. Nothing else may run on the machine. Resumes shape by shape.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from records import done, keep, same_machine
from torch import Tensor, nn
from torch.nn import functional

from slimbert.parts import dynamic
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.state import Context, pick

DIM, HEADS, HEAD_DIM, KERNEL = 768, 6, 64, 9
SHAPES = ((8, 128), (8, 512), (1, 128), (4, 512), (8, 32), (8, 64))
BLOCKS = (16, 32, 64)
FEW = (1, 20, 64, 100)  # of 128
Run = Callable[[], Tensor]


def unfolded(u: Tensor, w: Tensor) -> Tensor:
    """transformers' ConvBertSelfAttention, from the values [B, S, H, D] and kernels [B, S, H, k] on."""
    batch, length = u.shape[:2]
    laid = u.flatten(2).transpose(1, 2).contiguous().unsqueeze(-1)
    laid = functional.unfold(laid, kernel_size=[KERNEL, 1], dilation=1, padding=[(KERNEL - 1) // 2, 0], stride=1)
    laid = laid.transpose(1, 2).reshape(batch, -1, HEADS * HEAD_DIM, KERNEL).reshape(-1, HEAD_DIM, KERNEL)
    return torch.matmul(laid, w.reshape(-1, KERNEL, 1)).reshape(batch, length, HEADS, HEAD_DIM)


@contextmanager
def own_blocks() -> Iterator[None]:
    """What `in_blocks` chose is forgotten at the end."""
    chosen = dynamic._in_blocks, dynamic.BLOCK
    try:
        yield
    finally:
        dynamic._in_blocks, dynamic.BLOCK = chosen


def in_blocks(rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    """`convolve` with bands of so many rows; 0: without. The choice stays, for the backward pass."""

    def run(u: Tensor, w: Tensor) -> Tensor:
        dynamic._in_blocks = lambda _: rows > 0
        dynamic.BLOCK = rows or dynamic.BLOCK
        return dynamic.convolve(u, w)

    return run


def timed(runs: dict[str, Run], rounds: int, *, backward: bool) -> dict[str, float]:
    """Median milliseconds of each, taking turns; two rounds of warming up are left out."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 2):
        for name, run in runs.items():
            began = time.perf_counter()
            with torch.set_grad_enabled(backward):
                y = run()
            if backward:
                y.backward(torch.ones_like(y))
            if turn > 1:
                found[name].append(1000 * (time.perf_counter() - began))
    return {name: round(statistics.median(times), 4) for name, times in found.items()}


def core(batch: int, length: int, dtype: torch.dtype, *, compiled: bool) -> dict[str, Run]:
    fused = torch.randn(batch, length, 4 * HEADS * HEAD_DIM, dtype=dtype, requires_grad=True)
    u = fused[..., -HEADS * HEAD_DIM :].unflatten(-1, (HEADS, HEAD_DIM))
    w = torch.randn(batch, length, HEADS, KERNEL).softmax(dim=-1).to(dtype).requires_grad_()
    linear, x = nn.Linear(DIM, DIM, dtype=dtype), torch.randn(batch, length, DIM, dtype=dtype, requires_grad=True)
    forms = {"shifted": in_blocks(0), "unfold": unfolded} | {f"banded_{rows}": in_blocks(rows) for rows in BLOCKS}
    if compiled:
        torch.compiler.reset()  # torch keeps at most eight graphs of a function, one for each shape
        forms["compiled"] = torch.compile(dynamic.padded, fullgraph=True, dynamic=False)
    runs: dict[str, Run] = {"linear": lambda: linear(x)}
    for name, form in forms.items():
        runs[name] = lambda form=form: form(u.detach().requires_grad_(), w)
    return runs


def kept(batch: int, length: int, count: int, dtype: torch.dtype) -> dict[str, Run]:
    """Mixed attention of `count` kept rows of each text, in both ways, and of all rows."""
    config = MixedAttentionConfig(heads=HEADS, head_dim=HEAD_DIM, kernel=KERNEL)
    mixer = config.build(DIM).to(dtype)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.normal_(std=0.02)
    x = torch.randn(batch, length, DIM, dtype=dtype)
    index = torch.rand(batch, length).topk(count).indices
    rows, ctx = pick(x, index), Context(x, index=index)

    def way(few: bool) -> Run:
        def run() -> Tensor:
            mixer._are_few = lambda *_: few  # type: ignore[method-assign]
            return mixer(rows, ctx)

        return run

    return {"sums": way(True), "values": way(False), "all_rows": lambda: mixer(x, Context(x))}


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options.add_argument("--compile", action="store_true")
    options.add_argument("--name", default="convbert_core")
    chosen = options.parse_args(argv)
    same_machine(chosen.name)
    torch.manual_seed(0)
    dtype = getattr(torch, chosen.precision)
    for batch, length in SHAPES:
        key = f"{chosen.precision} {batch}x{length}" + (" compiled" if chosen.compile else "")
        if done(chosen.name, key) is None:
            runs = core(batch, length, dtype, compiled=chosen.compile)
            with own_blocks():
                found = {way: timed(runs, chosen.rounds, backward=way == "both") for way in ("forward", "both")}
            keep(chosen.name, key, found)
            print(key, found, flush=True)
    for count in FEW:
        key = f"{chosen.precision} 8x128 kept {count}"
        if done(chosen.name, key) is None:
            runs = kept(8, 128, count, dtype)
            found = {way: timed(runs, chosen.rounds, backward=way == "both") for way in ("forward", "both")}
            keep(chosen.name, key, found)
            print(key, found, flush=True)


if __name__ == "__main__":
    main()
