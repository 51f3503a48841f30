"""Peak memory of an update of one arm above weights and moments; `encoders.py` starts this once for each.

    python benchmarks/encoder_memory.py ARM ROWS LENGTH SCALE

ARM: one of ARMS, all of the small shape and with a token table of one width. SCALE: a `Scale` as JSON.
Prints MB (2^20 bytes). On a CPU the arm has a process of its own, since memory that was freed is not given back.
"""

import json
import subprocess
import sys
from dataclasses import asdict

import psutil
import torch
from encoder_arms import Scale, convbert_config, masked, ours, their_update, update
from resident import peak_mb

from slimbert.hf.peers_convbert import convbert
from slimbert.model.heads import MaskedLmConfig

LESS = {  # transformers' ConvBERT without what is not ConvBERT, and then without its unfold
    "transformers, head on predicted rows": {"chosen": True},
    "transformers, head on predicted rows, our convolution": {"chosen": True, "convolved": True},
}
THEIRS: dict[str, dict[str, bool]] = {"transformers": {}} | LESS
OURS = {"ConvBERT": "mf", "BERT": "sf"}
ARMS = (*THEIRS, *OURS)


def apart(arm: str, rows: int, length: int, scale: Scale) -> float:
    """`peak`, in a process of its own."""
    words = [sys.executable, __file__, arm, str(rows), str(length), json.dumps(asdict(scale))]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return float(said.strip().splitlines()[-1])


def peak(arm: str, rows: int, length: int, scale: Scale) -> float:
    """MB that an update of `rows` takes above what is held behind an update of one short row: weights and moments, on a
    CPU also what the allocator kept of the rest. Gradients are not held between updates: they are part of what an
    update takes."""
    batch = masked(scale, 1, 16)
    if arm in THEIRS:
        run = their_update(scale, convbert(convbert_config("small", scale), **THEIRS[arm]), batch)
    else:
        small = scale.encoder(f"{scale.layers}{{{OURS[arm]}}}", dim=scale.small, table=scale.table)
        run = update(scale, ours(scale, small, MaskedLmConfig(), length=length), batch)
    run()
    before = held(scale)
    batch |= masked(scale, rows, length)  # the arm holds this mapping
    run()
    return most(scale) - before


def held(scale: Scale) -> float:
    """MB in use now; the peak counts from here on where the device can say so."""
    if scale.device == "cpu":
        return float(psutil.Process().memory_info().rss / 2**20)
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 2**20


def most(scale: Scale) -> float:
    """MB at the peak: on a CPU that of the process, which making the model reaches only where the batch is tiny."""
    if scale.device == "cpu":
        return peak_mb()
    return torch.cuda.max_memory_allocated() / 2**20


if __name__ == "__main__":
    said = json.loads(sys.argv[4])
    print(peak(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Scale(**{**said, "large": tuple(said["large"])})))
