"""The built-in corpus: parsed and never run; the task: names masked, no near-duplicate and no module on two sides."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimbert import machine
from slimbert.data import docstrings as source
from slimbert.data.builtin import LENGTH, LIBRARIES, WORDS, library_task, mask, shown
from slimbert.data.docstrings import Docstring, collect, docstrings
from slimbert.data.duplicates import clusters
from slimbert.errors import InputError

FILE = b'''"""Module."""
raise RuntimeError("never run")
class A:
    """Class.

        indented
    """
    async def f(self):
        \'\'\'Method.\'\'\'
        def inner():
            """Inner."""
    x = """not a docstring"""
def g(): return """neither"""
'''


def test_docstrings_are_parsed_and_not_run():
    assert docstrings(FILE) == ["Module.", "Class.\n\nindented", "Method.", "Inner."]
    assert docstrings(b'"""broken"""\ndef (') == []
    assert docstrings(b'"""bad \\ud800 surrogate"""') == ["bad  surrogate"]
    assert docstrings(b'"""sparse"""\n' + b"x = 1\n" * 4000) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(raw):
    assert isinstance(docstrings(b'"""d"""' + raw), list)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two packages on the path: `alpha` with a module that must not run, `beta` repeating one docstring of it."""
    for name in ("alpha", "beta"):
        (tmp_path / name / "tests").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text(f'"""Package {name}."""\nraise RuntimeError("imported")\n')
        (tmp_path / name / "core.py").write_text(f'"""Shared by both."""\ndef f():\n    """Only in {name}."""\n')
        (tmp_path / name / "tests" / "hidden.py").write_text('"""Not read."""')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source, "PACKAGES", ("alpha", "missing_package", "beta"))
    monkeypatch.setattr(source.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path / "no_such_folder")})


def test_collect_reads_what_is_there_without_importing(packages):
    seen = []
    found = collect(workers=2, progress=lambda done, total: seen.append((done, total)))
    assert [(d.module, d.text) for d in found] == [
        ("alpha.__init__", "Package alpha."),
        ("alpha.core", "Shared by both."),
        ("alpha.core", "Only in alpha."),
        ("beta.__init__", "Package beta."),
        ("beta.core", "Only in beta."),
    ]
    assert not {"alpha", "beta"} & set(sys.modules)
    assert seen[-1][0] == seen[-1][1] > 0


def test_collect_takes_a_process_for_every_core_that_is_ours(packages, monkeypatch):
    asked = []
    monkeypatch.setattr(machine, "cores", lambda: 3)
    monkeypatch.setattr(source, "ThreadPoolExecutor", lambda count: asked.append(count) or ThreadPoolExecutor(count))
    assert len(collect()) == 5
    assert asked == [3]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("torch.nn and Torch, PyTorch", "library.nn and library, library"),
        ("import numpy as np; np.array, jnp.array", "import library as library; library.array, library.array"),
        ("`sklearn.svm`, scikit-learn", "`library.svm`, library"),
        ("torchvision, NumPyish, SYMPY's", "libraryvision, libraryish, library's"),
        ("hf_hub, tf.Tensor, TF, pd.NA, plt_show", "library_hub, library.Tensor, library, library.NA, library_show"),
        ("Hugging Face transformers, huggingface_hub", "library library, library_hub"),
        ("a transformer, hft, inplt, cnp, spd, step, skip", "a transformer, hft, inplt, cnp, spd, step, skip"),
        ("at::Tensor at once", "library::Tensor at once"),
    ],
)
def test_names_are_masked(text, masked):
    assert mask(text) == masked


@given(st.lists(st.sampled_from([*LIBRARIES, "PyTorch", "np", "x", ".", "_", " ", "Y"]), max_size=12).map("".join))
def test_no_library_name_is_left(text):
    assert not re.search("|".join(LIBRARIES), mask(text), re.IGNORECASE)
    assert mask(mask(text)) == mask(text)


def test_only_the_summary_is_shown():
    assert shown("Sum of\nnumpy rows.\n\nMore.") == "Sum of\nlibrary rows."
    for section in ("Args:", "    Parameters\n----------", ":param x: y", ">>> f()", "# Returns", "**Example**:"):
        assert shown(f"Adds.\n{section}\n  x: a number") == "Adds."
    assert shown("Args: none are taken here") == "Args: none are taken here"
    long = shown("word " * 200)
    assert LENGTH - 6 <= len(long) <= LENGTH
    assert long.endswith("word")


