"""The built-in corpus and its labelled task: which library does a docstring come from?

The labels cost nothing, and the task is not trivial: the names of all libraries and their usual aliases are masked, near-
duplicates are removed before the split, and no module gives examples to two splits. What is held out for validation and
test is not in the corpus either, nor the rest of its modules, nor its near-duplicates.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from slimbert.errors import InputError

from .docstrings import Docstring, collect
from .duplicates import clusters
from .tasks import Split, Task, fingerprint

# The packages with the most docstrings, in this order; the first CLASSES that have enough of them are the labels.
LIBRARIES = ("torch", "transformers", "sympy", "scipy", "pandas", "matplotlib", "sklearn", "networkx", "numpy")
CLASSES = 8
PER_MODULE = 6  # examples of one module at most, so that a few large files do not fill a split
LENGTH = 500  # characters shown of a docstring, about 120 tokens: usually the summary and the first parameters
WORDS = 8  # a shorter docstring ("Return self.") says nothing about its library
MASK = "library"

# Long names are masked also inside words (torchvision, PyTorchFileReader), short aliases as whole words or as parts of
# dotted and underscored names (np.array, hf_hub_download). All in any case.
_NAMES = (
    *("pytorch", "torch", "transformers", "sympy", "scipy", "pandas", "matplotlib", "mpl_toolkits", "pyplot", "pylab"),
    *("scikit-learn", "scikit_learn", "scikit learn", "scikits", "scikit", "sklearn", "networkx", "numpy"),
    *("hugging face", "hugging-face", "hugging_face", "huggingface", "\N{HUGGING FACE}", "tensorflow", "keras"),
)
_ALIASES = ("np", "pd", "plt", "mpl", "sp", "nx", "tf", "hf", "sk", "jax", "jnp", "aten", "c10", "at(?=::)")
_MASKED = re.compile(
    f"{'|'.join(map(re.escape, _NAMES))}|(?<![^\\W_])(?:{'|'.join(_ALIASES)})(?![^\\W_])", re.IGNORECASE
)


@dataclass(frozen=True)
class Builtin:
    """corpus: texts to pretrain on, none of them held out by the task. task: library of a docstring, balanced."""

    corpus: list[str]
    task: Task


def builtin(
    *,
    train: int = 300,
    validation: int = 200,
    test: int = 1000,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Builtin:
    """Collect the docstrings of this environment and make the task. progress: bytes of source read, and all."""
    found = collect(workers=workers, progress=progress)
    return library_task(found, train=train, validation=validation, test=test, seed=seed)


def mask(text: str) -> str:
    """The text with every library name and alias replaced by "library"."""
    return _MASKED.sub(MASK, text)


def shown(text: str) -> str:
    """What a classifier sees of a docstring: masked, and cut behind a word at LENGTH characters."""
    text = mask(text[: 2 * LENGTH])
    return text if len(text) <= LENGTH else text[:LENGTH].rsplit(None, 1)[0]


def library_task(
    docstrings: Sequence[Docstring], *, train: int, validation: int, test: int, seed: int = 0
) -> Builtin:
    """The task and the corpus that is left. train, validation, test: examples in all, shared equally by the classes.

    InputError where fewer than two libraries have enough docstrings.
    """
    candidates = [d for d in docstrings if d.library in LIBRARIES and len(d.text.split()) >= WORDS]
    texts = [shown(d.text) for d in candidates]
    cluster = clusters(texts)
    rng = np.random.default_rng(seed)
    wanted = {"test": test, "validation": validation, "train": train}
    drawn: dict[str, dict[str, list[int]]] = {}
    kept = _one_of_each(candidates, cluster)
    for library in LIBRARIES:
        share = {split: -(-count // CLASSES) for split, count in wanted.items()}
        taken = _draw([i for i in kept if candidates[i].library == library], candidates, share, rng)
        if taken is not None and len(drawn) < CLASSES:
            drawn[library] = taken
    if len(drawn) < 2:
        problem = f"only {len(drawn)} of {', '.join(LIBRARIES)} have enough docstrings here"
        raise InputError("built-in corpus", problem, "install the package with its development extra")
    labels = tuple(drawn)
    chosen = {split: _balanced([drawn[name][split] for name in labels], wanted[split], rng) for split in wanted}
    splits = {
        split: Split([texts[i] for i in rows], np.array([labels.index(candidates[i].library) for i in rows]))
        for split, rows in chosen.items()
    }
    held = [*chosen["test"], *chosen["validation"]]
    modules = {candidates[i].module for i in held}
    alike = set(cluster[held].tolist())
    near = {d.text for i, d in enumerate(candidates) if cluster[i] in alike}
    corpus = [d.text for d in docstrings if d.module not in modules and d.text not in near]
    notes = (
        f"{len(docstrings)} docstrings; {len(candidates)} of {WORDS} words or more in {len(LIBRARIES)} libraries, "
        f"{len(kept)} after removing near-duplicates",
        f"names of libraries masked as {MASK!r}; at most {LENGTH} characters; no module in two splits",
        f"rows: {len(splits['train'])} train, {len(splits['validation'])} validation, {len(splits['test'])} test",
        f"corpus of {len(corpus)} docstrings, without the modules and near-duplicates of validation and test",
    )
    parts = (splits["train"], splits["validation"], splits["test"])
    sha256 = fingerprint(labels, *parts)
    return Builtin(corpus, Task("classification", labels, ("text",), "library", *parts, notes, sha256))


def _one_of_each(candidates: Sequence[Docstring], cluster: np.ndarray) -> list[int]:
    """The first text of every cluster; none of a cluster that spans two libraries, whose label would be a coin's."""
    libraries: dict[int, set[str]] = defaultdict(set)
    for number, docstring in zip(cluster.tolist(), candidates, strict=True):
        libraries[number].add(docstring.library)
    return sorted(number for number, names in libraries.items() if len(names) == 1)


def _draw(
    rows: Iterable[int], candidates: Sequence[Docstring], share: dict[str, int], rng: np.random.Generator
) -> dict[str, list[int]] | None:
    """Rows of one library for each split, from modules that give to one split only; None if there are too few."""
    modules: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        modules[candidates[row].module].append(row)
    order = [list(modules)[i] for i in rng.permutation(len(modules))]
    drawn: dict[str, list[int]] = {}
    for split, count in share.items():
        taken: list[int] = []
        while len(taken) < count and order:
            taken += rng.permutation(modules[order.pop()])[:PER_MODULE].tolist()
        drawn[split] = taken[:count]
    return drawn if all(len(drawn[split]) == count for split, count in share.items()) else None


def _balanced(rows: Sequence[list[int]], count: int, rng: np.random.Generator) -> list[int]:
    """`count` rows, equally many of each list up to one, in random order."""
    sizes = [count // len(rows) + (number < count % len(rows)) for number in range(len(rows))]
    mixed = [row for own, size in zip(rows, sizes, strict=True) for row in own[:size]]
    return rng.permutation(np.array(mixed, dtype=np.int64)).tolist()
