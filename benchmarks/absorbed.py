"""Absorbed against projected keys and values: time by kept rows, length and width, and the constant of the rule.

    python benchmarks/absorbed.py [--seconds 0.5] [--device cpu] [--dtype float32] [--name absorbed]

For each shape one attention that reads a memory runs both ways in turn, forward only and with its backward pass; a
figure is the median of the rounds. Then the constants of parts/absorbed.py are chosen, one with gradients and one
without: those with which the rule takes least time over all shapes. Last, ten layers that read one memory, with their
keys and values in one product and in ten. Goes on where it stopped; nothing else may run on the machine.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from records import done, keep, same_machine, same_settings

from slimbert.model import ModelConfig, fresh, presets
from slimbert.parts import absorbed
from slimbert.parts.attention import Attention, AttentionConfig
from slimbert.state import Context, pick
from slimbert.train.environment import best_dtype, gemm_tflops

TOKENS = 4096  # of a batch
ROWS = (1, 4, 8, 16, 24, 32, 48, 64, 96)
LENGTHS = (128, 512)
HEADS = (4, 12)  # of 64: widths 256 and 768
PRICES = [round(0.25 * 1.1**step, 3) for step in range(40)]


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=0.5, help="of each way of each shape, about")
    options.add_argument("--device", default="cpu")
    options.add_argument("--dtype", default="", help="float32 or bfloat16; the faster one here if not given")
    options.add_argument("--name", default="absorbed")
    chosen = options.parse_args(argv)
    same_machine(chosen.name)
    same_settings(chosen.name, {"device": chosen.device})
    dtype = chosen.dtype or best_dtype(chosen.device)
    place: dict[str, Any] = {"device": chosen.device, "dtype": getattr(torch, dtype)}
    for train in (False, True):
        for heads in HEADS:
            for length in LENGTHS:
                for rows in (rows for rows in ROWS if rows < length):
                    key = f"{dtype} {'training' if train else 'inference'} heads {heads} length {length} rows {rows}"
                    if done(chosen.name, key) is None:
                        shape = {"rows": rows, "length": length, "heads": heads}
                        found = both(**shape, train=train, seconds=chosen.seconds, **place)
                        keep(chosen.name, key, shape | {"train": train, "dtype": dtype} | found)
                        print(key, done(chosen.name, key), flush=True)
            key = f"{dtype} {'training' if train else 'inference'} heads {heads} ten layers"
            if done(chosen.name, key) is None:
                keep(chosen.name, key, layers(heads=heads, train=train, seconds=chosen.seconds, **place))
                print(key, done(chosen.name, key), flush=True)
    keep(chosen.name, f"{dtype} rule", rule(chosen.name, dtype))
    keep(chosen.name, f"{dtype} gemm_tflops", gemm_tflops(dtype, device=chosen.device))
    print(json.dumps(done(chosen.name, f"{dtype} rule"), indent=1))


def both(
    *, rows: int, length: int, heads: int, train: bool, seconds: float, device: str, dtype: torch.dtype
) -> dict[str, float]:
    """Milliseconds of one attention over a batch of TOKENS tokens, with keys and values projected and absorbed."""
    dim = 64 * heads
    torch.manual_seed(0)
    mixer = Attention(AttentionConfig(heads=heads), dim).to(device, dtype)
    memory = torch.randn(TOKENS // length, length, dim, device=device, dtype=dtype, requires_grad=train)
    places = torch.rand(len(memory), length, device=device).argsort(dim=1)[:, :rows]

    def run(absorb: bool) -> None:
        mixer.absorb = absorb
        with torch.set_grad_enabled(train):
            y = mixer(pick(memory, places), Context(memory, None, places))
            if train:
                y.sum().backward()

    ways = {"projected": lambda: run(False), "absorbed": lambda: run(True)}
    return milliseconds(ways, seconds=seconds, device=device)


def layers(*, heads: int, train: bool, seconds: float, device: str, dtype: torch.dtype) -> dict[str, float]:
    """Milliseconds of ten layers that keep 64 of 128 rows, with one product for all keys and values, or with ten."""
    encoder = presets.from_pattern("f:10{sf}", dim=64 * heads, vocab=1000)
    model = fresh(ModelConfig(encoder=encoder), 0).to(device, dtype).train(train)
    ids = torch.zeros(TOKENS // 128, 128, dtype=torch.long, device=device)
    places = torch.arange(64, device=device).expand(len(ids), -1)

    def run(joins: bool) -> None:
        model.encoder.joins = joins
        with torch.set_grad_enabled(train):
            x = model.encoder(ids, select=places).state.x
            if train:
                x.sum().backward()

    return milliseconds({"ten": lambda: run(False), "one": lambda: run(True)}, seconds=seconds, device=device)


def milliseconds(ways: dict[str, Callable[[], None]], *, seconds: float, device: str) -> dict[str, float]:
    """The median time of each way; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()
    end = time.perf_counter() + seconds * len(ways)
    while time.perf_counter() < end or len(next(iter(times.values()))) < 5:
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in times.items()}


def rule(name: str, dtype: str) -> dict[str, dict[str, float]]:
    """The price with gradients (training) and without (inference), and what the rule costs with it over all shapes: how
    much longer it takes than the faster way, in the mean and at worst."""
    now = {"inference": absorbed.PRICE_WITHOUT_GRADIENTS, "training": absorbed.PRICE}
    out: dict[str, dict[str, float]] = {}
    for kind, used in now.items():
        keys = [
            f"{dtype} {kind} heads {heads} length {length} rows {rows}"
            for heads in HEADS for length in LENGTHS for rows in ROWS if rows < length
        ]  # fmt: skip
        found = [done(name, key) for key in keys]
        price = min(PRICES, key=lambda one: regret(found, one))
        out[kind] = {"price": price, **dict(zip(("mean regret", "worst regret"), regret(found, price), strict=True))}
        with_code = dict(zip(("mean regret with it", "worst regret with it"), regret(found, used), strict=True))
        out[kind] |= {"price in the code": used, **with_code}
    return out


def regret(found: Sequence[dict[str, Any]], price: float) -> tuple[float, float]:
    """How much longer the rule takes than the faster way, in the mean and at worst."""
    taken = [one["absorbed" if _pays(one, price) else "projected"] for one in found]
    best = [min(one["absorbed"], one["projected"]) for one in found]
    over = [a / b - 1 for a, b in zip(taken, best, strict=True)]
    return statistics.mean(over), max(over)


def _pays(one: dict[str, Any], price: float) -> bool:
    width, rows = 64 * one["heads"], one["rows"]
    sizes = {"length": one["length"], "dim": width, "heads": one["heads"], "width": width}
    return absorbed.pays(rows=rows, price=price, **sizes)


if __name__ == "__main__":
    main()
