"""Files with a word a line and its tag beside it, a blank line behind each sentence: the format of the CoNLL tasks.

Columns are separated by tabs where most lines have one, else by blanks. Tjong Kim Sang and De Meulder 2003,
cs/0306050, section 2.2, put the tag last and wrote `-DOCSTART-` lines between documents, which are skipped; so are
comments (`# id ...` above a sentence).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .files import lines

SUFFIXES = (".conll", ".iob", ".iob2", ".bio", ".txt")
_PACKED = re.compile(r"\.(gz|zst)$", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t]+")  # only these: a no-break space may be a word
_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[BIESLUMW]-.+")


@dataclass(frozen=True)
class Sentence:
    """Words and, where the file has them, tags as written; place: file:line of the first word."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    place: str


def is_conll(path: str | Path) -> bool:
    """Whether the name of a file says that it holds a word a line."""
    return Path(_PACKED.sub("", str(path))).suffix.lower() in SUFFIXES


def read_conll(path: str | Path, *, word_column: int | None = None, tag_column: int | None = None) -> list[Sentence]:
    """The sentences of one file, in order; a file of one column has words and no tags.

    word_column, tag_column: from 0, or from the end if negative. None: the last column is the tag, unless the first
    alone looks like tags; the word is the first of the others that does more than number the words.
    InputError: not UTF-8, no word at all, a line with more or fewer columns than most, an empty word or tag.
    """
    blocks = _blocks(str(path))
    usual = Counter(len(cells) for block in blocks for _, cells in block).most_common(1)
    width = usual[0][0] if usual else 0
    blocks = [kept for block in blocks if (kept := _without_comments(block, width))]
    if not blocks:
        remedy = "write a word and its tag on each line, a blank line behind each sentence"
        raise InputError(path, "there is no word in it", remedy)
    for number, cells in (line for block in blocks for line in block):
        _check(f"{path}:{number}", cells, width)
    word, tag = _columns(path, blocks, width, word_column, tag_column)
    return [
        Sentence(
            tuple(cells[word] for _, cells in block),
            None if tag is None else tuple(cells[tag] for _, cells in block),
            f"{path}:{block[0][0]}",
        )
        for block in blocks
    ]


_Block = list[tuple[int, list[str]]]  # line number, cells


def _blocks(path: str) -> list[_Block]:
    """Runs of lines between blank lines and documents, each line cut into cells."""
    held = [(number, line.strip(" \t")) for number, line in lines(path)]
    tabs = 2 * sum("\t" in line for _, line in held) > sum(map(bool, (line for _, line in held)))
    blocks: list[_Block] = [[]]
    for number, line in held:
        if not line or line.startswith(_DOCUMENT):
            blocks.append([])
        elif tabs and "\t" in line:
            blocks[-1].append((number, [cell.strip(" ") for cell in line.split("\t")]))
        else:
            blocks[-1].append((number, _BLANKS.split(line)))
    return [block for block in blocks if block]


def _without_comments(block: _Block, width: int) -> _Block:
    """A sentence without the lines above it that begin with # and are no word: `# id ...`, or of another width."""
    comments = 0
    for _, cells in block:
        if not cells[0].startswith("#") or not (cells[:2] == ["#", "id"] or len(cells) != width):
            break
        comments += 1
    return block[comments:]


def _check(place: str, cells: Sequence[str], width: int) -> None:
    if len(cells) != width:
        problem = f"{len(cells)} of the {width} columns that most lines have ({' '.join(cells)[:40]!r})"
        raise InputError(place, problem, "write the same columns on every line, tabs between them")
    if not all(cells):
        problem = f"column {cells.index('') + 1} of {width} is empty"
        raise InputError(place, problem, "fill it in (the tag of a word in no entity is O)")


def _columns(
    path: str | Path, blocks: Sequence[_Block], width: int, word: int | None, tag: int | None
) -> tuple[int, int | None]:
    for asked in (word, tag):
        if asked is not None and not -width <= asked < width:
            raise InputError(path, f"no column {asked}, there are {width}", f"count from 0 to {width - 1}")
    if width == 1:
        return 0, None
    if tag is None:
        swapped = word != 0 and _share_of_tags(blocks, 0) == 1 and _share_of_tags(blocks, width - 1) < 0.5
        tag = 0 if swapped else width - 1
    tag %= width
    if word is None:
        others = [column for column in range(width) if column != tag]
        word = next((column for column in others if not _counts(blocks, column)), others[0])
    if word % width == tag:
        raise InputError(path, f"column {tag} is word and tag at once", "name two different columns")
    return word % width, tag


def _share_of_tags(blocks: Sequence[_Block], column: int) -> float:
    values = [cells[column] for block in blocks for _, cells in block]
    return sum(_TAG.fullmatch(value) is not None for value in values) / len(values)


def _counts(blocks: Sequence[_Block], column: int) -> bool:
    """Whether the column numbers the words of each sentence, from 0 or 1."""
    return any(
        all(cells[column] == str(number) for block in blocks for number, (_, cells) in enumerate(block, first))
        for first in (0, 1)
    )
