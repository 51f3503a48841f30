"""The built-in corpus and its labelled task: which library does a docstring come from?

The labels cost nothing, and the task is not trivial: the names of all libraries and their usual aliases are masked,
near-duplicates are removed before the split, and no module gives examples to two splits. What is held out for
validation and test is not in the corpus either, nor the rest of its modules, nor its near-duplicates.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .docstrings import Docstring
from .duplicates import clusters
from .tasks import Split, Task, fingerprint

# The packages with the most docstrings, in this order; the first CLASSES that have enough of them are the labels.
LIBRARIES = ("torch", "transformers", "sympy", "scipy", "pandas", "matplotlib", "sklearn", "networkx", "numpy")
CLASSES = 8
PER_MODULE = 6  # examples of one module at most, so that a few large files do not fill a split
LENGTH = 300  # characters shown at most, about 64 tokens
WORDS = 8  # a shorter summary ("Return self.") says nothing about its library
MASK = "library"

# Long names are masked also inside words (torchvision, PyTorchFileReader), short aliases as whole words or as parts of
# dotted and underscored names (np.array, hf_hub_download). All in any case.
_NAMES = (
    *("pytorch", "torch", "transformers", "sympy", "scipy", "pandas", "matplotlib", "mpl_toolkits", "pyplot", "pylab"),
    *("scikit-learn", "scikit_learn", "scikit learn", "scikits", "scikit", "sklearn", "networkx", "numpy"),
    *("hugging face", "hugging-face", "hugging_face", "huggingface", "\N{HUGGING FACE}", "tensorflow", "keras"),
)
_ALIASES = ("np", "pd", "plt", "mpl", "sp", "nx", "tf", "hf", "sk", "jax", "jnp", "aten", "c10", "at(?=::)")
_FIRST = "".join(sorted({name[0] for name in (*_NAMES, *_ALIASES)}))  # looked at first, which is faster
_MASKED = re.compile(
    f"(?=[{_FIRST}])(?:{'|'.join(map(re.escape, _NAMES))}|(?<![^\\W_])(?:{'|'.join(_ALIASES)})(?![^\\W_]))",
    re.IGNORECASE,
)


# What a classifier sees is the summary, up to the first blank line or section: the layout of parameter lists would give
# the library away (with 500 characters of everything, TF-IDF goes from 0.4 to 0.6).
_BEHIND = re.compile(
    r"\n\s*\n|^\s*(?::param|>>>|```)"
    r"|^\W*(?:Args?|Arguments?|Parameters?|Attributes|Returns?|Yields|Raises|Examples?|Notes?|Usage|See Also)\W*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Builtin:
    """corpus: texts to pretrain on, none of them held out by the task. task: library of a docstring, balanced."""

    corpus: list[str]
    task: Task


def mask(text: str) -> str:
    """The text with every library name and alias replaced by "library"."""
    return _MASKED.sub(MASK, text)


def shown(text: str) -> str:
    """What a classifier sees of a docstring: its summary, masked, and cut behind a word at LENGTH characters."""
    text = mask(_BEHIND.split(text[: 2 * LENGTH], maxsplit=1)[0].strip())
    return text if len(text) <= LENGTH else text[:LENGTH].rsplit(None, 1)[0]


def library_task(docstrings: Sequence[Docstring], *, train: int, validation: int, test: int, seed: int = 0) -> Builtin:
    """The task and the corpus that is left. train, validation, test: examples in all, shared equally by the classes.

    InputError where fewer than two libraries have enough docstrings.
    """
    seen = [(d, shown(d.text)) for d in docstrings if d.library in LIBRARIES]
    candidates = [docstring for docstring, text in seen if len(text.split()) >= WORDS]
    texts = [text for _, text in seen if len(text.split()) >= WORDS]
    cluster = clusters(texts)
    kept = _one_of_each(candidates, cluster)
    sizes = {"test": test, "validation": validation, "train": train}
    drawn = _draw([(row, candidates[row]) for row in kept], sizes, seed)
    labels = tuple(drawn)
    rng = np.random.default_rng(seed)
    splits, rows = {}, {}
    for split, count in sizes.items():
        rows[split] = _balanced([drawn[name][split] for name in labels], count, rng)
        classes = [labels.index(candidates[row].library) for row in rows[split]]
        splits[split] = Split([texts[row] for row in rows[split]], np.array(classes, dtype=np.int64))
    parts = (splits["train"], splits["validation"], splits["test"])
    corpus = _left(docstrings, candidates, cluster, [*rows["test"], *rows["validation"]])
    notes = (
        f"{len(docstrings)} docstrings; {len(candidates)} of the largest libraries have a summary of {WORDS} words",
        f"{len(kept)} of these are left after removing near-duplicates",
        f"names of libraries masked as {MASK!r}; summaries of at most {LENGTH} characters; no module in two splits",
        f"rows: {train} train, {validation} validation, {test} test",
        f"corpus of {len(corpus)} docstrings, without the modules and near-duplicates of validation and test",
    )
    sha256 = fingerprint(labels, *parts)
    return Builtin(corpus, Task("classification", labels, ("text",), "library", *parts, notes, sha256))


def _left(
    docstrings: Sequence[Docstring], candidates: Sequence[Docstring], cluster: np.ndarray, held: Sequence[int]
) -> list[str]:
    """The corpus: everything but the modules of the held-out rows and what is nearly equal to one of them."""
    modules = {candidates[row].module for row in held}
    alike = set(cluster[held].tolist())
    near = {d.text for d, number in zip(candidates, cluster.tolist(), strict=True) if number in alike}
    return [d.text for d in docstrings if d.module not in modules and d.text not in near]


def _one_of_each(candidates: Sequence[Docstring], cluster: np.ndarray) -> list[int]:
    """The first text of every cluster; none of a cluster that spans two libraries, whose label would be a coin's."""
    libraries: dict[int, set[str]] = defaultdict(set)
    for number, docstring in zip(cluster.tolist(), candidates, strict=True):
        libraries[number].add(docstring.library)
    return sorted(number for number, names in libraries.items() if len(names) == 1)


