"""The three fast encoders, side by side with transformers' and with our own BERT: inference, training, memory.

    python benchmarks/encoders.py [--rounds 7] [--only NAME ...] [--name encoders]

Every line of the table is one measurement of its own, interleaved, in float32 (and again in bfloat16 where the
processor multiplies it); random weights and tokens, no padding. Training is a whole update: forward, backward,
clipping, AdamW. Resumes measurement by measurement; nothing else may run.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import psutil
import torch
from records import done, keep, same_machine
from timing import Run, ratio, side_by_side
from torch import Tensor, nn
from transformers import ConvBertConfig, ConvBertForMaskedLM, ConvBertModel

from slimbert.hf import convert, peers
from slimbert.model import Model, ModelConfig, fresh
from slimbert.model.cost import cost
from slimbert.model.heads import MaskedLmConfig, SequenceConfig
from slimbert.model.presets import PRESETS, from_pattern
from slimbert.train.engine import choose_core, engine
from slimbert.train.environment import best_dtype, gemm_tflops
from slimbert.train.loop import train
from slimbert.train.objectives import MaskedLm
from slimbert.train.optim import OptimConfig, adamw

SHAPES = {"8x128": (8, 128), "2x512": (2, 512)}
CONVBERT = {
    "base": ConvBertConfig(),
    "medium-small": ConvBertConfig(
        embedding_size=128, hidden_size=384, num_attention_heads=8, intermediate_size=1536, num_groups=2
    ),
    "small": ConvBertConfig(embedding_size=128, hidden_size=256, num_attention_heads=4, intermediate_size=1024),
}
RATE = 0.15  # of predicted positions
Measure = Callable[[int], dict[str, Any]]


def tokens(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(1000, 30000, (rows, length), generator=torch.Generator().manual_seed(seed))


def masked(rows: int, length: int, seed: int = 0) -> dict[str, Tensor]:
    """A masked-LM batch of random tokens."""
    ids, few = tokens(rows, length, seed), round(RATE * length)
    order = torch.rand(rows, length, generator=torch.Generator().manual_seed(seed)).topk(few).indices
    positions = order.sort(dim=1).values
    labels = ids.gather(1, positions)
    made = {"positions": positions, "labels": labels, "weights": torch.ones(labels.shape)}
    return {"input_ids": ids.scatter(1, positions, 103), **made}


def ours(encoder: Any, head: Any = None, length: int = 128) -> Model:
    model = fresh(ModelConfig(encoder=encoder, head=head), 0).eval()
    choose_core(model, "auto", device="cpu", length=length)
    return model


def inference(model: nn.Module, ids: Tensor, precision: str, **options: Any) -> Run:
    """One forward pass without gradients."""

    def run() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            model(ids, **options)

    return run


def update(encoder: Any, batch: dict[str, Tensor], *, compiled: bool = False) -> Run:
    """One update of our masked-LM training."""
    model = ours(encoder, MaskedLmConfig(), batch["input_ids"].shape[1]).train()
    objective = MaskedLm(model)
    accelerator = engine(device="cpu", precision="auto")
    optimizer = adamw(objective, OptimConfig())
    loop: Iterator[Any] = train(objective, cycle([batch]), optimizer, accelerator=accelerator, compiled=compiled)
    return lambda: next(loop)


def stock(config: ConvBertConfig, batch: dict[str, Tensor], *, dropout: float = 0.1) -> Run:
    """One update of transformers' ConvBERT, as its example trains it."""
    config = ConvBertConfig(
        **{**config.to_dict(), "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    )
    step = peers.updates(ConvBertForMaskedLM(config), precision=best_dtype("cpu"))
    return lambda: step(peers.stock_batch(batch))


def convbert_inference(size: str, shape: str, precision: str) -> Measure:
    """transformers' ConvBERT and ours, with the same weights."""

    def measure(rounds: int) -> dict[str, Any]:
        theirs = ConvBertModel(CONVBERT[size]).eval()
        with tempfile.TemporaryDirectory() as folder:
            theirs.save_pretrained(folder)
            made = convert.read(folder)[0].eval()
        rows, length = SHAPES[shape]
        choose_core(made, "auto", device="cpu", length=length)
        ids = tokens(rows, length)
        arms = {"transformers": inference(theirs, ids, precision), "slimbert": inference(made, ids, precision)}
        found = side_by_side(arms, rounds=rounds)
        return found | {"times_as_fast": ratio(found, "transformers", "slimbert")}

    return measure


def convbert_training(size: str, rows: int) -> Measure:
    """transformers' ConvBERT as it is and without dropout, and ours."""

    def measure(rounds: int) -> dict[str, Any]:
        batch = masked(rows, 128)
        encoder = PRESETS[f"convbert_{size.replace('-', '_')}"]()
        arms = {
            "transformers": stock(CONVBERT[size], batch),
            "transformers without dropout": stock(CONVBERT[size], batch, dropout=0.0),
            "slimbert": update(encoder, batch),
        }
        found = side_by_side(arms, rounds=rounds, warm=1)
        return found | {
            "times_as_fast": ratio(found, "transformers", "slimbert"),
            "times_as_fast_without_dropout": ratio(found, "transformers without dropout", "slimbert"),
        }

    return measure


def two_encoders(first: str, second: str, shape: str, *, training: bool = False, precision: str = "float32") -> Measure:
    """Time of `first` over that of `second`, both ours."""

    def measure(rounds: int) -> dict[str, Any]:
        rows, length = SHAPES[shape]
        if training:
            arms = {name: update(PRESETS[name](), masked(rows, length)) for name in (first, second)}
        else:
            ids = tokens(rows, length)
            arms = {name: inference(ours(PRESETS[name](), length=length), ids, precision) for name in (first, second)}
        found = side_by_side(arms, rounds=rounds, warm=1)
        return found | {"time_ratio": ratio(found, first, second)}

    return measure


def narrow_training(pattern: str, length: int) -> Measure:
    """Our BERT of base size with the same sparse head, and its narrow form, compiled; 4,096 tokens an update."""

    def measure(rounds: int) -> dict[str, Any]:
        batch = masked(4096 // length, length)
        made = {"12{sf}": base("12{sf}"), pattern: base(pattern)}
        arms = {name: update(encoder, batch, compiled=True) for name, encoder in made.items()}
        found = side_by_side(arms, rounds=rounds, warm=1)
        few = batch["positions"].shape[1]
        macs = {
            name: sum(
                part.macs for part in cost(ModelConfig(encoder=one, head=MaskedLmConfig()), length=length, keep=few)
            )
            for name, one in made.items()
        }
        return found | {
            "times_as_fast": ratio(found, "12{sf}", pattern),
            "multiply_add_ratio": macs["12{sf}"] / macs[pattern],
        }

    return measure


def narrow_inference(pattern: str, rows: int, length: int, precision: str) -> Measure:
    """Sentence classification with one row kept, beside our own BERT."""

    def measure(rounds: int) -> dict[str, Any]:
        ids = tokens(rows, length)
        head = SequenceConfig(labels=("a", "b"))
        select = torch.zeros(rows, 1, dtype=torch.long)
        arms = {
            "12{sf}, all rows": inference(ours(base("12{sf}"), head, length), ids, precision),
            "12{sf}": inference(ours(base("12{sf}"), head, length), ids, precision, select=select),
            pattern: inference(ours(base(pattern), head, length), ids, precision, select=select),
        }
        found = side_by_side(arms, rounds=rounds)
        return found | {
            "times_as_fast": ratio(found, "12{sf}", pattern),
            "times_as_fast_as_all_rows": ratio(found, "12{sf}, all rows", pattern),
        }

    return measure


def base(pattern: str) -> Any:
    return from_pattern(pattern, dim=768)


def memory(rows: int, length: int) -> Measure:
    """Peak memory of an update above what weights, gradients and moments take, each arm in a process of its own."""

    def measure(rounds: int) -> dict[str, Any]:
        peaks = {}
        for arm in ("transformers", "convbert_small", "bert_deep_small"):
            words = [sys.executable, __file__, "--peak", arm, str(rows), str(length)]
            said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            peaks[arm] = json.loads(said.strip().splitlines()[-1])
        return {"megabytes": peaks, "share_of_transformers": peaks["convbert_small"] / peaks["transformers"]}

    return measure


def peak(arm: str, rows: int, length: int) -> float:
    """MB that an update of `rows` takes above what the process holds after an update of one short row."""
    batch = masked(1, 16)
    run = stock(CONVBERT["small"], batch) if arm == "transformers" else update(PRESETS[arm](), batch)
    run()
    before = psutil.Process().memory_info().rss
    batch |= masked(rows, length)  # the arm holds this mapping
    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before / 2**20


def measurements() -> dict[str, Measure]:
    """Everything, by name, in the order of the table."""
    out: dict[str, Measure] = {}
    precisions = ["float32", *(["bfloat16"] if best_dtype("cpu") == "bfloat16" else [])]
    for precision in precisions:
        for size in ("base", "medium-small", "small"):
            for shape in SHAPES:
                key = f"ConvBERT {size} inference {shape} {precision}"
                out[key] = convbert_inference(size, shape, precision)
        for shape in SHAPES:
            key = f"ConvBERT base over BERT base, inference {shape} {precision}"
            out[key] = two_encoders("convbert_base", "bert_base", shape, precision=precision)
            key = f"GroupBERT base over BERT large, inference {shape} {precision}"
            out[key] = two_encoders("groupbert_base", "bert_large", shape, precision=precision)
        for rows, length in ((8, 128), (2, 512), (1, 128), (1, 512)):
            key = f"NarrowBERT 2, sentence inference {rows}x{length} {precision}"
            out[key] = narrow_inference("2{sf}:10{sf}", rows, length, precision)
    out["ConvBERT small training 64x128"] = convbert_training("small", 64)
    out["ConvBERT base training 8x128"] = convbert_training("base", 8)
    out["ConvBERT base over BERT base, training 8x128"] = two_encoders(
        "convbert_base", "bert_base", "8x128", training=True
    )
    out["GroupBERT base over BERT large, training 8x128"] = two_encoders(
        "groupbert_base", "bert_large", "8x128", training=True
    )
    for rows, length in ((32, 128), (8, 512)):
        out[f"ConvBERT small, memory of training {rows}x{length}"] = memory(rows, length)
    for length in (128, 512):
        out[f"NarrowBERT 2 training {length}"] = narrow_training("2{sf}:10{sf}", length)
        out[f"context first 2 training {length}"] = narrow_training("2{sf},10{s}:10{f}", length)
    return out


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        print(json.dumps(peak(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
        return
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", nargs="*", default=[""], help="measurements whose name contains one of these")
    options.add_argument("--name", default="encoders")
    chosen = options.parse_args()
    same_machine(chosen.name)
    for key, measure in measurements().items():
        if done(chosen.name, key) is None and any(word in key for word in chosen.only):
            made = measure(chosen.rounds) | {"gemm_tflops": gemm_tflops(best_dtype("cpu"))}
            keep(chosen.name, key, made)
            shown = {name: value for name, value in made.items() if isinstance(value, float)}
            print(f"{key}: {json.dumps(shown)}", flush=True)


if __name__ == "__main__":
    main()
