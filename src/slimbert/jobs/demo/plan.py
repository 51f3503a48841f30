"""How large the demo is and how its encoders are trained. The numbers were chosen by trial: see docs/demo.md."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Size:
    """The defaults fit two slow cores. labelled: rows of each seed; updates: of fine-tuning a small encoder."""

    vocab: int = 4096
    seq_len: int = 64
    layers: int = 2
    dim: int = 128
    batch_size: int = 16
    lr: float = 4e-3
    labelled: int = 300
    validation: int = 200
    test: int = 1000
    seeds: int = 3
    updates: int = 240
    lr_small: float = 2e-3
    updates_minilm: int = 80
    lr_minilm: float = 2e-4


def recipe(size: Size) -> dict[str, Any]:
    """What the small encoder is pretrained by; the budget comes apart.

    With BERT's own learned positions and post-norm, a minute is over before attention finds its neighbours; rotary
    positions and pre-norm give that at once. Whole words, and 30% of them: otherwise neighbours alone tell so much of a
    hidden piece that the embeddings learn little about topics, which is what the labels ask for.
    """
    head_dim = min(64, size.dim)
    attention = {
        "kind": "attention",
        "heads": size.dim // head_dim,
        "head_dim": head_dim,
        "position": {"kind": "rotary"},
    }
    layer = {"kind": "layer", "mix": [attention, {"kind": "mlp", "hidden": 4 * size.dim}], "wiring": "pre"}
    encoder = {
        "dim": size.dim,
        "embedding": {"kind": "tokens", "max_len": size.seq_len},
        "layers": [layer] * size.layers,
        "final_norm": {"kind": "layer_norm"},
    }
    return {
        "model": {"encoder": encoder},
        "masking": {"rate": 0.3, "whole_word": True},
        "optim": {"lr": size.lr, "course": "trapezoidal", "warmup": 0.06, "cooldown": 0.3},
        "train": {
            "batch_size": size.batch_size,
            "evaluate_every": 400,
            "evaluate_rows": 512,
            "checkpoint_every": 10**9,
        },
    }


def settings(size: Size, updates: int, lr: float, dropout: float) -> tuple[str, ...]:
    """What an encoder is fine-tuned by: a fixed number of updates of 16, checked four times on validation."""
    fixed = ("epochs=1", "batch_size=16", "evaluations=4", "patience=4")
    return (*fixed, f"min_updates={updates}", f"lr={lr}", f"dropout={dropout}", f"max_len={size.seq_len}")
