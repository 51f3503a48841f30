"""An own file, tried as a new user would: a CSV to predictions in three commands, with minutes and what was guessed.

    SLIMBERT_DATA=DIR python benchmarks/own_file.py [--rows 1000] [--seeds 1] [--cases news products] [--name own_file]

Two files are written into a temporary folder, with the columns people have: 1,000 texts with a topic (AG News), 1,000
pairs of product names with same or different (Amazon-Google); beside each a file of 200 rows without a label. Then, as
in the quickstart, with every default:

    slimbert data check news.csv
    slimbert finetune minilm news.csv --out runs/news
    slimbert predict runs/news --file new.csv

Recorded: minutes and exit code of each command, every line that was printed before the first update (what was guessed,
and why), whether it names task, columns, split, classes and length, what was warned of, and how good the predictions
are. Texts are not kept. A seed draws other rows. Resumes where it stopped; nothing else may run.

About 10 minutes at 1,200 tokens/s, most of them the 150 updates that few rows get at least.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from arms import corpus, listed, measured, minilm, other_encoder, parser, table
from records import describe, done, keep, same_machine, same_settings

import slimbert

NEW = 200  # rows to answer
TOLD = {  # what must not be guessed in silence -> words of the line that says it
    "the kind of task": "task: ",
    "the text": "in column",
    "the label": "labels in ",
    "the split": "cut from the given rows",
    "the sizes": "rows: ",
    "the classes": "classes in train",
    "the length": "longer than",
}


class Case(NamedTuple):
    """A data set as a person would have it. columns: of the file; train, test: those of the data set that fill them;
    words: of its labels."""

    folder: str
    columns: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    words: tuple[str, ...]


PAIR = ("text_left", "text_right")
CASES = {
    "news": Case("ag_news", ("text",), ("text",), ("description",), ("World", "Sports", "Business", "Sci/Tech")),
    "products": Case("product_match/amazon_google", PAIR, PAIR, PAIR, ("different", "same")),
}


def rows_of(case: Case, split: str, count: int, seed: int) -> list[list[str]]:
    """So many rows drawn at random: the texts, then the label in words."""
    columns = case.train if split == "train" else case.test
    read = pq.read_table(corpus(case.folder) / f"{split}.parquet", columns=[*columns, "label"]).to_pylist()
    chosen = np.random.default_rng([seed, split == "test"]).permutation(len(read))[:count]
    return [[*(read[i][name] for name in columns), case.words[read[i]["label"]]] for i in chosen]


def written(file: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with open(file, "w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([columns, *rows])


def command(folder: Path, words: Sequence[str]) -> tuple[dict[str, Any], str, str]:
    """(what is kept of a command, its standard output, its standard error); the code that runs here is what runs."""
    here = [str(Path(slimbert.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(here), "COLUMNS": "100"}
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "slimbert", *words], cwd=folder, env=found, capture_output=True, text=True, check=False
    )
    minutes = (time.perf_counter() - began) / 60
    kept = {"command": " ".join(["slimbert", *words]), "minutes": minutes, "code": ended.returncode}
    if ended.returncode and words[0] != "data":
        sys.exit(f"{kept['command']}: {ended.stderr.strip().splitlines()[-1]}")
    return kept, ended.stdout, ended.stderr


def tried(encoder: Path, name: str, rows: int, seed: int) -> dict[str, Any]:
    """From the CSV to predictions. A check that warns (exit code 2) stops nobody; any other failure ends the script."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "minilm").symlink_to(encoder.resolve(), target_is_directory=True)
        truth = rows_of(case, "test", NEW, seed)
        written(folder / f"{name}.csv", [*case.columns, "label"], rows_of(case, "train", rows, seed))
        written(folder / "new.csv", case.columns, [row[:-1] for row in truth])
        check, found, wrong = command(folder, ["data", "check", f"{name}.csv"])
        warned = [line.strip() for line in found.partition("training on this would mislead:")[2].splitlines()]
        if check["code"] and not any(warned):
            sys.exit(f"{check['command']}: {wrong.strip()}")
        tune, _, said = command(folder, ["finetune", "minilm", f"{name}.csv", "--out", f"runs/{name}"])
        answer, lines, _ = command(folder, ["predict", f"runs/{name}", "--file", "new.csv"])
        scores = json.loads((folder / "runs" / name / "result.json").read_text())
    guessed = told(said)
    labels = [json.loads(line)["label"] for line in lines.splitlines()]
    right = float(np.mean([label == row[-1] for label, row in zip(labels, truth, strict=True)]))
    others = {kind: score[scores["metric"]] for kind, score in scores["baselines"].items()}
    return {
        "commands": [check, tune, answer],
        "warned": [line for line in warned if line],
        "guessed": guessed,
        "silent": [what for what, words in TOLD.items() if not any(words in line for line in guessed)],
        "predictions": {label: labels.count(label) for label in case.words},
        "right": right,
        "test": {"metric": scores["metric"], "encoder": scores["test"][scores["metric"]], **others},
    }


def told(said: str) -> list[str]:
    """The lines before the first update."""
    lines = said.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("step ")), len(lines))
    return [line for line in lines[:first] if line]


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="own_file", rows=1000, seeds=1, of="labelled rows of each file")
    options.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    same_settings(chosen.name, {"rows": chosen.rows, "new": NEW} | other_encoder(chosen.encoder))
    for seed in range(chosen.seeds):
        for case in chosen.cases:
            measured(chosen.name, f"{case} {seed}", partial(tried, encoder, case, chosen.rows, seed))
    keep(chosen.name, "summary", {"cases": chosen.cases, "seeds": chosen.seeds})
    text = _text(chosen.name, [f"{case} {seed}" for case in chosen.cases for seed in range(chosen.seeds)])
    describe(chosen.name, text)
    print(text)


def _text(name: str, keys: Sequence[str]) -> str:
    parts = []
    for key in keys:
        one = done(name, key)
        rows = [[f"`{c['command']}`", f"{c['minutes']:.1f}", str(c["code"])] for c in one["commands"]]
        minutes = sum(c["minutes"] for c in one["commands"])
        test = {kind: value for kind, value in one["test"].items() if kind != "metric"}
        scores = ", ".join(f"{kind} {value:.3f}" for kind, value in test.items())
        said = [
            f"{len(rows)} commands, {minutes:.1f} minutes in all, {one['gemm_tflops']:.3f} TFLOP/s.",
            f"Not said before training: {', '.join(one['silent']) or 'nothing'}.",
            f"The check called misleading: {', '.join(one['warned']) or 'nothing'}.",
            f"Printed test score ({one['test']['metric']}): {scores}.",
            f"Predictions on {NEW} new rows: {one['right']:.1%} right; {one['predictions']}.",
        ]
        printed = "\n".join(f"    {line}" for line in one["guessed"])
        shown = f"Printed before the first update:\n\n{printed}"
        parts.append(f"## {key}\n\n{table(['command', 'minutes', 'exit code'], rows)}\n\n{listed(said)}\n\n{shown}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
