"""Where measurements are kept: `benchmarks/records/<name>/` with result.json, environment.json and the command in
README.md.

A script calls `done(name, key)` before a piece of work and `keep(name, key, value)` after it, so that, killed and
started again, it goes on where it stopped.
"""

import json
import sys
from pathlib import Path
from typing import Any

from slimbert.atomic import write_atomically
from slimbert.train.environment import environment

RECORDS = Path(__file__).parent / "records"


def done(name: str, key: str) -> Any:
    """What was kept under `key`, or None."""
    return _read(name).get(key)


def same_machine(name: str) -> None:
    """Exits where the record was begun on another kind of machine: its figures would not be comparable."""
    file = RECORDS / name / "environment.json"
    if not file.exists():
        return
    then, now = json.loads(file.read_text()), environment()
    for key in ("cpu", "cores", "threads", "instruction_sets", "gpu"):
        if then[key] != now[key]:
            sys.exit(f"benchmarks/records/{name} was begun with {key} {then[key]}, here it is {now[key]}: give --name")


def keep(name: str, key: str, value: Any) -> None:
    """Write one result; the environment, with the measured matrix product, beside the first of them."""
    folder = RECORDS / name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "environment.json").exists():
        _write(folder / "environment.json", environment(measure=True))
    if not (folder / "README.md").exists():
        script = Path(sys.argv[0])
        words = " ".join(["python", f"benchmarks/{script.name}", *sys.argv[1:]])
        about = (sys.modules["__main__"].__doc__ or "").splitlines()[0]
        write_atomically(folder / "README.md", f"# {name}\n\n{about}\n\n```\n{words}\n```\n".encode())
    _write(folder / "result.json", _read(name) | {key: value})


def _read(name: str) -> dict[str, Any]:
    file = RECORDS / name / "result.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def _write(file: Path, value: Any) -> None:
    write_atomically(file, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())
