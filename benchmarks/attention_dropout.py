"""Attention with dropout of its weights, by length: products, torch's own kernel, ours block by block; time and memory.

    python benchmarks/attention_dropout.py [--rounds 9] [--name attention_dropout]

12 heads of 32 (MiniLM-L6) over 3,072 tokens a batch, a fifth of each row but the first padding, dropout 0.1, forward
and backward; the ways take turns. Memory is what they keep for the backward pass, counted. Without dropout beside it,
forward only and with its backward pass: from which length on torch's kernel is the faster one. Then blocks of other
sizes. Goes on where it stopped; nothing else may run on the machine. About 4 minutes.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from arms import table
from records import describe, done, keep, same_machine, same_settings
from saved import kept_mb
from timing import side_by_side
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from slimbert.parts import blocks
from slimbert.parts.core import Explicit, additive
from slimbert.train.environment import best_dtype, gemm_tflops

TOKENS, HEADS, WIDTH = 3072, 12, 32
LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512)
RATE = 0.1
SIZES = (2**17, 2**18, 2**19, 2**20, 2**21)  # of a block, in weights

Way = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


def products(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, rate: float) -> Tensor:
    return Explicit()(q, k, v, bias, rate)[0]


def of_torch(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, rate: float) -> Tensor:
    return scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=rate)


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--name", default="attention_dropout")
    chosen = options.parse_args(argv)
    same_machine(chosen.name)
    dtype = best_dtype("cpu")
    same_settings(chosen.name, {"rounds": chosen.rounds, "dtype": dtype})
    measure = partial(measured, name=chosen.name, rounds=chosen.rounds, dtype=getattr(torch, dtype))
    without = {"products": products, "torch": of_torch}
    for length in LENGTHS:
        measure(f"{length}, dropout", without | {"blocks": blocks.attend_dropping}, length=length, rate=RATE)
        measure(f"{length}", without, length=length)
        measure(f"{length}, forward only", without, length=length, train=False)
    for length in LENGTHS:
        sizes: dict[str, Way] = {f"{size} weights": partial(sized, size) for size in SIZES}
        measure(f"{length}, blocks", sizes, length=length, rate=RATE)
    if done(chosen.name, "gemm_tflops") is None:
        keep(chosen.name, "gemm_tflops", gemm_tflops(dtype))
    describe(chosen.name, text(chosen.name))
    print(text(chosen.name))


def sized(size: int, *tensors: Any) -> Tensor:
    """Blocks of another size; the backward pass runs before the next call."""
    blocks.BLOCK = size
    return blocks.attend_dropping(*tensors)


def measured(
    key: str,
    ways: dict[str, Way],
    *,
    name: str,
    rounds: int,
    dtype: torch.dtype,
    length: int,
    rate: float = 0.0,
    train: bool = True,
) -> None:
    """Milliseconds of each way, and with gradients the MB that it keeps for its backward pass."""
    if done(name, key) is not None:
        return
    torch.manual_seed(0)
    shape = TOKENS // length, length, 3, HEADS, WIDTH
    x = torch.randn(shape, dtype=dtype, requires_grad=train)
    mask = torch.ones(shape[:2], dtype=torch.bool)
    mask[1:, length - length // 5 :] = False
    bias = additive(mask, None, None, dtype)
    assert bias is not None

    def answered(way: Way) -> Tensor:
        return way(*(part.transpose(1, 2) for part in x.unbind(dim=2)), bias, rate)

    def run(way: Way) -> None:
        with torch.set_grad_enabled(train):
            y = answered(way)
            if train:
                y.sum().backward()

    found = side_by_side({way: partial(run, call) for way, call in ways.items()}, rounds=rounds)
    said = {"milliseconds": {way: round(1000 * one["median"], 2) for way, one in found.items()}}
    if train:
        said["kept MB"] = {way: round(kept_mb(partial(answered, call)), 1) for way, call in ways.items()}
    keep(name, key, said)
    print(key, said, flush=True)


def text(name: str) -> str:
    """Lengths down, ways across: with dropout, without, without gradients; then blocks of other sizes."""
    three = ("products", "torch", "blocks")
    columns = ["tokens", *three, *(f"{way}, MB kept" for way in three)]
    lines = []
    for length in LENGTHS:
        found = done(name, f"{length}, dropout")
        cells = [*found["milliseconds"].values(), *found["kept MB"].values()]
        lines.append([str(length), *(f"{cell:.0f}" for cell in cells)])
    dropping = table(columns, lines)
    lines = []
    for length in LENGTHS:
        both = [done(name, key)["milliseconds"] for key in (f"{length}", f"{length}, forward only")]
        lines.append([str(length), *(f"{one[way]:.1f}" for one in both for way in three[:2])])
    columns = ["tokens", "products", "torch", "forward only: products", "torch"]
    without = table(columns, lines)
    sizes = [
        [str(length), *(f"{time:.0f}" for time in done(name, f"{length}, blocks")["milliseconds"].values())]
        for length in LENGTHS
    ]
    blocks_of = table(["tokens", *(f"{size:,} weights" for size in SIZES)], sizes)
    rate = done(name, "gemm_tflops")
    return (
        f"Milliseconds, medians; matrix product behind them {rate:.3f} TFLOP/s.\n\nDropout {RATE}:\n\n{dropping}\n\n"
        f"Without dropout:\n\n{without}\n\nBlocks of other sizes, dropout {RATE}:\n\n{blocks_of}"
    )


if __name__ == "__main__":
    main()
