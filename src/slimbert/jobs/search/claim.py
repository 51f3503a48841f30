"""The folder that an index is built in: ours alone while we build; begun or finished with the same arguments, or not.

`.building/state.json` is the memory of a build: what was asked, and which of its passes are whole.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...atomic import write_json
from ...data.held import held
from ...errors import InputError
from .store import BUILDING, MANIFEST, read_manifest

STATE = "state.json"
_OTHER = "choose another --out, delete this folder, or repeat the old arguments"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder, made if need be; what is left of a build that has not even read its texts vanishes at the end."""
    with held(folder, busy="another index is being built here"):
        try:
            yield
        finally:
            if not (folder / BUILDING / STATE).is_file():
                shutil.rmtree(folder / BUILDING, ignore_errors=True)


def finished(folder: Path, asked: dict[str, Any]) -> bool:
    """Whether this very index is there already. InputError where the folder holds, or was begun as, something else."""
    if (folder / MANIFEST).is_file():
        _compare(folder, read_manifest(folder, verify=False)["asked"], asked)
        shutil.rmtree(folder / BUILDING, ignore_errors=True)  # an earlier build was killed behind its manifest
        return True
    if (begun := read_state(folder)) is not None:
        _compare(folder, begun["asked"], asked)
    elif any(child.name != BUILDING for child in folder.iterdir()):
        raise InputError(folder, "is not empty and no index", "choose a new folder for --out")
    return False


def read_state(folder: Path) -> dict[str, Any] | None:
    """What an unfinished build has done; None where none was begun."""
    path = folder / BUILDING / STATE
    try:
        state = json.loads(path.read_bytes()) if path.is_file() else None
        return state and {"asked": state["asked"], **state}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(path, f"damaged ({error})", "choose another --out or delete this folder") from error


def save_state(folder: Path, state: dict[str, Any]) -> None:
    write_json(folder / BUILDING / STATE, state, indent=None)


def _compare(folder: Path, before: dict[str, Any], asked: dict[str, Any]) -> None:
    now = json.loads(json.dumps(asked))
    named = {"model": "another model", "sources": "other files", "text_column": "another --text-column"}
    other = [named.get(key, f"another choice of --{key}") for key in now if before.get(key) != now[key]]
    if other:
        raise InputError(folder, f"holds an index made with {', '.join(other)}", _OTHER)
