"""transformers' question-answering example (`run_qa.py`): AutoModelForQuestionAnswering on questions with contexts.

Its defaults: windows of 384 pieces that share 128, of the context only; a window without the whole answer points at
its first piece; AdamW without decay, the rate falling linearly from the start, gradients clipped at norm 1; rows in
random order, with `--pad_to_max_length False`, so that DataCollatorWithPadding pads each batch to its longest row.
Answers: of the 20 best starts and ends of every window of a question, the pair of highest sum that lies in the context
and has at most 30 pieces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DataCollatorWithPadding

from slimbert.hf.peers import Precision, autocast

from .loop import batches, trained

MAX_LEN, STRIDE = 384, 128
BEST, LONGEST = 20, 30  # starts and ends that are looked at in a window; pieces of an answer
NO_ANSWER = "empty"  # what the example answers where no pair of places is allowed
READ = ("input_ids", "token_type_ids", "attention_mask")  # by the model


@dataclass(frozen=True)
class Asked:
    """Questions, their contexts and, for training, an answer of each: its text and the character at which it starts."""

    questions: Sequence[str]
    contexts: Sequence[str]
    answers: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class Window:
    """A question with a piece of its context. places: characters of each piece, None outside of the context."""

    row: int
    inputs: dict[str, list[int]]
    places: list[tuple[int, int] | None]

    def span(self, text: str, start: int) -> tuple[int, int]:
        """First and last piece of an answer; the first piece of the window twice where it does not hold all of it."""
        inside = [(piece, place) for piece, place in enumerate(self.places) if place is not None]
        end = start + len(text)
        if not inside or inside[0][1][0] > start or inside[-1][1][1] < end:
            return 0, 0
        first = max(piece for piece, place in inside if place[0] <= start)
        return first, min(piece for piece, place in inside if place[1] >= end)


def run_qa(
    folder: Path,
    train: Asked,
    test: Asked,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    precision: Precision,
    seed: int,
) -> tuple[list[str], float]:
    """(an answer to each test question, seconds of training)."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    collate = DataCollatorWithPadding(tokenizer)
    rows = []
    for window in _windows(tokenizer, train):
        first, last = window.span(*train.answers[window.row])
        rows.append({**window.inputs, "start_positions": first, "end_positions": last})
    torch.manual_seed(seed)
    model: Any = AutoModelForQuestionAnswering.from_pretrained(folder, local_files_only=True)
    way: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "precision": precision, "seed": seed}
    seconds = trained(model.float(), rows, collate, **way)
    return _answers(model, tokenizer, collate, test, precision), seconds


def padded(folder: Path, train: Asked, *, epochs: int, batch_size: int, seed: int) -> dict[str, int]:
    """How many windows the training questions have, and how many tokens all updates on them, padding counted."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    sizes = np.array([len(window.places) for window in _windows(tokenizer, train)])
    drawn = batches(len(sizes), epochs=epochs, batch_size=batch_size, seed=seed)
    return {"windows": len(sizes), "tokens": int(sum(len(index) * sizes[index].max() for index in drawn))}


def _windows(tokenizer: Any, asked: Asked) -> Iterator[Window]:
    made = tokenizer(
        [question.lstrip() for question in asked.questions],
        list(asked.contexts),
        truncation="only_second",
        max_length=MAX_LEN,
        stride=STRIDE,
        padding=False,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    for number, row in enumerate(made["overflow_to_sample_mapping"]):
        sides, offsets = made.sequence_ids(number), made["offset_mapping"][number]
        places = [tuple(place) if side == 1 else None for side, place in zip(sides, offsets, strict=True)]
        yield Window(row, {name: made[name][number] for name in READ}, places)


@torch.no_grad()
def _answers(model: Any, tokenizer: Any, collate: Any, test: Asked, precision: Precision) -> list[str]:
    model.eval()
    windows = list(_windows(tokenizer, test))
    best = [(-np.inf, NO_ANSWER)] * len(test.questions)
    order = np.argsort([len(window.places) for window in windows], kind="stable")
    for at in range(0, len(order), 32):
        some = [windows[i] for i in order[at : at + 32]]
        with autocast(model, precision):
            said = model(**collate([window.inputs for window in some]))
        starts, ends = (scores.float().numpy() for scores in (said.start_logits, said.end_logits))
        for window, start, end in zip(some, starts, ends, strict=True):
            found = _best(window, start[: len(window.places)], end[: len(window.places)], test.contexts[window.row])
            best[window.row] = max(best[window.row], found, key=lambda one: one[0])
    return [text for _, text in best]


def _best(window: Window, starts: np.ndarray, ends: np.ndarray, context: str) -> tuple[float, str]:
    """The score and the text of the best pair of places of one window."""
    found = (-np.inf, NO_ANSWER)
    for start in np.argsort(-starts)[:BEST]:
        for end in np.argsort(-ends)[:BEST]:
            first, last = window.places[start], window.places[end]
            if first is None or last is None or not 0 <= end - start < LONGEST:
                continue
            if (score := float(starts[start] + ends[end])) > found[0]:
                found = (score, context[first[0] : last[1]])
    return found
