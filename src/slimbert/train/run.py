"""The run folder: recipe, environment, metrics and the loss curve beside the model and its checkpoints.

`metrics.jsonl` has one JSON row per update with at least `step`, `loss` (that update's own), `tokens` and `seconds`
(both since the start of training); rows of a validation carry `val_loss` and no `loss`. Numbers keep full precision.
"""

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Self

import yaml

from ..atomic import HASHES, write_atomically, write_error, write_json
from ..errors import InputError
from .environment import environment

METRICS, RECIPE, ENVIRONMENT, CURVE = "metrics.jsonl", "recipe.yaml", "environment.json", "loss.png"
SEARCH, TICKET = "search", "ticket.json"  # of a run that begins by drawing a ticket
HEAD = {  # all that a run has that was killed before its first row; the environment is written first
    *(ENVIRONMENT, RECIPE, "data.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", HASHES),
}


def check_free(out: str | Path, *, resume: bool) -> None:
    """Raises InputError where a run in `out` would overwrite something: not empty, or under `resume` not a run."""
    path = Path(out)
    there = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if there and not resume:
        raise InputError(out, "not empty", "go on with --resume, or choose another --out")
    there = {name for name in there if not name.startswith(".")}
    begun = there & {METRICS, "checkpoints", SEARCH, TICKET} or (ENVIRONMENT in there and there <= HEAD)
    if there and not begun:
        problem = f"not a run: it holds neither {METRICS} nor checkpoints"
        raise InputError(out, problem, "choose another --out: --resume goes on with a run, or begins in a new folder")


class RunFolder:
    """Creates `path` if need be. A row is on its way to the disk when `append` returns: SIGKILL loses none."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"cannot be made a run folder: {error.strerror}"
            raise InputError(self.path, problem, "choose another --out") from error
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / METRICS
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close metrics.jsonl; the next `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def write_recipe(self, recipe: Mapping[str, Any]) -> None:
        """The resolved recipe as recipe.yaml, in the order given."""
        text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=120)
        write_atomically(self.path / RECIPE, text.encode())

    def write_environment(self) -> None:
        """environment.json: the machine and what is installed."""
        self.write_json(ENVIRONMENT, environment())

    def write_json(self, name: str, data: object) -> None:
        """Any other result of the run, as `name` in the run folder."""
        write_json(self.path / name, data)

    def write_text(self, name: str, text: str) -> None:
        """A text for people, as `name` in the run folder."""
        write_atomically(self.path / name, text.encode())

    def append(self, row: Mapping[str, Any]) -> None:
        """One row of metrics. NaN and infinities become null, since JSON has none of them."""
        if isinstance(row.get("step"), bool) or not isinstance(row.get("step"), int):
            raise ValueError(f"a row of metrics needs an integer 'step', this one has {row.get('step')!r}")
        line = json.dumps({name: _finite(value) for name, value in row.items()}, allow_nan=False).encode() + b"\n"
        try:
            if self._file is None:
                self._file = _open(self.metrics)
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.close()
            raise write_error(self.metrics, error, len(line)) from error

    def sync(self) -> None:
        """Force the rows to the disk. Before a checkpoint: a power cut then leaves none without its rows."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every readable row; a torn or broken line is passed over."""
        return (row for _, row in _lines(self.metrics) if row is not None)

    def cut(self, step: int) -> int:
        """Keep the rows up to and including `step`, drop later and broken ones; return how many lines were dropped."""
        self.close()
        kept: list[bytes] = []
        dropped = 0
        for line, row in _lines(self.metrics):
            if row is not None and row["step"] <= step:
                kept.append(line)
            else:
                dropped += 1
        if dropped:
            write_atomically(self.metrics, b"".join(kept))
        return dropped

    def plot(self) -> Path | None:
        """Draw loss.png from the rows there are; None if no row has a loss yet."""
        from .curve import draw  # matplotlib takes a second to load

        picture = draw(self.rows(), title=self.path.resolve().name)
        if picture is None:
            return None
        write_atomically(self.path / CURVE, picture)
        return self.path / CURVE


def _open(path: Path) -> FileIO:
    """Open for appending, unbuffered, after dropping a torn last line."""
    file = FileIO(path, "a+")
    size = file.seek(0, os.SEEK_END)
    if size:
        start = max(0, size - (1 << 20))
        file.seek(start)
        tail = file.read(size - start)
        if not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)
    return file


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Each line with its row, or with None where it is torn, broken or has no step."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line) if line.endswith(b"\n") else None
            except (ValueError, RecursionError):
                row = None
            valid = isinstance(row, dict) and isinstance(row.get("step"), int) and not isinstance(row["step"], bool)
            yield line, row if valid else None


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
