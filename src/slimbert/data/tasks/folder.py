"""Which files of a folder hold which split: by their names, as Hugging Face data sets and GLUE have them."""

import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError
from ..conll import SUFFIXES as OF_WORDS
from ..conll import is_conll
from ..files import SUFFIXES, form

_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev", "validation_matched", "dev_matched"),
    "test": ("test",),
}
_PIECE = r"-\d+-of-\d+"
_BEHIND = rf"(?:-v\d+(?:\.\d+)*)?(?:{_PIECE})?\."  # a name: a version (train-v1.1.json), which piece, the dot
_LIKE_A_SPLIT = re.compile(r"(train|valid|val|dev|test)(ation|ing)?([^a-z]|$)", re.IGNORECASE)


def find_splits(path: Path) -> dict[str, list[Path]]:
    """Split -> files, in a folder also those in several pieces (train-00000-of-00002.parquet); "all" for one file.

    Files of text count, as a word a line, where a folder has no other.
    """
    if not path.is_dir():
        return {"all": [path]}
    found = _named_splits(path, _tables(path)) or _named_splits(path, [f for f in _files(path) if form(f) == ".txt"])
    if not found:
        listed = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
        kinds = ", ".join(dict.fromkeys((*SUFFIXES, *OF_WORDS)))
        remedy = "name them train.csv, validation.csv, test.csv or the like, or give one file"
        raise InputError(path, f"no train, validation or test file ({kinds}), but {listed}", remedy)
    return found


def find_split(path: Path, split: str) -> list[Path]:
    """The files of one split, or of any other name, such as validation_mismatched; one file is what it is.

    Raises InputError where a folder has none.
    """
    found = find_splits(path)
    if "all" in found:
        return found["all"]
    known = found | _others(path, found)
    if split not in known:
        raise InputError(path, f"no file for the split {split!r}", f"it has {', '.join(known)}")
    return known[split]


def left_out(path: Path) -> list[str]:
    """A sentence on the files that are named like splits, and are none that is trained or scored on."""
    if not path.is_dir():
        return []
    names = [name for name in _others(path, find_splits(path)) if _LIKE_A_SPLIT.match(name)]
    how = f"slimbert evaluate RUN {path} --split {names[-1]}" if names else ""
    return [f"not used: {', '.join(names)}; where there are labels, {how} scores it"] if names else []


def _files(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_file())


def _tables(path: Path) -> list[Path]:
    """Files with rows, or with a word a line that are no mere text."""
    return [
        file for file in _files(path) if form(file) not in ("", ".txt") or (is_conll(file) and form(file) != ".txt")
    ]


def _named_splits(path: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files whose names are those of splits, also with a version or as one of several pieces."""
    found: dict[str, list[Path]] = {}
    for split, names in _NAMES.items():
        pattern = re.compile(rf"({'|'.join(names)}){_BEHIND}")
        found[split] = [file for file in files if pattern.match(file.name.lower())]
        if len({re.sub(_PIECE, "", file.name) for file in found[split]}) > 1:
            raise InputError(path, f"several files for {split}: {', '.join(f.name for f in found[split])}", "keep one")
    return {split: matches for split, matches in found.items() if matches}


def _others(path: Path, found: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Name -> files, of those that are in no split."""
    used, made = {file for files in found.values() for file in files}, dict[str, list[Path]]()
    for file in _tables(path):
        if file not in used:
            made.setdefault(re.split(_BEHIND, file.name, maxsplit=1)[0], []).append(file)
    return made
