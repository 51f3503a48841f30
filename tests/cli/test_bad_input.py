"""Bad input of every sort ends with exit code 2 and one line that names the place and the remedy; never a traceback."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from cli.project import QUICK, Ended, Slimbert, write_csv
from slimbert.cli import main, output
from slimbert.errors import Interrupted, RunError


def refused(ended: Ended, *words: str) -> None:
    """Exit code 2, nothing on standard output, one error line that holds all the words."""
    assert ended.code == 2 and ended.out == ""
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in ended.err, ended.err
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A folder of broken files."""
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes("good\nca\xfe\n".encode("latin-1"))
    (tmp_path / "broken.jsonl").write_text('{"text": "good"}\n{"text": \n')
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"good phone\n" * 5000, mtime=0)[:-30])
    (tmp_path / "two.csv").write_text("title,remark\na,b\n")
    (tmp_path / "notes.docx").write_text("x")
    write_csv(tmp_path / "one.csv", ["text", "label"], [[f"good {i}", "pos"] for i in range(20)])
    write_csv(tmp_path / "strange.csv", ["text", "label"], [["good", "pos"], ["bad", "ugly"]])
    return tmp_path


CORPORA = {
    "nothing.txt": ["nothing.txt", "no such file"],
    "empty.txt": ["no text"],
    "latin.txt": ["latin.txt:2", "UTF-8"],
    "broken.jsonl": ["broken.jsonl:2"],
    "cut.txt.gz": ["cut.txt.gz", "broken compressed data"],
    "two.csv": ["two.csv", "--text-column"],
    "notes.docx": ["notes.docx", "unknown kind of file"],
}


@pytest.mark.parametrize("name", CORPORA)
def test_corpora(name: str, bad: Path, toy: Path, slimbert: Slimbert):
    words = CORPORA[name] if name != "empty.txt" else ["empty" if name.startswith("e") else ""]
    made = slimbert(
        "prepare", bad / name, "--tokenizer", toy / "tok", "--seq-len", 16, "--out", bad / "d", "--threads", 1
    )
    refused(made, *([] if name == "empty.txt" else words))
    assert not (bad / "d" / "manifest.json").exists()
    refused(slimbert("tokenizer", "train", bad / name, "--out", bad / "t"), *CORPORA[name])
    assert not (bad / "t").exists()


def test_columns(bad: Path, toy: Path, slimbert: Slimbert):
    words = ("tokenizer", "train", bad / "two.csv", "--out", bad / "t", "--text-column")
    refused(slimbert(*words, "titel"), "no column 'titel'", "did you mean 'title'?")
    words = ("finetune", toy / "lm", toy / "reviews.csv", "--out", bad / "r")
    refused(slimbert(*words, "--label-column", "lable"), "no column 'lable'", "text, label")
    refused(slimbert(*words, "--task", "pair"), "--task pair", "looks like classification")
    refused(slimbert("predict", toy / "run", "--file", bad / "two.csv"), "no column 'text'")


def test_labels(bad: Path, toy: Path, slimbert: Slimbert):
    words = ("--out", bad / "r", *QUICK)
    refused(slimbert("finetune", toy / "lm", bad / "one.csv", *words), "one class only", "two or more")
    refused(slimbert("finetune", toy / "lm", bad / "nothing.csv", *words), "nothing.csv", "no such file")
    refused(slimbert("evaluate", toy / "run", bad / "strange.csv"), "strange.csv", "unknown label 'ugly'", "neg, pos")
    refused(slimbert("evaluate", toy / "lm", toy / "reviews.csv"), "was not fine-tuned", "finetune")
    refused(slimbert("predict", toy / "lm", "good"), "was not fine-tuned", "finetune")
    asked = slimbert("finetune", toy / "lm", toy / "reviews.csv", *words, "--task", "poetry")
    refused(asked, "--task poetry", "no such task; choose one of classification")
    assert not (bad / "r").exists()


def test_texts(bad: Path, toy: Path, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch):
    refused(slimbert("predict", toy / "run", "a", "--file", toy / "c.txt"), "--file", "either")
    refused(slimbert("predict", toy / "run", "--file", bad / "nothing.txt"), "no such file")
    refused(slimbert("predict", toy / "run", "--file", bad / "latin.txt"), "latin.txt:2", "UTF-8")
    refused(slimbert("predict", toy / "pairs", "a"), "1 given", "pairs")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    refused(slimbert("predict", toy / "run"), "give texts, --file, or a pipe")


