"""Files that are there whole or not at all: written aside, synced, renamed, the folder synced.

A rename within one folder is atomic (POSIX), and survives a power cut once the folder itself is synced.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import InputError

HASHES = "hashes.json"  # of a folder: the SHA-256 of files that say nothing of themselves
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sync(path: Path) -> None:
    """Force a file's bytes, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`; a reader or a crash sees the old file or the new one, never a part.

    Raises InputError when the disk is full or the folder cannot be written; the old file then still stands.
    """
    aside = path.with_name(f".{path.name}.writing")
    try:
        aside.write_bytes(data)
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise write_error(path, error, len(data)) from error


def write_json(path: Path, data: object, *, indent: int | None = 2) -> None:
    """As `write_atomically`, of plain data (see `plain`), with a line end; bytes that are not UTF-8 are escaped."""
    text = json.dumps(data, indent=indent, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode(errors="backslashreplace"))  # half a surrogate pair becomes JSON's own \udc80


def plain(value: Any) -> Any:
    """What JSON can hold of named tuples, dataclasses, arrays and plain data; what is not a finite number is None."""
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and torch, scalars too
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def write_hashed(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace files of a folder, each atomically; their hashes stand in hashes.json, for `check_hashed`.

    A crash between two of them leaves files without a hash, never a hash of another content.
    """
    forget_hashes(folder, files)
    for name, data in files.items():
        write_atomically(folder / name, data)
    made = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    _write_hashes(folder, _hashes(folder) | made)


def check_hashed(folder: Path, names: Iterable[str]) -> None:
    """Raises InputError where a file is not as `write_hashed` left it; one without a hash is not judged."""
    known = _hashes(folder)
    for name in names:
        path = folder / name
        if name in known and path.is_file() and file_sha256(path) != known[name]:
            remedy = f"copy the folder again; if the change was meant, delete {HASHES} there"
            raise InputError(path, "its bytes are not those that were written", remedy)


def forget_hashes(folder: Path, names: Iterable[str]) -> None:
    """From now on these files may change."""
    known = _hashes(folder)
    left = {name: value for name, value in known.items() if name not in set(names)}
    if left != known:
        _write_hashes(folder, left)


def _hashes(folder: Path) -> dict[str, str]:
    path = folder / HASHES
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(path, "damaged: it is no JSON object", "copy the folder again, or delete this file")
    return found


def _write_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    write_json(folder / HASHES, dict(sorted(hashes.items())), indent=1)


def check_file(path: Path, size: int, sha256: str | None, remedy: str) -> None:
    """Raises InputError where the file is missing, of another size, or (unless `sha256` is None) of other content."""
    found = path.stat().st_size if path.is_file() else None
    if found is None:
        raise InputError(path, "missing", remedy)
    if found != size:
        raise InputError(path, f"{found} bytes, the manifest says {size}", remedy)
    if sha256 is not None and file_sha256(path) != sha256:
        raise InputError(path, "damaged: its content does not match the hash in the manifest", remedy)


def file_sha256(path: Path) -> str:
    """The hash of a file's content, read in portions."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_error(path: Path, error: Exception, needed: int) -> InputError:
    """The InputError for a failed write of `needed` bytes at `path`: a full disk is told with the bytes still free."""
    if not is_full(error):
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return InputError(path, f"cannot be written: {problem}", "choose a folder you can write to")
    free = shutil.disk_usage(_existing(path)).free
    return InputError(
        path,
        f"not enough disk: {needed:,} bytes are needed, {free:,} are free",
        "what was written before is intact; free some space and resume",
    )


def is_full(error: Exception) -> bool:
    """Whether a write failed because the disk (or the quota) is full; safetensors tells the number in its text only."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return any(f"os error {number})" in str(error) for number in FULL)


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
