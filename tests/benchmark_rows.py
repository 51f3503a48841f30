"""What the tests of the benchmark scripts share: a toy encoder as transformers writes it, files as the corpora are."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import BertConfig, BertModel

from jobs.small import BAD, GOOD, NEITHER, WORDS
from slimbert.data.tokenizer import TextTokenizer

SIZES = {"train": 60, "validation": 20, "test": 20}
HELD, TESTED = ("train", "validation"), ("train", "test")


def encoder(folder: Path, layers: int = 1) -> Path:
    """A BertModel with a tokenizer of the toy words."""
    torch.manual_seed(0)
    tokenizer = TextTokenizer.train([" ".join(WORDS)] * 4, 120)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def corpora(folder: Path) -> Path:
    """Every folder that the scripts of the tasks read, with the columns and the splits of the real ones."""
    draw = random.Random(0)
    for name, (made, splits) in MADE.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for split in splits:
            rows = [made(draw, row) for row in range(SIZES[split])]
            if (name, split) == ("ag_news", "train"):
                rows = [{key: row[key] for key in ("text", "label")} for row in rows]
            pq.write_table(pa.Table.from_pylist(rows), folder / name / f"{split}.parquet")
    return folder


def _text(draw: random.Random, kind: int, words: int = 8) -> str:
    """Words of which one tells the kind."""
    some = draw.choices(NEITHER, k=words)
    some[draw.randrange(len(some))] = draw.choice((BAD, GOOD)[kind])
    return " ".join(some)


def _single(draw: random.Random, row: int) -> dict[str, Any]:
    return {"sentence": _text(draw, row % 2), "label": row % 2, "idx": row}


def _review(draw: random.Random, row: int) -> dict[str, Any]:
    return {"text": _text(draw, row % 2, 600 if row % 10 == 0 else 20), "label": row % 2}


def _news(draw: random.Random, row: int) -> dict[str, Any]:
    text = f"{_text(draw, row % 2)} {WORDS[row % 4]}"
    return {"text": text, "label": row % 4, "description": text}


def _scored(draw: random.Random, row: int) -> dict[str, Any]:
    texts = {"sentence1": _text(draw, 0), "sentence2": _text(draw, row % 2)}
    return {**texts, "label": 5.0 * (1 - row % 2) if row < 2 else draw.choice((0.5, 1.5, 3.0, 4.5)), "idx": row}


def _duplicate(draw: random.Random, row: int) -> dict[str, Any]:
    return {"question1": _text(draw, 0), "question2": _text(draw, row % 2), "label": 1 - row % 2, "idx": row}


def _entailed(draw: random.Random, row: int) -> dict[str, Any]:
    return {"question": _text(draw, 0), "sentence": _text(draw, row % 2), "label": 1 - row % 2, "idx": row}


def _product(draw: random.Random, row: int) -> dict[str, Any]:
    return {"text_left": _text(draw, 0), "text_right": _text(draw, row % 2), "label": 1 - row % 2, "idx": row}


def _tagged(draw: random.Random, row: int) -> dict[str, Any]:
    words = draw.choices(NEITHER, k=6)
    place = draw.randrange(5)
    words[place : place + 2] = draw.choice(GOOD), draw.choice(BAD)
    tags = ["O"] * 6
    tags[place : place + 2] = "B-PER", "I-PER"
    return {"id": str(row), "tokens": words, "ner_tags": tags}


def _asked(draw: random.Random, row: int) -> dict[str, Any]:
    """Two questions on each paragraph, whose first word no other has; the answer is the word behind the one named."""
    words = random.Random(row // 2).sample(WORDS, k=20)
    words.insert(0, f"{WORDS[(row // 2) % 30]}{WORDS[(row // 60) % 30]}")
    place = draw.randrange(1, 18)
    start = len(" ".join(words[: place + 1])) + 1
    answers = {"text": [words[place + 1]], "answer_start": [start]}
    question = f"{words[0]} {words[place]}"
    return {
        "id": str(draw.random()),
        "title": "t",
        "context": " ".join(words),
        "question": question,
        "answers": answers,
    }


MADE = {
    "sst2": (_single, HELD),
    "imdb": (_review, TESTED),
    "ag_news": (_news, TESTED),
    "stsb": (_scored, tuple(SIZES)),
    "qqp": (_duplicate, HELD),
    "qnli": (_entailed, HELD),
    "product_match/amazon_google": (_product, tuple(SIZES)),
    "conll2003": (_tagged, HELD),
    "squad": (_asked, HELD),
}
