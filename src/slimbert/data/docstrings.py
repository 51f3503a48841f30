"""The built-in corpus: docstrings of the Python packages in this environment, read as text.

The .py files of a fixed list of packages are parsed with `ast`; nothing of them is imported or run, and nothing is
stored or downloaded. In the full development environment these are tens of thousands.

Parsing runs in child interpreters that execute this very file with the standard library alone. That needs neither a
fork of a process that holds torch's threads nor a guarded `__main__`, as multiprocessing would.
"""

import ast
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# Packages with many docstrings among those that the development extra brings; an absent one is passed over.
PACKAGES = (
    *(
        "torch",
        "transformers",
        "scipy",
        "sympy",
        "sklearn",
        "pandas",
        "numpy",
        "networkx",
        "matplotlib",
        "mpl_toolkits",
    ),
    *(
        "huggingface_hub",
        "sentence_transformers",
        "datasets",
        "narwhals",
        "fontTools",
        "mpmath",
        "pydantic",
        "accelerate",
    ),
    *("hypothesis", "rich", "PIL", "fsspec", "pyparsing", "click", "jinja2", "joblib", "pyarrow", "tokenizers"),
)
STANDARD = "python"  # the name under which the standard library's docstrings go
_PASSED_OVER = {"tests", "test", "testing", "_vendor", "_internal", "site-packages", "idlelib", "lib2to3", "turtledemo"}
_SPARSE = 8192  # bytes of source per docstring above which a file is not parsed: much time for little text; ours
_PORTION = 4_000_000  # bytes of source per child: about a second of parsing, so that two children end at the same time


@dataclass(frozen=True, slots=True)
class Docstring:
    """One distinct docstring, without its indentation: its package, its module (one file) and its text."""

    library: str
    module: str
    text: str


def collect(*, workers: int | None = None, progress: Callable[[int, int], None] | None = None) -> list[Docstring]:
    """All distinct docstrings of the packages that are present, in a fixed order.

    workers: child processes, by default one per usable core. progress: called with bytes of source done, and all.
    A file that does not parse is passed over: packages carry templates and files for other versions of Python.
    """
    from ..machine import cores  # here: the children run this file by itself

    portions, total = _portions(_files())
    found: dict[str, Docstring] = {}
    done = 0
    with ThreadPoolExecutor(workers or cores()) as pool:
        for portion, answer in zip(portions, pool.map(_parse_in_child, portions), strict=True):
            for number, texts in json.loads(answer):
                library, module, _, _ = portion[number]
                for text in texts:
                    found.setdefault(text, Docstring(library, module, text))
            done += sum(size for *_, size in portion)
            if progress is not None:
                progress(done, total)
    return list(found.values())


_File = tuple[str, str, str, int]  # library, module, path, bytes


def _files() -> Iterator[_File]:
    """The source files to read, package by package, each package's in the order of their paths."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)  # finds the folder of a top-level package without importing it
        if spec is not None and spec.origin is not None and spec.origin.endswith("__init__.py"):
            yield from _sources(Path(spec.origin).parent, package)
    yield from _sources(Path(sysconfig.get_paths()["stdlib"]), STANDARD)


def _sources(root: Path, library: str) -> Iterator[_File]:
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if name not in _PASSED_OVER)
        for name in sorted(names):
            # transformers writes modeling_x.py from modular_x.py: the same docstrings a second time
            if name.endswith(".py") and not name.startswith(("test_", "modular_")):
                path = Path(folder, name)
                parts = path.relative_to(root).with_suffix("").parts
                yield library, ".".join((library, *parts)), str(path), path.stat().st_size


def _portions(files: Iterator[_File]) -> tuple[list[list[_File]], int]:
    portions: list[list[_File]] = [[]]
    size = total = 0
    for file in files:
        if size > _PORTION:
            portions.append([])
            size = 0
        portions[-1].append(file)
        size += file[3]
        total += file[3]
    return portions, total


def _parse_in_child(portion: list[_File]) -> bytes:
    """JSON list of (number of the file in the portion, its docstrings)."""
    paths = json.dumps([path for _, _, path, _ in portion]).encode()
    child = subprocess.run([sys.executable, "-I", "-S", __file__], input=paths, stdout=subprocess.PIPE, check=True)
    return child.stdout


def docstrings(source: bytes) -> list[str]:
    """The docstrings of a Python file and of its classes and functions at any depth, without indentation.

    Empty where the file does not parse or has few docstrings for its size. Definitions inside `if`, `try` and the like
    are not looked for.
    """
    if source.count(b'"""') + source.count(b"'''") < 2 * len(source) / _SPARSE:
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and (text := text.encode(errors="ignore").decode().strip()):  # lone surrogates are no text
                found.append(text)
            stack.extend(reversed(node.body))
    return found


def _child() -> None:
    import gc
    import warnings

    gc.disable()  # syntax trees hold no cycles, and walking them for some costs a third of the time
    warnings.simplefilter("ignore")  # invalid escapes in other people's files
    paths = json.loads(sys.stdin.buffer.read())
    found = [(number, docstrings(Path(path).read_bytes())) for number, path in enumerate(paths)]
    sys.stdout.write(json.dumps(found))  # json.dump would encode in Python, piece by piece


if __name__ == "__main__":
    _child()
