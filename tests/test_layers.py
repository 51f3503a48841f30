"""The shape of the repository: who may import whom, how long a file may be, what must never appear in it.

Everything is read from the source text (ast), so that this file fails in a second and names file:line.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "slimbert"
FILES = sorted(PACKAGE.rglob("*.py"))
LINES_PER_FILE = 300

# room -> the rooms it may import, besides itself; imports go down only
CORE = {"errors", "atomic", "machine", "config", "state", "subnet"}
BELOW_METHODS = {*CORE, "parts", "model", "data", "train"}
BELOW_JOBS = {*BELOW_METHODS, "methods", "hf", "deploy", "bench"}
MAY_IMPORT = {
    "errors": set(),
    "atomic": {"errors"},
    "machine": set(),
    "config": {"errors"},
    "state": {"errors", "config"},
    "subnet": {"errors", "config", "state"},
    "parts": CORE,
    "model": {*CORE, "parts"},
    "data": {*CORE, "parts", "model"},
    "train": {*CORE, "parts", "model", "data"},
    "methods": BELOW_METHODS,
    "hf": BELOW_METHODS,
    "deploy": BELOW_METHODS,
    "bench": {*BELOW_METHODS, "hf"},
    "jobs": BELOW_JOBS,
    "cli": {*BELOW_JOBS, "jobs", "__init__"},
    "__init__": {"errors", "data", "model", "jobs"},  # its lazy names, for type checkers; see test_import_is_light
    "__main__": {"cli"},
}
ONLY_IN = {  # third-party package -> the rooms that may import it anywhere
    "transformers": {"hf"},
    "datasets": {"data"},
    "typer": {"cli"},
    "onnxruntime": {"deploy"},
}
SLOW = {"sklearn", "matplotlib"}  # a second each to import: for files that only jobs/ or functions import
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def place(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def module_of(file: Path) -> list[str]:
    """`src/slimbert/parts/core.py` -> ["parts", "core"]; a package is its folder."""
    parts = list(file.relative_to(PACKAGE).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def room_of(file: Path) -> str:
    return module_of(file)[0]


def imports(file: Path) -> Iterator[tuple[ast.AST, str, bool]]:
    """(node, absolute dotted name, at the top of the file?) of every import, relative ones resolved."""
    module = tree(file)
    inside = {n for f in ast.walk(module) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    typed = (n for n in ast.walk(module) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    inside |= {n for block in typed for n in ast.walk(block)}  # for type checkers: nothing is imported
    is_package = file.name == "__init__.py"
    here = ["slimbert"] if file.parent == PACKAGE and is_package else ["slimbert", *module_of(file)]
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, node not in inside
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + is_package] if node.level else []
            stem = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:  # `from .. import config` names a module, `from ..config import load` too
                yield node, ".".join([*stem, alias.name]), node not in inside


def test_imports_go_down_only():
    wrong = []
    for file in FILES:
        room = room_of(file)
        assert room in MAY_IMPORT, (
            f"{file.relative_to(ROOT)}: no such room in the import table of {Path(__file__).name}"
        )
        for node, name, _ in imports(file):
            if name.split(".")[0] != "slimbert" or name == "slimbert.__version__":
                continue
            target = name.split(".")[1]
            target = target if target in MAY_IMPORT else "__init__"
            if target != room and target not in MAY_IMPORT[room]:
                wrong.append(f"{place(file, node)}: {room} may not import {name}")
    assert not wrong, "\n".join(wrong)


def test_bench_takes_only_the_peers_from_hf():
    wrong = [
        f"{place(file, node)}: bench takes its baselines from hf.peers, not {name}"
        for file in FILES
        if room_of(file) == "bench"
        for node, name, _ in imports(file)
        if name.startswith("slimbert.hf") and not name.startswith("slimbert.hf.peers")
    ]
    assert not wrong, "\n".join(wrong)


def test_edges_hold_the_heavy_libraries():
    wrong = []
    for file in FILES:
        for node, name, _ in imports(file):
            library = name.split(".")[0]
            if library in ONLY_IN and room_of(file) not in ONLY_IN[library]:
                wrong.append(f"{place(file, node)}: only {', '.join(sorted(ONLY_IN[library]))} may import {library}")
    assert not wrong, "\n".join(wrong)


def test_slow_libraries_are_imported_when_needed():
    """A file that imports one at its top is itself imported only by jobs/, or inside the function that needs it."""
    slow = {
        ".".join(["slimbert", *module_of(f)])
        for f in FILES
        for _, n, top in imports(f)
        if top and n.split(".")[0] in SLOW
    }
    wrong = [
        f"{place(file, node)}: {name} pulls in {' or '.join(sorted(SLOW))}; import it inside the function that needs it"
        for file in FILES
        if room_of(file) != "jobs"
        for node, name, top in imports(file)
        if top and (name in slow or name.rpartition(".")[0] in slow)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["slimbert", "slimbert.cli", "slimbert.errors"])
def test_import_is_light(module: str):
    """Help and a torch-free predictor must not pay for torch: a fresh interpreter imports nothing heavy."""
    heavy = ("torch", "transformers", "numpy", "pyarrow", "sklearn", "matplotlib", "accelerate", "tokenizers")
    program = f"import sys, {module}; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT / "src", check=True)
    assert done.stdout.split() == []


def test_public_names_are_declared_once():
    """Every lazy public name is in `__all__`, and `__all__` stands in `__init__.py` files only."""
    import slimbert

    assert set(slimbert._HOMES) | {"__version__"} == set(slimbert.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        slimbert.laod  # noqa: B018
    for file in FILES:
        has = any(
            isinstance(n, ast.Name) and n.id == "__all__" and isinstance(n.ctx, ast.Store) for n in ast.walk(tree(file))
        )
        assert not has or file.name == "__init__.py", f"{file.relative_to(ROOT)}: __all__ belongs in __init__.py"


def test_files_fit_their_budget():
    long = {str(f.relative_to(ROOT)): n for f in FILES if (n := len(f.read_text().splitlines())) > LINES_PER_FILE}
    assert not long, f"over {LINES_PER_FILE} lines (split by idea, not by size): {long}"


def test_every_module_says_what_it_is():
    silent = [str(f.relative_to(ROOT)) for f in FILES if f.name != "__main__.py" and not ast.get_docstring(tree(f))]
    assert not silent, f"no docstring: {silent}"


def test_no_keyword_arguments_are_passed_through():
    """`def f(**kwargs): g(**kwargs)` hides every mistyped name. Only hf/ may: its base classes demand it."""
    wrong = []
    for file in FILES:
        for function in ast.walk(tree(file)):
            if not isinstance(function, ast.FunctionDef) or function.args.kwarg is None or room_of(file) == "hf":
                continue
            passed = (k for c in ast.walk(function) if isinstance(c, ast.Call) for k in c.keywords if k.arg is None)
            if any(isinstance(k.value, ast.Name) and k.value.id == function.args.kwarg.arg for k in passed):
                wrong.append(f"{place(file, function)}: {function.name} passes **{function.args.kwarg.arg} through")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_unpickled():
    wrong = []
    for file in FILES:
        wrong += [f"{place(file, n)}: imports {m}" for n, m, _ in imports(file) if m.split(".")[0] in UNPICKLERS]
        for node in ast.walk(tree(file)):
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) in {"torch.load", "torch.save"}:
                wrong.append(f"{place(file, node)}: {ast.unparse(node.func)} pickles; use safetensors and JSON")
            if any(
                k.arg in {"allow_pickle", "trust_remote_code"} and ast.unparse(k.value) != "False"
                for k in node.keywords
            ):
                wrong.append(f"{place(file, node)}: runs code out of a file")
    assert not wrong, "\n".join(wrong)


# A path of one machine, or a package index, means nothing on the next machine.
FOREIGN = re.compile(
    r"(?<![\w.])/(?:work|root|home|Users|opt)/\w"  # a path
    r"|--(?:extra-)?index-url[ =]+\S*//"  # an index option with an address
    r"|\b(?:pypi\.org|pythonhosted\.org|download\.pytorch\.org)\b"  # registry hosts
)
TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".jsonl", ".cfg", ".csv", ""}
WHERE = ("src", "tests", "docs", "recipes", "examples", "benchmarks", ".ci")


def test_no_path_of_a_machine_and_no_registry_host():
    files = [f for f in ROOT.iterdir() if f.is_file() and f.suffix in TEXT and f.name != ".git"]  # .git: a worktree's
    files += [f for w in WHERE for f in (ROOT / w).rglob("*") if f.is_file() and f.suffix in TEXT]
    wrong = []
    for file in files:
        if file == Path(__file__).resolve() or "__pycache__" in file.parts:
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if found := FOREIGN.search(line):
                wrong.append(f"{file.relative_to(ROOT)}:{number}: {found.group()!r}")
    assert not wrong, "\n".join(wrong)
