"""sentence-transformers as its documentation trains it: a bi-encoder on scored pairs, a cross-encoder on labelled ones.

The bi-encoder: SentenceTransformerTrainer with CosineSimilarityLoss (the example on the STS benchmark). The
cross-encoder: CrossEncoderTrainer with BinaryCrossEntropyLoss and one output (the example on Quora's questions).
Both with Trainer's defaults, a tenth of the updates to warm up, each batch padded to its longest row, bfloat16 where
the hardware has it. Texts are tokenized inside the training, batch by batch.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

from slimbert.hf.peers import Precision

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How both are trained."""

    epochs: int
    batch_size: int
    lr: float
    max_len: int
    precision: Precision
    seed: int

    def arguments(self, folder: str) -> dict[str, Any]:
        return {
            "output_dir": folder,
            "num_train_epochs": self.epochs,
            "per_device_train_batch_size": self.batch_size,
            "learning_rate": self.lr,
            "warmup_steps": 0.1,  # a share, if it is below 1
            "bf16": self.precision == "bfloat16",
            "use_cpu": True,
            "seed": self.seed,
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }


def bi_encoder(folder: Path, pairs: Pairs, scores: np.ndarray, test: Pairs, way: Way) -> tuple[np.ndarray, float]:
    """scores: [N] from 0 to 1. (The cosine of each test pair, seconds of training.)"""
    torch.manual_seed(way.seed)
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    model.max_seq_length = way.max_len
    with tempfile.TemporaryDirectory() as made:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(**way.arguments(made)),
            train_dataset=_rows(pairs, [float(score) for score in scores]),
            loss=CosineSimilarityLoss(model),
        )
        seconds = _timed(trainer)
    first, second = (
        model.encode([pair[side] for pair in test], normalize_embeddings=True, show_progress_bar=False)
        for side in (0, 1)
    )
    return (first * second).sum(axis=1), seconds


def cross_encoder(folder: Path, pairs: Pairs, labels: np.ndarray, test: Pairs, way: Way) -> tuple[np.ndarray, float]:
    """labels: [N] 0 or 1. (The probability of 1 of each test pair, seconds of training.)"""
    torch.manual_seed(way.seed)
    model = CrossEncoder(str(folder), num_labels=1, max_length=way.max_len, device="cpu", local_files_only=True)
    with tempfile.TemporaryDirectory() as made:
        trainer = CrossEncoderTrainer(
            model=model,
            args=CrossEncoderTrainingArguments(**way.arguments(made)),
            train_dataset=_rows(pairs, [int(label) for label in labels]),
            loss=BinaryCrossEntropyLoss(model),
        )
        seconds = _timed(trainer)
    return model.predict([list(pair) for pair in test], show_progress_bar=False), seconds


def _rows(pairs: Pairs, labels: Sequence[float]) -> Dataset:
    first, second = zip(*pairs, strict=True)
    return Dataset.from_dict({"sentence1": list(first), "sentence2": list(second), "label": list(labels)})


def _timed(trainer: Any) -> float:
    """Trainer's own time of the updates: its setting up, a second or two, is left out in favour of the other side."""
    return float(trainer.train().metrics["train_runtime"])