def sentences(count: int, *, seed: int = 0, words: int = 12) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{n}" for n in rng.integers(0, 5000, words)) for _ in range(count)]


def test_near_duplicates_are_found_and_others_left_apart():
    texts = sentences(300, words=40)
    near = [" ".join(["changed", *text.split()[1:]]) for text in texts]  # 37 of 39 triples shared: similarity 0.95
    found = clusters([*texts, *near, texts[0].upper() + "!"])
    assert found[:300].tolist() == list(range(300))
    assert found[300:600].tolist() == list(range(300))
    assert found[600] == 0
    far = [
        " ".join([*text.split()[:12], *other.split()[12:]])
        for text, other in zip(texts, sentences(300, seed=1, words=40))
    ]
    assert clusters([*texts, *far]).tolist() == list(range(600))  # 10 of 66 triples shared: similarity 0.15


@given(st.lists(st.text(max_size=8), max_size=12))
def test_clusters_of_any_texts(texts):
    found = clusters(texts)
    assert all(found[found[i]] == found[i] <= i for i in range(len(texts)))
    assert all(found[i] == found[j] for i, a in enumerate(texts) for j, b in enumerate(texts) if a == b)


@pytest.fixture
def written() -> list[Docstring]:
    """Three libraries with 40 modules of 5 docstrings, some of them repeated elsewhere."""
    texts = iter(sentences(700))
    made = [
        Docstring(library, f"{library}.m{module}", f"{library} {next(texts)}")
        for library in ("torch", "scipy", "pandas")
        for module in range(40)
        for _ in range(5)
    ]
    both = [
        Docstring(name, f"{name}.both", f"{name} says the same thing here as in the other one")
        for name in ("torch", "scipy")
    ]
    again = [Docstring("scipy", "scipy.again", d.text + " again") for d in made if d.library == "scipy"]
    return [*made, *both, *again, Docstring("rich", "rich.x", "Another library, in the corpus only.")]


def test_the_task_is_balanced_and_nothing_leaks(written):
    made = library_task(written, train=61, validation=30, test=90)
    task, test = made.task, made.task.test
    assert task.labels == ("torch", "scipy", "pandas")
    assert np.bincount(test.labels).tolist() == [30, 30, 30]
    assert np.bincount(task.train.labels).tolist() == [21, 20, 20]
    modules = {shown(d.text): d.module for d in reversed(written)}  # the first of equal texts counts
    sides = [{modules[text] for text in part.texts} for part in (task.train, task.validation, test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    texts = [*task.train.texts, *task.validation.texts, *test.texts]
    assert len(np.unique(clusters(texts))) == len(texts) == 181
    assert not any("says the same" in text for text in texts)  # one text, two libraries: no label
    assert not any(re.search("torch|scipy|pandas", text) for text in texts)
    assert all(len(text.split()) >= WORDS for text in texts)
    assert len(task.sha256) == 64
    held = {*task.validation.texts, *test.texts}
    left = {shown(text) for text in made.corpus}
    assert not held & left
    assert not any(f"{text} again" in left for text in held)
    assert "Another library, in the corpus only." in made.corpus
    assert set(task.train.texts) <= left


def test_the_task_is_the_same_for_the_same_seed(written):
    one, two, other = (library_task(written, train=30, validation=30, test=30, seed=seed).task for seed in (0, 0, 1))
    assert one.sha256 == two.sha256 != other.sha256


def test_too_little_is_said(written):
    with pytest.raises(InputError, match=r"fewer than two of torch, .* have enough"):
        library_task(written, train=3000, validation=30, test=90)


def test_the_environment_gives_enough(monkeypatch):
    """A part of the real environment, to stay fast: enough for the task of the demo at a fifth of its size."""
    monkeypatch.setattr(source, "PACKAGES", ("scipy", "numpy"))
    found = collect()
    assert len(found) > 4000
    assert len({d.text for d in found}) == len(found)
    task = library_task(found, train=60, validation=40, test=200).task
    assert task.labels == ("scipy", "numpy")
    assert not any(re.search(r"numpy|scipy|\bnp\b", text, re.IGNORECASE) for text in task.train.texts)
