"""Milliseconds of the forms of ConvBERT's dynamic convolution, beside transformers' unfold and one square linear map.

    python benchmarks/convbert_core.py [--rounds 15] [--precision float32] [--compile] [--name convbert_core]

The widths are those of ConvBERT base: 6 heads of 64 of an encoder of width 768, a kernel of 9. `few` is the number of
kept rows: for them the script also times the values of all rows, gathered, beside the sums that the kernels take of the
tokens themselves. All that is compared takes turns; medians of the rounds, forward and with the backward pass, whose
gradients fall into place and are added to none. Memory is what a form keeps for its backward pass, counted; a compiled
one is timed alone. The goals, of the form that parts/dynamic.py chooses for the length: at most a quarter of the time
of the linear map, and of the memory of the unfold. With --compile the form for a compiler is compiled beside the
others, under keys of its own. Nothing else may run on the machine. Resumes shape by shape. About 6 minutes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import torch
from arms import table
from goals import Figure, goal_table
from records import describe, done, keep, same_machine
from saved import kept_mb
from torch import Tensor, nn
from torch.nn import functional

from slimbert.parts import dynamic
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.state import Context, pick
from slimbert.train.environment import gemm_tflops

DIM, HEADS, HEAD_DIM, KERNEL = 768, 6, 64, 9
SHAPES = ((8, 128), (8, 512), (1, 128), (4, 512), (8, 32), (8, 64))
BLOCKS = (16, 32, 64)
FEW = (1, 20, 64, 100)  # of 128
PRECISIONS = ("float32", "bfloat16")
WAYS = {"forward": "forward", "both": "with the backward pass"}
GOAL = 0.25  # ConvBERT spec, section 9, which has it for these two shapes
WITH_GOAL = ((8, 128), (8, 512))
Run = Callable[[], Tensor]


class Arms(NamedTuple):
    """What is compared, and the tensors whose gradients are cleared before each call."""

    runs: dict[str, Run]
    leaves: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]  # of these, those that are no input: they are no memory of the backward pass


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


def measured(arms: Arms, rounds: int, *, base: str, precision: str, memory: bool) -> dict[str, Any]:
    """Milliseconds of every arm, and times that of `base`; MB, and times that of the unfold where there is one."""
    found: dict[str, Any] = {way: timed(arms, rounds, backward=way == "both") for way in WAYS}
    over: dict[str, float] = {}
    for way in WAYS:
        over |= {f"{name}, {way}, over {base}": ms / found[way][base] for name, ms in found[way].items()}
    if memory:
        found["kept_mb"] = {name: round(kept_mb(run, arms.weights), 6) for name, run in arms.runs.items()}
        if whole := found["kept_mb"].get("unfold"):
            over |= {f"{name}, memory": mb / whole for name, mb in found["kept_mb"].items()}
    ratios = {name: round(value, 4) for name, value in over.items()}
    return found | ratios | {"gemm_tflops": gemm_tflops(precision)}


def timed(arms: Arms, rounds: int, *, backward: bool) -> dict[str, float]:
    """Median milliseconds of each, taking turns; two rounds of warming up are left out."""
    found: dict[str, list[float]] = {name: [] for name in arms.runs}
    for turn in range(rounds + 2):
        for name, run in arms.runs.items():
            for leaf in arms.leaves:
                leaf.grad = None
            began = time.perf_counter()
            with torch.set_grad_enabled(backward):
                y = run()
            if backward:
                y.backward(torch.ones_like(y))
            if turn > 1:
                found[name].append(1000 * (time.perf_counter() - began))
    return {name: round(statistics.median(times), 4) for name, times in found.items()}


def core(batch: int, length: int, dtype: torch.dtype, *, compiled: bool) -> Arms:
    fused = torch.randn(batch, length, 4 * HEADS * HEAD_DIM, dtype=dtype, requires_grad=True)
    u = fused[..., -HEADS * HEAD_DIM :].unflatten(-1, (HEADS, HEAD_DIM))
    w = torch.randn(batch, length, HEADS, KERNEL).softmax(dim=-1).to(dtype).requires_grad_()
    linear, x = nn.Linear(DIM, DIM, dtype=dtype), torch.randn(batch, length, DIM, dtype=dtype)
    forms = {"shifted": in_blocks(0), "unfold": unfolded} | {f"banded_{rows}": in_blocks(rows) for rows in BLOCKS}
    if compiled:
        torch.compiler.reset()  # torch keeps at most eight graphs of a function, one for each shape
        forms["compiled"] = torch.compile(dynamic.padded, fullgraph=True, dynamic=False)
    runs: dict[str, Run] = {"linear": lambda: linear(x.detach().requires_grad_())}
    for name, form in forms.items():
        runs[name] = lambda form=form: form(u.detach().requires_grad_(), w)
    weights = tuple(linear.parameters())
    return Arms(runs, (w, *weights), weights)


def kept(batch: int, length: int, count: int, dtype: torch.dtype) -> Arms:
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

    runs: dict[str, Run] = {"sums": way(True), "values": way(False), "all_rows": lambda: mixer(x, Context(x))}
    return Arms(runs, tuple(mixer.parameters()), tuple(mixer.parameters()))


def key_of(precision: str, shape: tuple[int, int], compiled: bool) -> str:
    return f"{precision} {shape[0]}x{shape[1]}" + (" compiled" if compiled else "")


def form_of(length: int, precision: str) -> str:
    """The form that `convolve` chooses for rows of so many tokens."""
    blocks = dynamic._in_blocks(torch.empty(1, length, dtype=getattr(torch, precision), device="meta"))
    return f"banded_{dynamic.BLOCK}" if blocks else "shifted"


def figures(name: str) -> dict[str, list[Figure]]:
    """What the record holds, with its goals."""
    out: dict[str, list[Figure]] = {}
    for precision, shape, compiled in product(PRECISIONS, SHAPES, (False, True)):
        key = key_of(precision, shape, compiled)
        if found := done(name, key):
            form = "compiled" if compiled else form_of(shape[1], precision)
            most = GOAL if shape in WITH_GOAL else None
            out[key] = [*over_base(form, "linear", most), *over_base("unfold", "linear", None)]
            if "kept_mb" in found:
                out[key].append(
                    Figure(field=f"{form}, memory", said=f"{form}: times the memory of the unfold", most=most)
                )
    for precision, count in product(PRECISIONS, FEW):
        key = f"{precision} 8x128 kept {count}"
        if done(name, key):
            out[key] = over_base("sums", "values", None)
    return out


def over_base(arm: str, base: str, most: float | None) -> list[Figure]:
    """The time of an arm over that of another, both ways."""
    said = {f"{arm}, {way}, over {base}": f"{arm}, {words}: times as long as {base}" for way, words in WAYS.items()}
    return [Figure(field=field, said=words, most=most) for field, words in said.items()]


def text(name: str) -> str:
    """The tables of the record."""
    known, rows = figures(name), []
    for key in known:
        found = done(name, key)
        for arm in found["forward"]:
            times = [f"{found[way][arm]:,.3f}" for way in WAYS]
            memory = f"{found['kept_mb'][arm]:,.2f}" if "kept_mb" in found else ""
            rows.append([key, arm, *times, memory, f"{found['gemm_tflops']:.3f}"])
    columns = ["measurement", "arm", *(f"{words}, ms" for words in WAYS.values()), "kept, MB", "TFLOP/s then"]
    return f"{goal_table(name, known)}\n\n{table(columns, rows)}"


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--precision", choices=PRECISIONS, default="float32")
    options.add_argument("--compile", action="store_true")
    options.add_argument("--name", default="convbert_core")
    chosen = options.parse_args(argv)
    same_machine(chosen.name)
    torch.manual_seed(0)
    dtype = getattr(torch, chosen.precision)
    for shape in SHAPES:
        key = key_of(chosen.precision, shape, chosen.compile)
        if done(chosen.name, key) is None:
            arms, memory = core(*shape, dtype, compiled=chosen.compile), not chosen.compile
            with own_blocks():
                found = measured(arms, chosen.rounds, base="linear", precision=chosen.precision, memory=memory)
            keep(chosen.name, key, found)
            print(key, found, flush=True)
    for count in FEW:
        key = f"{chosen.precision} 8x128 kept {count}"
        if done(chosen.name, key) is None:
            arms = kept(8, 128, count, dtype)
            found = measured(arms, chosen.rounds, base="values", precision=chosen.precision, memory=True)
            keep(chosen.name, key, found)
            print(key, found, flush=True)
    describe(chosen.name, text(chosen.name))


if __name__ == "__main__":
    main()
