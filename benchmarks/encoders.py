"""The three fast encoders, side by side with transformers' and with our own BERT: inference, training, memory.

    python benchmarks/encoders.py [--rounds 7] [--only NAME ...] [--device cpu] [--compile] [--name encoders]

Every measurement is a key of the record: its arms take turns in one process, a matrix product is timed before it. In
float32, and again in bfloat16 where the hardware multiplies it; random weights and tokens, no padding. An update is
forward, backward, clipping and AdamW. Where a model of transformers stands beside ours with the same weights, both must
first give the same answer. NarrowBERT's updates are compiled, and so are those of detecting replaced tokens in one of
their two measurements; with --compile all that runs is.

The goals are those of the issue. Narrow training has two yardsticks: the FLOP ratios of the published form, of which
85% are asked for, and the ratio of multiply-adds of what really runs (our BERT leaves rows of its last layer out, our
narrow layers absorb keys and values where that is cheaper). Resumes measurement by measurement, --only by a part of
their names; nothing else may run. A measurement whose answers differ keeps the sentence that says so, the others go on,
and the exit code is 1; the next start tries it again.

About 130 minutes at 0.15 TFLOP/s in float32 with 7 rounds: 50 of narrow training with its compiling, 30 of ConvBERT
beside transformers, 15 of GroupBERT beside BERT-large, 15 of replaced tokens, 20 of the rest. It needs 12 GB.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import encoder_runs as runs
import torch
from encoder_arms import Scale, Unequal
from encoder_memory import LESS
from goals import FAILED, Figure, absent, arm_table, failures, goal_table, succeeded
from records import describe, keep, same_machine, same_settings

from slimbert.model import EncoderConfig
from slimbert.parts import absorbed, dynamic
from slimbert.train.environment import best_dtype, gemm_tflops

SHAPES = ((8, 128), (2, 512))
PRECISIONS = ("float32", "bfloat16")
# NarrowBERT spec, section 8: FLOPs of BERT over those of the narrow form, by length; beside a sparse head and a dense
PUBLISHED = {128: {"sparse": 2.33, "dense": 2.86}, 512: {"sparse": 2.38, "dense": 2.87}}
SHARE = 0.85  # of them, in time
FASTER = {("base", 128): 1.2, ("base", 512): 1.4, ("medium-small", 128): 1.4, ("medium-small", 512): 2.0}


class Measurement(NamedTuple):
    """`run(rounds)` gives the result, of which the table shows `figures`; precision: of its arms, None: the one that is
    fastest here, as in all updates."""

    run: Callable[..., dict[str, Any]]
    figures: tuple[Figure, ...]
    precision: str | None = None

    def runs_where(self, best: str) -> bool:
        """Whether the hardware, of which `best` is the fastest precision, multiplies in that of this one."""
        return self.precision in (None, "float32", best)


def measurements(scale: Scale) -> dict[str, Measurement]:
    """Everything, by name, in the order of the table."""
    out: dict[str, Measurement] = {}
    for some in (of_convbert, of_groupbert, of_narrowbert, of_replaced_tokens):
        out |= some(scale)
    return out


def of_convbert(scale: Scale) -> dict[str, Measurement]:
    out: dict[str, Measurement] = {}
    for precision in PRECISIONS:
        for size in ("base", "medium-small", "small"):
            for rows, length in SHAPES:
                least = FASTER.get((size, length)) if precision == "float32" else None
                faster = Figure(field="times_as_fast", said="times as fast as transformers", least=least)
                apart = Figure(field="difference", said="largest difference of the answers, float32")
                run = partial(
                    runs.convbert_inference, scale=scale, size=size, rows=rows, length=length, precision=precision
                )
                key = f"ConvBERT {size} inference {rows}x{length} {precision}"
                out[key] = Measurement(run, (faster, apart) if precision == "float32" else (faster,), precision)
    for size, rows, least in (("small", 32, 3.0), ("base", 8, None)):
        run = partial(runs.convbert_training, scale=scale, size=size, rows=rows)
        figures = [
            Figure(field="times_as_fast", said="times as fast as transformers", least=least),
            Figure(field="times_as_fast_without", said="times as fast as transformers without all three"),
        ]
        split = {
            f"share: {name}": f"share of transformers' update that is gone: {name}" for name in (*runs.PARTS, "all")
        }
        figures += [Figure(field=field, said=said) for field, said in split.items()]
        out[f"ConvBERT {size} training {rows}x128"] = Measurement(run, tuple(figures))
    pair = {
        name: scale.encoder(f"{scale.layers}{{{letters}}}")
        for name, letters in (("ConvBERT base", "mf"), ("BERT base", "sf"))
    }
    out |= _beside(scale, pair, {128: 1.05, 512: 1.0}, None)
    for rows, length in ((32, 128), (8, 512)):
        share = Figure(
            field="of_transformers", said="share of the memory of transformers", most=0.6 if length == 512 else None
        )
        run = partial(runs.memory, scale=scale, rows=rows, length=length)
        figures = [share, Figure(field="of_bert", said="times the memory of our BERT")]
        figures += [Figure(field=f"of: {arm}", said=f"share of the memory of {arm}") for arm in LESS]
        out[f"ConvBERT small, memory of training {rows}x{length}"] = Measurement(run, tuple(figures))
    return out


def of_groupbert(scale: Scale) -> dict[str, Measurement]:
    layers, dim = scale.large
    grouped, large = scale.encoder(f"{scale.layers}{{cgsg}}"), scale.encoder(f"{layers}{{sf}}", dim=dim)
    return _beside(scale, {"GroupBERT base": grouped, "BERT large": large}, {128: 0.55, 512: 0.55}, 0.60)


def of_narrowbert(scale: Scale) -> dict[str, Measurement]:
    out: dict[str, Measurement] = {}
    behind = scale.layers - 2
    queries = scale.encoder(f"2{{sf}}:{behind}{{sf}}")
    for precision in PRECISIONS:
        for (rows, length), least in {(8, 128): 3.5, (2, 512): 4.5, (1, 128): None, (1, 512): None}.items():
            run = partial(
                runs.narrow_inference, scale=scale, narrow=queries, rows=rows, length=length, precision=precision
            )
            figures = (
                _faster("times_as_fast", "BERT", least if precision == "float32" else None),
                _faster("times_as_fast_as_all_rows", "BERT with all rows of its last layer", None),
                _counted("multiply_add_ratio", "BERT"),
            )
            key = f"NarrowBERT 2, sentence inference {rows}x{length} {precision}"
            out[key] = Measurement(run, figures, precision)
    for length, published in PUBLISHED.items():
        run = partial(runs.narrow_training, scale=scale, narrow=queries, length=length, compiled=scale.graphs)
        figures = tuple(
            figure
            for head, flops in published.items()
            for figure in (
                _faster(f"times_as_fast_{head}", f"BERT, {head} head; published FLOP ratio {flops}", SHARE * flops),
                _counted(f"multiply_add_ratio_{head}", f"BERT, {head} head"),
            )
        )
        out[f"NarrowBERT 2 training {length}"] = Measurement(run, figures)
    context = scale.encoder(f"2{{sf}},{behind}{{s}}:{behind}{{f}}")
    for length, least in ((128, 1.5), (512, 1.4)):
        run = partial(runs.narrow_training, scale=scale, narrow=context, length=length, compiled=scale.graphs)
        figures = (
            _faster("times_as_fast_sparse", "BERT, sparse head", least),
            _faster("times_as_fast_dense", "BERT, dense head", None),
            _counted("multiply_add_ratio_sparse", "BERT, sparse head"),
        )
        out[f"context first 2 training {length}"] = Measurement(run, figures)
    pair = {f"2{{mf}}:10{{{letters}}}": scale.encoder(f"2{{mf}}:{behind}{{{letters}}}") for letters in ("mf", "sf")}
    name = " over ".join(pair)
    for rows, length in ((32, 128), (8, 512)):
        run = partial(runs.two_updates, scale=scale, pair=pair, rows=rows, length=length)
        out[f"{name}, training {rows}x{length}"] = Measurement(run, _ratios(None))
    for rows, length in SHAPES:
        shape: dict[str, Any] = {"rows": rows, "length": length, "precision": "float32", "wanted": 1}
        run = partial(runs.two_inferences, scale=scale, pair=pair, **shape)
        out[f"{name}, sentence inference {rows}x{length} float32"] = Measurement(run, _ratios(None), "float32")
    return out


def of_replaced_tokens(scale: Scale) -> dict[str, Measurement]:
    said = {
        "narrow_over_wide": "a wide generator",
        "narrow_over_masked_lm": "masked LM",
        "narrow_over_theirs": "a transformers ELECTRA loop",
        "narrow_over_tuned": "the same without dropout, compiled where ours is",
    }
    figures = [
        Figure(field=field, said=f"narrow generator: times the tokens/s of {other}") for field, other in said.items()
    ]
    figures.append(Figure(field="wide_over_masked_lm", said="wide generator: times the tokens/s of masked LM"))
    out = {}
    for mode in ("eager", "compiled"):
        compiled = mode == "compiled" and scale.graphs
        run = partial(runs.replaced_tokens, scale=scale, rows=32, compiled=compiled)
        out[f"replaced tokens, small 32x128, {mode}"] = Measurement(run, tuple(figures))
    return out


def _beside(
    scale: Scale, pair: dict[str, EncoderConfig], inference: dict[int, float], training: float | None
) -> dict[str, Measurement]:
    """Time of one of our encoders over that of another, at most so much, by length."""
    out, name = {}, " over ".join(pair)
    for precision in PRECISIONS:
        for rows, length in SHAPES:
            shape: dict[str, Any] = {"rows": rows, "length": length, "precision": precision}
            run = partial(runs.two_inferences, scale=scale, pair=pair, **shape)
            most = inference[length] if precision == "float32" else None
            out[f"{name}, inference {rows}x{length} {precision}"] = Measurement(run, _ratios(most), precision)
    for rows, length in SHAPES:
        run = partial(runs.two_updates, scale=scale, pair=pair, rows=rows, length=length)
        out[f"{name}, training {rows}x{length}"] = Measurement(run, _ratios(training))
    return out


def _ratios(most: float | None) -> tuple[Figure, ...]:
    return (
        Figure(field="time_ratio", said="time over that of the other", most=most),
        Figure(field="multiply_add_ratio", said="multiply-adds over those of the other"),
    )


def _faster(field: str, than: str, least: float | None) -> Figure:
    return Figure(field=field, said=f"times as fast as {than}", least=least)


def _counted(field: str, than: str) -> Figure:
    return Figure(field=field, said=f"multiply-adds of {than} over its own")


def main(argv: Sequence[str] | None = None, *, scale: Scale | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7, metavar="N", help="of every measurement (7)")
    options.add_argument("--only", nargs="*", default=[""], metavar="NAME", help="those whose name holds one of these")
    options.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    options.add_argument("--compile", action="store_true", help="everything, not the narrow updates alone")
    options.add_argument("--name", default="encoders", help="folder below benchmarks/records (encoders)")
    chosen = options.parse_args(argv)
    scale = scale or Scale(device=chosen.device, compile=chosen.compile)
    same_machine(chosen.name)
    settings = {"device": scale.device, "compile": scale.compile, "layers": scale.layers}
    same_settings(chosen.name, settings | constants())
    found, precision, wrong = measurements(scale), best_dtype(scale.device), []
    for key, one in found.items():
        wanted = any(word in key for word in chosen.only) and not succeeded(chosen.name, key)
        if wanted and one.runs_where(precision):
            torch.compiler.reset()  # beyond eight graphs of a function torch runs it eagerly, without a word
            rate = gemm_tflops(one.precision or precision, device=scale.device)
            try:
                made = one.run(chosen.rounds) | {"gemm_tflops": rate, "rounds": chosen.rounds}
            except Unequal as error:
                made = {FAILED: str(error)}
                wrong.append(key)
            keep(chosen.name, key, made)
            describe(chosen.name, text(chosen.name, found, precision))
            shown = made if FAILED in made else {figure.said: made[figure.field] for figure in one.figures}
            print(f"{key}: {json.dumps(shown)}", flush=True)
    describe(chosen.name, text(chosen.name, found, precision))
    if wrong:
        sys.exit(f"failed: {'; '.join(wrong)}")


def constants() -> dict[str, float]:
    """What decides which products our encoders run: with another value the times are of another program."""
    return {
        "rows of a band": dynamic.BLOCK,
        "banded from": dynamic.BANDED_FROM,
        "price": absorbed.PRICE,
        "price without gradients": absorbed.PRICE_WITHOUT_GRADIENTS,
    }


def text(name: str, found: dict[str, Measurement], precision: str) -> str:
    """The tables of the record, whole or not."""
    figures = {key: one.figures for key, one in found.items() if one.runs_where(precision)}
    said = [f"Updates in {precision}; medians of the ratios within a round.", goal_table(name, figures)]
    if left := len(found) - len(figures):
        said.append(f"{left} measurements in bfloat16 are left out: this hardware does not multiply it.")
    said += [arm_table(name, list(figures)), failures(name, figures), absent(name, figures)]
    return "\n\n".join(part for part in said if part)


if __name__ == "__main__":
    main()
