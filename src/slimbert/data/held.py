"""A folder that is ours alone while something is built in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


@contextmanager
def held(folder: Path, *, busy: str) -> Iterator[None]:
    """The folder, made if need be, locked against other processes; one that was made and stays empty vanishes.

    busy: what is said where another process holds it. Raises InputError then, and where the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "is a file", "choose a folder for --out")
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise InputError(folder, busy, "wait for it or choose another --out") from error
    try:
        yield
    finally:
        if new and not any(folder.iterdir()):
            folder.rmdir()
        os.close(lock)
