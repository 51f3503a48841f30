"""What the tests of search share: a toy encoder, toy texts, a toy judge of pairs, an index that is built slowly."""

import random
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from jobs.small import WORDS, server
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.predict import Predictor
from slimbert.jobs.search import build
from slimbert.model import ModelConfig, fresh, presets, save_model
from slimbert.model.heads import SequenceConfig


def texts(count: int, *, seed: int = 0, longest: int = 12) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(count)]


def encoder(folder: Path, *, head: Any = None, task: dict[str, Any] | None = None, seed: int = 3) -> Path:
    """A model folder that reads 24 tokens; random weights, wide enough that vectors and answers differ."""
    tokenizer = TextTokenizer.train(texts(200), 80)
    shape = presets.from_pattern("2{sf}", dim=32, head_dim=16, vocab=tokenizer.vocab_size, max_len=24)
    model = fresh(ModelConfig(encoder=shape, head=head), seed)
    for parameter in model.parameters():
        parameter.data *= 3
    save_model(model, folder, extra={"task": task} if task else {})
    tokenizer.save(folder)
    return folder


def judge(folder: Path, labels: tuple[str, ...] = ("no", "yes"), *, head: Any = None) -> Path:
    """A model folder of a classifier of pairs."""
    task = {"kind": "pair", "text_columns": ["query", "text"], "label_column": "label", "max_len": 24}
    return encoder(folder, head=head or SequenceConfig(labels=labels), task=task)


def slowly(*, most: int | None = None, **options: Any) -> ForkServerProcess:
    """Build an index in a process of its own, in portions of 8 passages that take 10 ms and are on the disk at once.

    most: after so many portions it only waits to be killed.
    """
    process = server().Process(target=_slowly, args=(options, most), daemon=True)
    process.start()
    return process


def _slowly(options: dict[str, Any], most: int | None) -> None:
    import itertools
    import signal
    import time

    import torch

    torch.set_num_threads(1)
    build.BATCHES, build.EVERY = 2, 0.0
    embed, portions = Predictor.embed, itertools.count()

    def later(self: Predictor, *args: Any, **given: Any) -> Any:
        time.sleep(0.01)
        if next(portions) == most:
            signal.pause()
        return embed(self, *args, **given)

    Predictor.embed = later  # type: ignore[method-assign]
    build.index(**options, batch_size=4, device="cpu", quiet=True)
