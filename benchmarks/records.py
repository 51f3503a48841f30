"""Where measurements are kept: `benchmarks/records/<name>/` with result.json, environment.json and the command in
README.md.

A script calls `done(name, key)` before a piece of work and `keep(name, key, value)` after it, so that, killed and
started again, it goes on where it stopped. At its end `describe` puts its table into the README.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from slimbert.atomic import write_atomically
from slimbert.train.environment import environment

RECORDS = Path(__file__).parent / "records"
BEGIN, END = "<!-- written by the script -->", "<!-- end -->"


def done(name: str, key: str) -> Any:
    """What was kept under `key`, or None."""
    return _read(name).get(key)


def everything(name: str) -> dict[str, Any]:
    """All that was kept."""
    return _read(name)


def same_machine(name: str) -> None:
    """Exits where the record was begun on another kind of machine: its figures would not be comparable."""
    file = RECORDS / name / "environment.json"
    if not file.exists():
        return
    then, now = json.loads(file.read_text()), environment()
    for key in ("cpu", "cores", "threads", "instruction_sets", "gpu"):
        if then[key] != now[key]:
            sys.exit(f"benchmarks/records/{name} was begun with {key} {then[key]}, here it is {now[key]}: give --name")


def same_settings(name: str, settings: dict[str, Any]) -> None:
    """Keeps the settings of a record; exits where it was begun with others: two kinds of rows would stand in it."""
    then, now = done(name, "settings"), json.loads(json.dumps(settings))
    if then is None:
        keep(name, "settings", now)
    elif then != now:
        other = ", ".join(f"{key} {then.get(key)}" for key in {**then, **now} if then.get(key) != now.get(key))
        sys.exit(f"benchmarks/records/{name} was begun with {other}: give --name")


def keep(name: str, key: str, value: Any) -> None:
    """Write one result; the environment, with the measured matrix product, beside the first of them."""
    folder = RECORDS / name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "environment.json").exists():
        _write(folder / "environment.json", environment(measure=True))
    if not (folder / "README.md").exists():
        script = Path(sys.argv[0])
        words = " ".join(["python", f"benchmarks/{script.name}", *sys.argv[1:]])
        about = (sys.modules["__main__"].__doc__ or "").partition("\n")[0]
        write_atomically(folder / "README.md", f"# {name}\n\n{about}\n\n```\n{words}\n```\n".encode())
    _write(folder / "result.json", _read(name) | {key: value})


@lru_cache(maxsize=1)
def code() -> str:
    """The last commit that changed the library, so that a commit of records is no other code; + where it was changed
    since. `unknown` without git."""
    try:
        commit, changed = _git("log", "-1", "--format=%h"), _git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}{'+' if changed else ''}" if commit else "unknown"


def said_of_code(found: Mapping[str, Any]) -> list[str]:
    """A sentence where what stands in a record was not all made by the same code; nothing where it was."""
    keys: dict[str, list[str]] = {}
    for key, one in found.items():
        if isinstance(one, dict) and "code" in one:
            keys.setdefault(one["code"], []).append(f"`{key}`")
    if len(keys) < 2:
        return []
    each = "; ".join(f"{commit} made {', '.join(some)}" for commit, some in keys.items())
    return [f"**Made by different code**, by the last commit of the library: {each}."]


def describe(name: str, text: str) -> None:
    """Put the machine and `text` into the record's README, in place of what this wrote before; other text stays."""
    file = RECORDS / name / "README.md"
    before, _, behind = file.read_text().partition(BEGIN)
    rest = behind.partition(END)[2].strip()
    parts = [before.rstrip(), f"{BEGIN}\n{_machine(name)}\n\n{text.strip()}\n{END}", rest]
    write_atomically(file, ("\n\n".join(part for part in parts if part) + "\n").encode())


def picture(name: str, file: str) -> Path:
    """Where a picture of the record is written."""
    return RECORDS / name / file


def _machine(name: str) -> str:
    """On what the record was made, in a sentence."""
    found = json.loads((RECORDS / name / "environment.json").read_text())
    rates = ", ".join(f"{rate:g} TFLOP/s in {dtype}" for dtype, rate in found["gemm_tflops"].items())
    sets = ", ".join(found["instruction_sets"]) or "instruction sets unknown"
    has = f"{found['cpu']}, {found['cores']} cores, {found['threads']} threads, {sets}"
    return f"Machine: {has}; matrix product {rates}; torch {found['versions']['torch']}."


def _git(*words: str) -> str:
    call = ["git", "-C", str(Path(__file__).parents[1]), *words, "--", "src"]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def _read(name: str) -> dict[str, Any]:
    file = RECORDS / name / "result.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def _write(file: Path, value: Any) -> None:
    write_atomically(file, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())
