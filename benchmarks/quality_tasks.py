"""The tasks of `quality.py`: an encoder that was pretrained for minutes, fine-tuned on each, with the same settings.

Classes are read from the first token, also where an encoder could take the mean of all: a narrow one cannot. Only
scores are kept, so the machine may be shared.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arms import ALL_UPDATES, corpus, ours, smaller

from slimbert.data.tasks import Task, load_task

EPOCHS, MAX_LEN, VALIDATION, TEST = 3, 128, 500, 6000
SETTINGS = (f"epochs={EPOCHS}", "batch_size=32", "windows=cut", *ALL_UPDATES)


@dataclass(frozen=True, kw_only=True)
class Data:
    """A folder of the corpora, the rows to learn from, and how it is read."""

    folder: str
    rows: int
    kind: str
    texts: tuple[str, ...] | None = None
    first: bool = True  # whether the first token answers

    def load(self) -> Task:
        options: dict[str, Any] = {"text_columns": self.texts} if self.texts else {}
        if self.folder == "conll2003":  # its validation is the test
            options["fractions"] = (0.9, 0.1, 0.0)
        task = load_task(corpus(self.folder), kind=self.kind, **options)
        return smaller(task, train=self.rows, validation=VALIDATION, test=TEST)


QUESTIONS = "SQuAD"  # of a stage of its own
TASKS = {
    "SST-2": Data(folder="sst2", rows=10000, kind="sst2"),
    "QNLI (rebuilt train)": Data(folder="qnli", rows=10000, kind="qnli"),
    "Amazon reviews": Data(folder="amazon_polarity_md", rows=4717, kind="pair", texts=("title", "content")),
    "IMDB": Data(folder="imdb", rows=4000, kind="imdb"),
    "CoNLL-2003": Data(folder="conll2003", rows=14041, kind="conll2003", first=False),
    QUESTIONS: Data(folder="squad", rows=6000, kind="squad", first=False),
}
FIVE = tuple(name for name in TASKS if name != QUESTIONS)
SENTENCES = tuple(name for name, data in TASKS.items() if data.first)


def finetuned(run: Path, task: str, *, device: str) -> dict[str, Any]:
    """The score of the test with its 95% interval; gone on with where it stopped."""
    data = TASKS[task]
    loaded = data.load()
    settings = [*SETTINGS, f"max_len={MAX_LEN}", *(["pool=cls"] if data.first else [])]
    out = run.parent / "finetuned" / f"{run.name}-{data.folder}"
    found = ours(run, loaded, seed=0, settings=settings, out=out, device=device)
    shutil.rmtree(out)  # the score is all that is asked for
    metric = loaded.metric
    return {
        "task": task,
        "run": run.name,
        "metric": metric,
        "score": found[metric],
        "low": found.get(f"{metric}_low"),
        "high": found.get(f"{metric}_high"),
        "rows": len(loaded.train),
        "updates": found["updates"],
    }