def test_tokenizer_that_does_not_fit(toy: Path, tmp_path: Path, slimbert: Slimbert):
    small = ("init", "1{sf}", "--out", tmp_path / "m", "--set", "dim=16", "head_dim=8", "vocab=20")
    refused(slimbert(*small, "--tokenizer", toy / "tok"), "--set vocab", "20", "leave it out")
    assert slimbert(*small).code == 0
    shutil.copy(toy / "tok" / "tokenizer.json", tmp_path / "m")
    refused(slimbert("embed", tmp_path / "m", "good"), "the tokenizer has", "the model 20")
    refused(slimbert("init", "1{sf}", "--tokenizer", tmp_path, "--out", tmp_path / "n"), "tokenizer")
    words = ("pretrain", toy / "recipe.yaml", "--data", toy / "data", "--out", tmp_path / "r", "--set")
    refused(slimbert(*words, "model.encoder.embedding.vocab=7"), "embedding.vocab", "leave it out")
    refused(slimbert(*words, "data.seq_len=99"), "data.seq_len", "99", "16")


def test_broken_model_folders(toy: Path, tmp_path: Path, slimbert: Slimbert):
    weights = (toy / "run" / "model.safetensors").read_bytes()
    flipped = bytearray(weights)
    flipped[-5] ^= 1
    for content, word in ((weights[:-50], "cut short"), (bytes(flipped), "not those that were written")):
        shutil.copytree(toy / "run", tmp_path / "m", dirs_exist_ok=True)
        (tmp_path / "m" / "model.safetensors").write_bytes(content)
        refused(slimbert("predict", tmp_path / "m", "good"), "model.safetensors", word, "again")
    (tmp_path / "m" / "config.json").write_text("{")
    refused(slimbert("predict", tmp_path / "m", "good"), "config.json")
    refused(slimbert("predict", toy, "good"), "config.json is missing")


def test_checkpoints_against_their_config(tmp_path: Path, slimbert: Slimbert):
    size = ("--set", "dim=16", "head_dim=4", "hidden=32", "max_len=16", "vocab=40")
    assert slimbert("init", "1{mf}", *size, "--out", tmp_path / "m").code == 0
    words = ("convert", tmp_path / "m", "--to", "transformers", "--out", tmp_path / "theirs")
    assert slimbert(*words).code == 0
    words = ("convert", tmp_path / "theirs", "--out", tmp_path / "n")
    config = tmp_path / "theirs" / "config.json"
    written = config.read_text()
    for groups, problem in ((2, "config.json asks for (2, "), (3, "num_groups: 3 groups do not divide")):
        config.write_text(json.dumps(json.loads(written) | {"num_groups": groups}))
        refused(slimbert(*words), problem)
    config.write_text(written)
    assert slimbert("init", "1{sf}", *size, "--out", tmp_path / "bert").code == 0
    words = ("convert", tmp_path / "bert", "--to", "transformers", "--out", tmp_path / "plain")
    assert slimbert(*words).code == 0
    words = ("convert", tmp_path / "plain", "--padding", "published", "--out", tmp_path / "n")
    refused(slimbert(*words), "--padding: 'published', the layout bert has no such convolutions")


def test_recipes_and_settings(toy: Path, tmp_path: Path, slimbert: Slimbert):
    (tmp_path / "wrong.yaml").write_text("model: {encoder: {pattern: '1{sf}'}}\ntrain: {stepps: 3}\n")
    (tmp_path / "broken.yaml").write_text("model: {encoder:\n  - [\n")
    words = ("--data", toy / "data", "--out", tmp_path / "r")
    refused(slimbert("pretrain", tmp_path / "wrong.yaml", *words), "train.stepps", "did you mean 'steps'?")
    refused(slimbert("pretrain", tmp_path / "broken.yaml", *words), "broken.yaml:", "not YAML")
    refused(slimbert("pretrain", tmp_path / "nothing.yaml", *words), "nothing.yaml", "bert_tiny_mlm")
    pretrain = ("pretrain", toy / "recipe.yaml", *words)
    refused(slimbert(*pretrain, "--set", "train.step=3"), "train.step", "did you mean 'steps'?")
    refused(slimbert(*pretrain, "--set", "train.steps=some"), "train.steps", "'some'")
    refused(slimbert(*pretrain, "--set", "steps"), "--set steps", "=")
    refused(slimbert(*pretrain, "--budget", "soon"), "--budget", "10m")
    refused(slimbert(*pretrain, "--device", "gpu"), "--device", "'gpu'")
    refused(slimbert("pretrain", toy / "recipe.yaml", "--data", toy, "--out", tmp_path / "r"), "manifest.json")
    finetune = ("finetune", toy / "lm", toy / "reviews.csv", "--out", tmp_path / "r")
    refused(slimbert(*finetune, "--set", "epoch=3"), "epoch", "did you mean 'epochs'?")
    assert not (tmp_path / "r").exists()


