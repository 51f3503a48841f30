"""transformers' token-classification example (`run_ner.py`): AutoModelForTokenClassification on lists of words.

Its defaults: the first piece of a word bears the tag, all others -100; DataCollatorForTokenClassification pads each
batch to its longest row; rows in random order; AdamW without decay, the rate falling linearly from the start,
gradients clipped at norm 1. Predictions are the best tag of each first piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification

from slimbert.hf.peers import Precision, autocast

from .loop import trained


@dataclass(frozen=True)
class Tagged:
    """Words of each row and, for training, the number of each word's tag."""

    words: Sequence[Sequence[str]]
    tags: Sequence[np.ndarray]


def run_ner(
    folder: Path,
    train: Tagged,
    test: Tagged,
    *,
    classes: int,
    epochs: int,
    batch_size: int,
    lr: float,
    precision: Precision,
    seed: int,
) -> tuple[list[np.ndarray], float]:
    """(the predicted tag of each word of each test row, seconds of training)."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    collate = DataCollatorForTokenClassification(tokenizer)
    rows = [_encoded(tokenizer, *row) for row in zip(train.words, train.tags, strict=True)]
    torch.manual_seed(seed)
    model: Any = AutoModelForTokenClassification.from_pretrained(folder, num_labels=classes, local_files_only=True)
    way: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "precision": precision, "seed": seed}
    seconds = trained(model.float(), rows, collate, **way)
    return _predicted(model, tokenizer, collate, test, precision), seconds


def _encoded(tokenizer: Any, words: Sequence[str], tags: Sequence[int]) -> dict[str, list[int]]:
    made = tokenizer(list(words), is_split_into_words=True, truncation=True, max_length=512)
    word_ids = made.word_ids()
    first = [word is not None and word != before for before, word in zip([None, *word_ids], word_ids)]
    labels = [int(tags[word]) if begins else -100 for word, begins in zip(word_ids, first, strict=True)]
    return {"input_ids": made["input_ids"], "attention_mask": made["attention_mask"], "labels": labels}


@torch.no_grad()
def _predicted(model: Any, tokenizer: Any, collate: Any, test: Tagged, precision: Precision) -> list[np.ndarray]:
    model.eval()
    rows = [_encoded(tokenizer, words, tags) for words, tags in zip(test.words, test.tags, strict=True)]
    out: list[np.ndarray] = [np.zeros(0, np.int64)] * len(rows)
    order = np.argsort([len(row["input_ids"]) for row in rows], kind="stable")
    for first in range(0, len(order), 64):
        index = order[first : first + 64]
        batch = dict(collate([rows[i] for i in index]))
        labels = batch.pop("labels").numpy()
        with autocast(model, precision):
            best = model(**batch).logits.argmax(-1).numpy()
        for row, i in enumerate(index):
            out[i] = best[row][labels[row] != -100]
    return out
