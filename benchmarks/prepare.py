"""Tokens per second of `slimbert prepare` beside the tokenize-and-group step of transformers' run_mlm.py.

    python benchmarks/prepare.py CORPUS [--tokenizer DIR] [--megabytes 16] [--rounds 5] [--workers 2] [--name prepare]

Both get the same parquet file of texts, the same tokenizer and as many processes, and write what they make to disk,
caches off. They take turns; the medians of the rounds are compared, of the wall clock and of the processor's time
(which other work on the machine disturbs less). Tokens are counted alike: pieces, without special ones. Resumes turn
by turn.
run_mlm.py: github.com/huggingface/transformers, examples/pytorch/language-modeling; its default mode (no
`--line_by_line`): `datasets.map(batched=True, num_proc=N)` with `return_special_tokens_mask`, then `group_texts`.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from records import done, keep, same_machine

from slimbert.data.prepare import prepare
from slimbert.data.readers import documents
from slimbert.data.tokenizer import TextTokenizer

SEQ_LEN = 128


def run_mlm(file: Path, tokenizer_folder: Path, workers: int, cache: Path) -> float:
    """Seconds of the two maps of run_mlm.py, as its main function has them."""
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    raw = load_dataset("parquet", data_files={"train": str(file)}, cache_dir=str(cache))

    def tokenize_function(examples: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return dict(tokenizer(examples["text"], return_special_tokens_mask=True))

    def group_texts(examples: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {k: list(chain(*examples[k])) for k in examples}
        total = len(joined[next(iter(examples))]) // SEQ_LEN * SEQ_LEN
        return {k: [t[i : i + SEQ_LEN] for i in range(0, total, SEQ_LEN)] for k, t in joined.items()}

    began = time.perf_counter()
    tokenized = raw.map(
        tokenize_function, batched=True, num_proc=workers, remove_columns=["text"], load_from_cache_file=False
    )
    tokenized.map(group_texts, batched=True, num_proc=workers, load_from_cache_file=False)
    return time.perf_counter() - began


def processor_seconds() -> float:
    """Of this process and of all children that have ended."""
    return sum(os.times()[:4])


def ours(file: Path, tokenizer_folder: Path, workers: int, cache: Path) -> float:
    began = time.perf_counter()
    prepare(file, tokenizer_folder, seq_len=SEQ_LEN, out=cache / "out", workers=workers)
    return time.perf_counter() - began


def sample(corpus: Path, megabytes: float, file: Path) -> list[str]:
    """The first megabytes of the corpus as one parquet file."""
    texts: list[str] = []
    size = 0
    for text in documents(corpus):
        texts.append(text)
        size += len(text.encode())
        if size >= megabytes * 1e6:
            break
    pq.write_table(pa.table({"text": texts}), file)
    return texts


def measure(corpus: Path, tokenizer: Path | None, megabytes: float, rounds: int, workers: int, name: str) -> None:
    """Every turn of a side is kept at once: [seconds, processor seconds]."""
    sides: dict[str, Callable[[Path, Path, int, Path], float]] = {"slimbert": ours, "run_mlm": run_mlm}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        texts = sample(corpus, megabytes, folder / "corpus.parquet")
        if tokenizer is None:
            tokenizer = folder / "tokenizer"
            TextTokenizer.train(texts, 30522).save(tokenizer)
        tokens = int((TextTokenizer.load(tokenizer).count(texts) - 2).sum())
        for turn, (side, run) in product(range(rounds), sides.items()):
            if done(name, f"{side} {turn}") is None:
                with tempfile.TemporaryDirectory() as cache:
                    before = processor_seconds()
                    seconds = run(folder / "corpus.parquet", tokenizer, workers, Path(cache))
                keep(name, f"{side} {turn}", [seconds, processor_seconds() - before])
                print(f"{turn + 1}/{rounds} {side}: {tokens / seconds:,.0f} tokens/s", flush=True)
    size = sum(len(text.encode()) for text in texts) / 1e6
    text = {"tokens": tokens, "megabytes": size, "documents": len(texts), "workers": workers}
    keep(name, "summary", text | summary(name, rounds, tokens))
    print(json.dumps(done(name, "summary"), indent=1))


def summary(name: str, rounds: int, tokens: int) -> dict[str, Any]:
    """Medians of the rounds, and how many times as fast slimbert is: by the clock, and by the processor's time."""
    spent = {side: np.array([done(name, f"{side} {i}") for i in range(rounds)]) for side in ("slimbert", "run_mlm")}
    ratios = spent["run_mlm"] / spent["slimbert"]
    return {
        "tokens_per_second": {side: tokens / float(np.median(times[:, 0])) for side, times in spent.items()},
        "times_as_fast": float(np.median(ratios[:, 0])),
        "times_as_fast_by_round": ratios[:, 0].tolist(),
        "times_less_processor_time": float(np.median(ratios[:, 1])),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="file or folder that slimbert reads")
    parser.add_argument("--tokenizer", type=Path, help="folder; without it, 30,522 pieces are trained on the sample")
    parser.add_argument("--megabytes", type=float, default=16.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--name", default="prepare")
    asked = parser.parse_args()
    same_machine(asked.name)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism, on both sides
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    measure(asked.corpus, asked.tokenizer, asked.megabytes, asked.rounds, asked.workers, asked.name)