def test_folders_in_use(toy: Path, slimbert: Slimbert):
    before = {path: path.stat().st_mtime_ns for path in toy.rglob("*") if path.is_file()}
    refused(
        slimbert("pretrain", toy / "recipe.yaml", "--data", toy / "data", "--out", toy / "lm"), "not empty", "--resume"
    )
    refused(slimbert("finetune", toy / "lm", toy / "reviews.csv", "--out", toy / "run"), "not empty", "--resume")
    refused(slimbert("init", "bert_tiny", "--out", toy / "run"), "not empty")
    refused(slimbert("convert", toy / "run", "--out", toy / "run"), "not empty")
    refused(slimbert("tokenizer", "train", toy / "c.txt", "--out", toy / "tok"), "not empty")
    refused(slimbert("init", "bert_tiny", "--out", toy / "c.txt"), "is a file")
    assert before == {path: path.stat().st_mtime_ns for path in toy.rglob("*") if path.is_file()}


def test_patterns_and_presets(tmp_path: Path, slimbert: Slimbert):
    words = ("--out", tmp_path / "m")
    refused(slimbert("init", "bert_tny", *words), "did you mean bert_tiny?")
    refused(slimbert("init", "2{sx}", *words), "'x'", "known: s, f")
    refused(slimbert("init", "2{sf", *words), "2{sf")
    refused(slimbert("init", "2{sf}", *words, "--set", "dim=wide"), "dim", "'wide'")
    refused(slimbert("init", "2{sf}", *words, "--set", "wiring=both"), "wiring", "'both'")
    thin = ("1{cgsg}", *words, "--set", "dim=24", "head_dim=8")
    refused(slimbert("init", *thin), "mix[0].group", "16 does not divide the width 24")
    refused(slimbert("init", "1{cgsg}", *words, "--set", "encoder.layers.0.mix.0.kernel=4"), "kernel", "4 is even")
    refused(slimbert("init", "bert_tiny", *words, "--set", "dim=256"), "--set dim", "write encoder.dim=256")
    refused(slimbert("init", "bert_tiny", *words, "--set", "hidden=64"), "--set hidden", "start from a pattern")
    refused(slimbert("init", "2{sf}", *words, "--set", "encoder.dimm=8"), "did you mean 'dim'?")
    refused(slimbert("show", "bert_tny"), "did you mean bert_tiny?")
    refused(slimbert("show", "bert_tiny", "--length", 513), "--length", "512")
    refused(slimbert("show", "bert_tiny", "--length", 8, "--keep", 9), "--keep")
    (tmp_path / "m").mkdir()
    made = slimbert(
        "init", "1{sf}", *words, "--set", "dim=8", "head_dim=8", "vocab=9", "encoder.init_std=0.1", "--json"
    )
    assert made.code == 0 and made.json["dim"] == 8  # an existing empty folder is fine


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fintune"], "Did you mean 'finetune'"),
        (["finetune", "a"], "DATA"),
        (["finetune", "a", "b"], "--out"),
        (["finetune", "a", "b", "--out", "c", "--outt", "d"], "--outt"),
        (["show", "bert_tiny", "--length", "0"], "--length"),
        (["show", "bert_tiny", "--length", "many"], "--length"),
        (["tokenizer"], "Missing command"),
    ],
)
def test_usage(words: list[str], said: str, slimbert: Slimbert):
    refused(slimbert(*words), said, "--help")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RunError("loss is nan at step 7"), 1, "error: loss is nan at step 7"),
        (Interrupted("SIGTERM: stopped after step 7"), 130, "interrupted: SIGTERM: stopped after step 7"),
        (KeyboardInterrupt(), 130, "interrupted: "),
        (ZeroDivisionError("division\nby zero"), 1, "error: ZeroDivisionError: division; --debug shows where"),
        (
            OSError(28, "No space left on device", "runs/a/x"),
            2,
            "error: runs/a/x: no space left on device; free some space",
        ),
        (PermissionError(13, "Permission denied", "runs"), 2, "error: runs: permission denied; check the path"),
        (MemoryError(), 1, "error: MemoryError"),
    ],
)
def test_every_end_has_its_code(
    error: BaseException, code: int, said: str, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch
):
    def fails(**options: object) -> None:
        raise error

    monkeypatch.setattr("slimbert.jobs.overview.known", lambda: fails())
    ended = slimbert("list")
    assert ended.code == code and ended.err.startswith(said) and ended.err.count("\n") == 1
    ended = slimbert("--debug", "list")
    assert ended.code == code and (code == 130 or "Traceback" in ended.err)
    assert slimbert("list", "--debug").code == code


def test_demo_without_its_extra(tmp_path: Path, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("slimbert.jobs.demo.folder.find_spec", lambda name: None)
    refused(slimbert("demo", "--out", tmp_path), 'pip install "slimbert[demo]"')


def test_json_is_valid_without_numbers_that_are_none():
    assert output.document({"loss": float("nan"), "path": Path("a"), "range": (1, 2.5)}) == (
        '{"loss": null, "path": "a", "range": [1, 2.5]}'
    )


def test_main_reads_the_command_line_of_the_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr("sys.argv", ["slimbert", "--version"])
    assert main() == 0 and capsys.readouterr().out.startswith("slimbert 0.")
