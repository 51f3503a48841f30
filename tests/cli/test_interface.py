"""The interface that others script against: frozen options, light help, streams, exit codes of the real process."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from slimbert.cli import app, arguments, main
from slimbert.cli.output import CLICK_ERROR

SOURCE = Path(__file__).parents[2] / "src"
FROZEN = Path(__file__).with_name("options.json")
HEAVY = {"torch", "transformers", "numpy", "pyarrow", "sklearn", "tokenizers", "accelerate", "rich", "yaml", "pydantic"}


def interface(command: Any, path: str = "slimbert") -> dict[str, list[str]]:
    """Command -> its arguments and options (those of help and shell completion left out)."""
    found: dict[str, list[str]] = {path: []}
    for one in command.params:
        names = [*one.opts, *one.secondary_opts] if one.param_type_name == "option" else [one.name.upper()]
        if not {"--help", "--install-completion", "--show-completion"} & set(names):
            found[path].append("/".join(names) + (" (required)" if one.required else ""))
    for name, below in getattr(command, "commands", {}).items():
        found |= interface(below, f"{path} {name}")
    return found


def test_options_are_frozen():
    """A change here breaks somebody's script: if it is meant, change options.json with it, and CHANGELOG.md."""
    now = interface(typer.main.get_command(app))
    assert now == json.loads(FROZEN.read_text())


@pytest.mark.parametrize(
    "command", ["", *[name.removeprefix("slimbert ") for name in json.loads(FROZEN.read_text())][1:]]
)
def test_help(command: str, capsys: pytest.CaptureFixture):
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: slimbert {command}".rstrip()) and all(
        len(line) <= 80 for line in shown.splitlines()
    )
    assert "..." not in shown.partition("Commands:")[2], "the first sentence of a command is too long for the list"


def documented() -> list[tuple[str, str]]:
    """(page, command) of every line that begins with `slimbert` in a block of code of the pages."""
    root = SOURCE.parent
    pages = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    blocks = [
        (page, block) for page in pages for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.S | re.M)
    ]
    lines = [(page.name, line) for page, block in blocks for line in block.splitlines()]
    return [(page, line) for page, line in lines if line.startswith("slimbert ") and not line.endswith("\\")]


def test_commands_of_the_docs_are_understood(monkeypatch: pytest.MonkeyPatch):
    """Every command that a page shows can be given: its name, its arguments and its options."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # --threads sets them
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")
    found = documented()
    assert len(found) > 50
    for page, line in found:
        words, _ = arguments(shlex.split(re.split(r"\s[#>]\s", line)[0])[1:])
        command: Any = typer.main.get_command(app)
        while getattr(command, "commands", None) and words:
            command = command.commands[words.pop(0)]
        try:
            command.make_context("slimbert", list(words))
        except CLICK_ERROR as error:
            pytest.fail(f"{page}: {line}: {error.format_message()}")


def test_commands_are_short():
    """Parse, call one function, print: at most 40 lines, docstring included."""
    import ast

    folder = SOURCE / "slimbert" / "cli"
    for name in ("train", "deploy", "search", "inspect", "data", "ticket"):
        for node in ast.parse((folder / f"{name}.py").read_text()).body:
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno + 1 <= 40, f"{name}.{node.name}"


def process(*words: str, extra: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess:
    code = "import sys; from slimbert.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **(extra or {})}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, env=environment, timeout=100, check=False, **options)


@pytest.mark.parametrize("words", [["--help"], ["finetune", "--help"]])
def test_help_is_light(words: list[str]):
    """0.3 s of help leave no room for torch; a time would depend on the machine, a list of modules does not."""
    code = (
        "import sys\nfrom slimbert.cli import main\nmain(sys.argv[1:])\n"
        f"print('HEAVY', *[m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=SOURCE)
    assert done.stdout.splitlines()[-1] == "HEAVY"


def test_a_closed_pipe_ends_quietly(toy: Path, tmp_path: Path):
    """`slimbert predict ... | head -1` with more answers than a pipe holds."""
    (tmp_path / "many.txt").write_text("good phone\n" * 3000)
    read, write = os.pipe()
    code = "import sys; from slimbert.cli import main; sys.exit(main())"
    words = ["predict", str(toy / "run"), "--file", str(tmp_path / "many.txt")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=write, stderr=subprocess.PIPE, cwd=SOURCE
    ) as child:
        os.close(write)
        assert json.loads(os.read(read, 200).splitlines()[0])["text"] == "good phone"
        os.close(read)
        _, err = child.communicate(timeout=100)
    assert (child.returncode, err) == (0, b"")


def test_the_process_gives_the_exit_code():
    done = process("finetune", "some/run", text=True)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("error: Missing argument")
    assert done.stderr.count("\n") == 1


def test_shell_completion():
    """bash asks the program itself what may follow `slimbert fi`."""
    asked = {"_SLIMBERT_COMPLETE": "complete_bash", "COMP_WORDS": "slimbert fi", "COMP_CWORD": "1"}
    done = process(text=True, extra=asked)
    assert done.stdout.split() == ["finetune"]


def test_arguments():
    """--debug anywhere, several settings behind one --set, and everything behind -- untouched."""
    assert arguments(["a", "--debug", "b"]) == (["a", "b"], True)
    assert arguments(["a", "--", "--debug"]) == (["a", "--", "--debug"], False)
    assert arguments(["x", "--set", "a=1", "b.c=2", "y", "z=3"]) == (
        ["x", "--set", "a=1", "--set", "b.c=2", "y", "z=3"],
        False,
    )
    assert arguments(["--set", "a=1", "--set", "b=2", "--", "c=3"])[0] == ["--set", "a=1", "--set", "b=2", "--", "c=3"]
