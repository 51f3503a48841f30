"""What the tests of whole jobs share: a corpus of a few KB with order in it, toy recipes, runs in children."""

import itertools
import json
import multiprocessing
import os
import random
import socket
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from slimbert.config import dump
from slimbert.data.prepare import prepare
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.model import ModelConfig, fresh, presets, save_model, with_dropout

WORDS = [a + b for a in ("ba", "de", "fi", "go", "ku", "la") for b in ("ma", "ne", "ri", "so", "tu")]
GOOD, BAD = ("bama", "dene", "firi"), ("goso", "kutu", "lama")
NEITHER = [word for word in WORDS if word not in GOOD + BAD][::3]
PRELOADED = ["slimbert.jobs.pretrain", "slimbert.jobs.finetune", "slimbert.train.curve", "torch._dynamo"]


def corpus(folder: Path, *, documents: int = 60, seq_len: int = 16, validation: float = 0.15, seed: int = 0) -> Path:
    """Prepared data in `folder`/data; every word is followed by one of three."""
    draw = random.Random(seed)
    texts = []
    for _ in range(documents):
        words = [draw.randrange(len(WORDS))]
        while len(words) < 20:
            words.append((words[-1] * 7 + draw.randrange(3)) % len(WORDS))
        texts.append(" ".join(WORDS[word] for word in words))
    (folder / "corpus.txt").write_text("\n\n".join(texts))
    tokenizer = TextTokenizer.train(texts, 80)
    prepare(folder / "corpus.txt", tokenizer, seq_len=seq_len, out=folder / "data", validation=validation, workers=1)
    return folder / "data"


def encoder_in(folder: Path, data: Path, pattern: str = "2{sf}", *, dim: int = 64) -> Path:
    """A fresh encoder with the tokenizer of `data`."""
    shards = Shards.open(data)
    config = presets.from_pattern(pattern, dim=dim, head_dim=32, vocab=shards.vocab_size, max_len=64)
    save_model(fresh(ModelConfig(encoder=config), 0), folder)
    TextTokenizer.load(shards.tokenizer_folder).save(folder)
    return folder


def recipe(
    *,
    layers: str = "2{sf}",
    dropout: float = 0.0,
    optim: dict[str, Any] | None = None,
    objective: dict[str, Any] | None = None,
    **train: Any,
) -> dict:
    """A toy recipe; `train` are its train settings."""
    encoder: dict[str, Any] = {"pattern": layers, "dim": 32, "head_dim": 16, "hidden": 64, "max_len": 32}
    if dropout:
        encoder = dump(with_dropout(presets.from_pattern(layers, dim=32, head_dim=16, hidden=64, max_len=32), dropout))
        del encoder["embedding"]["vocab"]  # the data's
    defaults = {"steps": 8, "batch_size": 8, "evaluate_rows": 8, "precision": "float32"}
    if "time" in train or "tokens" in train:
        del defaults["steps"]
    plain = {"model": {"encoder": encoder}, "optim": {"lr": 3e-3, **(optim or {})}, "train": {**defaults, **train}}
    return plain if objective is None else {**plain, "objective": objective}


def replaced(**options: Any) -> dict[str, Any]:
    """A toy objective: a generator a quarter as wide as the toy encoder, or as `options` say."""
    return {"kind": "replaced_tokens", **options}


def rows(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the wall-clock."""
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in read]


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in rows(run) if "loss" in row]


def steps_saved(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))


def differences(one: Path, other: Path) -> list[Any]:
    """Where two runs are not the same bit for bit: in a row (but for its wall-clock), in the weights of any model."""
    pairs = itertools.zip_longest(rows(one), rows(other))
    found: list[Any] = [pair for pair in pairs if pair[0] != pair[1]][:2]
    weights = sorted({path.relative_to(run) for run in (one, other) for path in run.rglob("model.safetensors")})
    return [*found, *(str(file) for file in weights if (one / file).read_bytes() != (other / file).read_bytes())]


def labelled(path: Path, *, rows: int = 200, pairs: bool = False, seed: int = 0) -> Path:
    """A CSV of texts whose label is a word in them; of pairs: whether both share it."""
    draw = random.Random(seed)
    lines = []
    for _ in range(rows):
        kinds = draw.randrange(2), draw.randrange(2)
        texts = []
        for kind in kinds if pairs else kinds[:1]:
            words = draw.choices(NEITHER, k=draw.randint(3, 10))
            words.insert(draw.randrange(len(words)), draw.choice((BAD, GOOD)[kind]))
            texts.append(" ".join(words))
        label = ("different", "same")[kinds[0] == kinds[1]] if pairs else ("negative", "positive")[kinds[0]]
        lines.append(",".join([*texts, label]))
    path.write_text("\n".join([("premise,hypothesis" if pairs else "text") + ",label", *lines]) + "\n")
    return path


def server() -> ForkServerContext:
    """Children that share what is imported already, each a process of its own that can be killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def child(work: str, **options: Any) -> ForkServerProcess:
    """Start `pretrain` or `finetune` with these options in a process of its own."""
    process = server().Process(target=_work, args=(work, options))
    process.start()
    return process


def together(count: int, **options: Any) -> list[int | None]:
    """One pretraining run in `count` processes that talk over gloo; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    processes = [
        server().Process(
            target=_work,
            args=("pretrain", options, {**world, "MASTER_PORT": str(port), "RANK": str(n), "LOCAL_RANK": str(n)}),
        )
        for n in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def _work(work: str, options: dict[str, Any], environment: dict[str, str] | None = None) -> None:
    os.environ.update(environment or {})
    import torch

    from slimbert.errors import SlimbertError
    from slimbert.jobs.finetune import finetune
    from slimbert.jobs.pretrain import pretrain

    torch.set_num_threads(1)
    try:
        {"pretrain": pretrain, "finetune": finetune}[work](**options, device="cpu", quiet=True)
    except SlimbertError as error:
        raise SystemExit(error.exit_code) from None
