"""A toy project made through the command line itself, once per session."""

import contextlib
import io
import shlex
from pathlib import Path

import pytest

from cli.project import BAD, GOOD, QUICK, RECIPE, Ended, Slimbert, sentence, write_csv
from slimbert.cli import main

COMMANDS = f"""
tokenizer train @/c.txt --vocab-size 90 --out @/tok
prepare @/c.txt --tokenizer @/tok --seq-len 16 --validation 0.2 --threads 1 --out @/data
init 1{{sf}} --set dim=16 head_dim=8 max_len=32 --tokenizer @/tok --out @/init
pretrain @/recipe.yaml --data @/data --out @/lm
finetune @/lm @/reviews.csv --out @/run {" ".join(QUICK)}
finetune @/init @/pairs.csv --out @/pairs --no-baselines {" ".join(QUICK)}
"""


@pytest.fixture
def slimbert(capsys: pytest.CaptureFixture) -> Slimbert:
    """Run a command in this process."""

    def run(*argv: object) -> Ended:
        code = main([str(word) for word in argv])
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with c.txt, tok/, data/, reviews.csv, pairs.csv, init/ (fresh), lm/ (pretrained), run/ (fine-tuned)."""
    folder = tmp_path_factory.mktemp("toy")
    texts = [sentence((GOOD, BAD)[i % 2], i) for i in range(60)]
    (folder / "c.txt").write_text("\n\n".join(texts))
    write_csv(folder / "reviews.csv", ["text", "label"], [[t, ("pos", "neg")[i % 2]] for i, t in enumerate(texts)])
    pairs = [[t, t if i % 2 else texts[i - 1], ("other", "same")[i % 2]] for i, t in enumerate(texts)]
    write_csv(folder / "pairs.csv", ["sentence1", "sentence2", "label"], pairs)
    (folder / "recipe.yaml").write_text(RECIPE)
    with contextlib.redirect_stdout(io.StringIO()):
        for command in COMMANDS.strip().splitlines():
            assert main([word.replace("@", str(folder)) for word in shlex.split(command)]) == 0, command
    return folder