_Drawn = dict[str, dict[str, list[int]]]  # library -> split -> rows


def _draw(rows: Sequence[tuple[int, Docstring]], sizes: dict[str, int], seed: int) -> _Drawn:
    """Rows of as many libraries as have their share of every split, at most CLASSES."""
    found = {docstring.library for _, docstring in rows}
    present = [library for library in LIBRARIES if library in found]
    for classes in range(min(CLASSES, len(present)), 1, -1):
        share = {split: -(-count // classes) for split, count in sizes.items()}
        drawn: _Drawn = {}
        for library in present:
            own = _draw_from([(row, d.module) for row, d in rows if d.library == library], share, seed)
            if own is not None and len(drawn) < classes:
                drawn[library] = own
        if len(drawn) == classes:
            return drawn
    problem = f"fewer than two of {', '.join(LIBRARIES)} have enough docstrings here"
    raise InputError(
        "built-in corpus", problem, "install slimbert with its development extra, or ask for fewer examples"
    )


def _draw_from(rows: Iterable[tuple[int, str]], share: dict[str, int], seed: int) -> dict[str, list[int]] | None:
    """Rows of one library for each split, from modules that give to one split only; None if there are too few."""
    rng = np.random.default_rng(seed)
    modules: dict[str, list[int]] = defaultdict(list)
    for row, module in rows:
        modules[module].append(row)
    order = [list(modules)[i] for i in rng.permutation(len(modules))]
    drawn: dict[str, list[int]] = {}
    for split, count in share.items():
        taken: list[int] = []
        while len(taken) < count and order:
            taken += rng.permutation(modules[order.pop()])[:PER_MODULE].tolist()
        drawn[split] = taken[:count]
        if len(taken) < count:
            return None
    return drawn


def _balanced(rows: Sequence[list[int]], count: int, rng: np.random.Generator) -> list[int]:
    """`count` rows, equally many of each list up to one, in random order."""
    sizes = [count // len(rows) + (number < count % len(rows)) for number in range(len(rows))]
    mixed = [row for own, size in zip(rows, sizes, strict=True) for row in own[:size]]
    return rng.permutation(np.array(mixed, dtype=np.int64)).tolist()
