"""Checkpoints that survive a kill at any moment.

A checkpoint is a folder `step-N` of three files: `tensors.safetensors`, `state.json`, and `manifest.json` with the size
and sha256 of the other two. It is written as `.writing-N`, every file synced, the manifest last, and renamed when
whole; so `step-N` is never half there. Reading checks every byte; a broken one is named and the newest whole one taken.
Nothing is pickled.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..atomic import file_sha256, sync, write_error
from ..errors import InputError

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
FORMAT = 1
WHOLE = re.compile(
    r"(?:step|\.replaced)-([0-9]{1,18})"
)  # .replaced-N: what a second save of step N moved out of its way
LEFTOVER = re.compile(r"\.(?:writing|removing)-[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What was saved at a step; `skipped` says which newer ones `newest` or `best` found broken, and how."""

    path: Path
    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    best: bool = False
    skipped: tuple[str, ...] = ()


def save(
    folder: Path,
    step: int,
    *,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    keep: int = 2,
    best: bool = False,
) -> Path:
    """Write `folder/step-N` and return it; keep the last `keep` checkpoints and the best one.

    `state` must survive JSON (tuples come back as lists, keys as strings). `best` makes this the best one from now on.
    Raises InputError when the disk is full or a whole checkpoint of a later step is there; all older ones stay intact.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"step {step} must be at least 0, keep {keep} at least 1")
    best = best or _is_best(folder / f"step-{step}")  # a second save of the best step is still the best
    described = json.dumps({"format": FORMAT, "step": step, "best": best, "state": dict(state)}).encode()
    needed = len(described) + sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    writing, final = folder / f".writing-{step}", folder / f"step-{step}"
    try:
        _make(folder)
        _clean(folder)
        _refuse_later(folder, step)
        _write(writing, tensors, described)
        if final.exists():  # a second save of one step; `newest` also looks at .replaced-N
            replaced = folder / f".replaced-{step}"
            if replaced.exists():
                _remove(replaced)
            final.rename(replaced)
        writing.rename(final)
        sync(folder)
        _prune(folder, step, keep=keep, best=best)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(writing, ignore_errors=True)
        raise write_error(final, error, needed) from error
    return final


def load(path: Path) -> Checkpoint:
    """Read one checkpoint and check every byte of it; InputError says what is wrong with a broken one."""
    try:
        return _read(path)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(path, f"broken checkpoint: {problem}", "name another one, or resume from the run") from error


def newest(folder: Path, *, tell: Callable[[str], object] | None = None) -> Checkpoint | None:
    """The newest whole checkpoint, or None. `tell` hears of each broken one, which also stands in `skipped`."""
    return _first(folder, tell, lambda path: True)


def best(folder: Path, *, tell: Callable[[str], object] | None = None) -> Checkpoint | None:
    """The newest whole checkpoint that was saved with `best=True`, or None."""
    return _first(folder, tell, _is_best)


def drop_after(folder: Path, step: int) -> None:
    """Remove the checkpoints of later steps, so that a run can go on from an earlier one than its newest."""
    try:
        for path, _ in _found(folder, after=step):
            _remove(path)
    except OSError as error:
        raise write_error(folder, error, 0) from error


def _first(folder: Path, tell: Callable[[str], object] | None, wanted: Callable[[Path], bool]) -> Checkpoint | None:
    skipped: list[str] = []
    for path, _ in _found(folder):
        if not wanted(path):
            continue
        try:
            return replace(load(path), skipped=tuple(skipped))
        except InputError as error:
            skipped.append(f"{error.place}: {error.problem}")
            if tell:
                tell(f"{skipped[-1]}; skipped")
    return None


def _found(folder: Path, *, after: int = -1) -> list[tuple[Path, int]]:
    """Every checkpoint folder with its step, newest first; of one step, `step-N` before what it replaced."""
    if not folder.is_dir():
        return []
    matches = [(path, WHOLE.fullmatch(path.name)) for path in folder.iterdir()]
    found = [(path, int(match[1])) for path, match in matches if match and int(match[1]) > after]
    return sorted(found, key=lambda item: (item[1], item[0].name), reverse=True)


def _write(writing: Path, tensors: Mapping[str, Tensor], described: bytes) -> None:
    writing.mkdir()
    save_file(dict(_plain(tensors)), writing / TENSORS)
    (writing / STATE).write_bytes(described)
    files = {
        name: {"size": (writing / name).stat().st_size, "sha256": file_sha256(writing / name)}
        for name in (STATE, TENSORS)
    }
    for name in files:
        sync(writing / name)
    (writing / MANIFEST).write_bytes(_manifest(files))
    sync(writing / MANIFEST)
    sync(writing)


def _plain(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Contiguous CPU tensors, each with memory of its own: safetensors refuses two that share."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        yield name, tensor.clone() if memory in seen else tensor
        seen.add(memory)


def _manifest(files: object) -> bytes:
    return (json.dumps({"format": FORMAT, "files": files}, indent=1, sort_keys=True) + "\n").encode()


def _read(path: Path) -> Checkpoint:
    listed = (path / MANIFEST).read_bytes()
    manifest = json.loads(listed)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError(f"{MANIFEST} is no manifest")
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{MANIFEST} has format {manifest.get('format')!r}, this version reads {FORMAT}")
    files = manifest["files"]
    if set(files) != {TENSORS, STATE} or _manifest(files) != listed:
        raise ValueError(f"{MANIFEST} was changed")
    for name, expected in files.items():
        _check(path / name, expected)
    state = json.loads((path / STATE).read_bytes())
    match state:
        case {"format": form, "step": int(step), "best": bool(best), "state": dict(inner)} if (
            form == FORMAT and type(step) is int and step >= 0
        ):
            # cloned out of the file's memory map: a pruned file must not matter, and torch's own memory is aligned,
            # which the bit-identical resuming of matrix products rests on
            tensors = {name: tensor.clone() for name, tensor in load_file(path / TENSORS).items()}
            return Checkpoint(path=path, step=step, best=best, state=inner, tensors=tensors)
    raise ValueError(f"{STATE} has a wrong field or type")


def _check(path: Path, expected: object) -> None:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    size = path.stat().st_size
    if not isinstance(expected, dict) or size != expected.get("size"):
        raise ValueError(f"{path.name} has {size:,} bytes, {MANIFEST} says {expected!r:.120}")
    if file_sha256(path) != expected.get("sha256"):
        raise ValueError(f"{path.name} has changed since it was written (sha256)")


def _is_best(path: Path) -> bool:
    """Whether a checkpoint says it is the best; a broken one does not (its bytes are checked when it is loaded)."""
    try:
        state = json.loads((path / STATE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(state, dict) and state.get("best") is True


def _make(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True)
        sync(folder.parent)


def _clean(folder: Path) -> None:
    """Remove what a killed save left. Only a save does this: a reader must not touch the save of another process."""
    for path in folder.iterdir():
        if LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path)


def _refuse_later(folder: Path, step: int) -> None:
    """Later steps are broken ones that resuming skipped, which go; a whole one means that another run is in the way."""
    for path, later in _found(folder, after=step):
        try:
            load(path)
        except InputError:
            _remove(path)
            continue
        raise InputError(
            path, f"is past step {step}, which is to be saved (it has step {later})", "resume, or use a new --out"
        )


def _prune(folder: Path, step: int, *, keep: int, best: bool) -> None:
    found = [path for path, _ in _found(folder) if path.name.startswith("step-")]
    kept = set(found[:keep])
    kept |= {folder / f"step-{step}"} if best else set(list(filter(_is_best, found))[:1])
    for path, _ in _found(folder):
        if path not in kept:
            _remove(path)


def _remove(path: Path) -> None:
    """Renamed first, so that a kill half-way leaves no checkpoint that looks broken."""
    number = path.name.rpartition("-")[2]
    aside = path.with_name(f".removing-{number}")
    if aside.exists():
        shutil.rmtree(aside)
    os.replace(path, aside)
    shutil.rmtree(aside)
