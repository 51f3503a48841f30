"""Each command does what it says, for a person (tables) and for a program (one JSON document, or JSON Lines)."""

import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.project import QUICK, Slimbert, write_csv
from slimbert.errors import InputError
from slimbert.jobs.answers import PORTION, arriving


def test_the_runs_of_the_toy_are_model_folders(toy: Path):
    for name in ("init", "lm", "run", "pairs"):
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            assert (toy / name / file).exists(), (name, file)


def test_tokenizer_and_prepare(toy: Path, tmp_path: Path, slimbert: Slimbert):
    made = slimbert("tokenizer", "train", toy / "c.txt", "--vocab-size", 80, "--out", tmp_path / "tok", "--json")
    assert made.code == 0 and made.json["vocab_size"] <= 80 and made.json["documents"] == 60
    words = ("prepare", toy / "c.txt", "--tokenizer", tmp_path / "tok", "--seq-len", 16, "--threads", 1, "--dedup")
    made = slimbert(*words, "--out", tmp_path / "data", "--json")
    assert made.code == 0 and made.json["documents"] == 60 and made.json["unknown_share"] == 0
    again = slimbert(*words, "--out", tmp_path / "data")  # it is there already: the same report, for a person
    for word in ("documents", "tokens/s", "unknown tokens", "duplicates", "pretrain RECIPE.yaml"):
        assert word in again.out


def test_skipped_records_are_counted_and_named(toy: Path, tmp_path: Path, slimbert: Slimbert):
    (tmp_path / "c.jsonl").write_text('{"text": "good phone"}\n{broken\n{"text": "bad phone"}\n')
    words = ("prepare", tmp_path / "c.jsonl", "--tokenizer", toy / "tok", "--seq-len", 8, "--threads", 1)
    made = slimbert(*words, "--out", tmp_path / "data", "--skip-bad", "--json")
    assert made.json["skipped"] == 1 and "c.jsonl:2" in made.json["skipped_records"][0]


def test_pretrain_says_what_comes_next(toy: Path, tmp_path: Path, slimbert: Slimbert):
    words = ("pretrain", toy / "recipe.yaml", "--data", toy / "data", "--seed", 1, "--device", "cpu")
    made = slimbert(*words, "--out", tmp_path / "run", "--init-from", toy / "init", "--budget", "2steps")
    assert made.code == 0 and "validation loss" in made.out and f"slimbert finetune {tmp_path / 'run'}" in made.out
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2]
    again = slimbert(
        *words, "--out", tmp_path / "run", "--init-from", toy / "init", "--budget", "2steps", "--resume", "--json"
    )
    assert again.code == 0 and again.json["steps"] == 2


def test_finetune_shows_scores_beside_baselines(toy: Path, tmp_path: Path, slimbert: Slimbert):
    words = ("finetune", toy / "lm", toy / "reviews.csv", "--task", "classification", *QUICK)
    made = slimbert(*words, "--out", tmp_path / "run")
    assert made.code == 0
    for word in ("fine-tuned encoder", "majority class", "TF-IDF", "95% interval", "slimbert predict"):
        assert word in made.out
    assert "'text' (by its name)" in made.err  # what was chosen
    assert all(len(line) <= 80 for line in made.out.splitlines() if str(tmp_path) not in line)


def test_the_next_commands_can_be_pasted(toy: Path, slimbert: Slimbert):
    shown = slimbert("init", "1{sf}", "--set", "dim=16", "head_dim=8", "vocab=50", "--out", toy / "with space").out
    command = shlex.split(shown.splitlines()[-1])
    assert command == ["slimbert", "show", str(toy / "with space")]


def test_predict_answers_in_order(toy: Path, tmp_path: Path, slimbert: Slimbert):
    texts = ["good phone", "", "bad screen"]
    direct = slimbert("predict", toy / "run", "--", *texts)
    assert direct.code == 0 and [a["text"] for a in direct.lines] == texts
    for answer in direct.lines:
        assert set(answer) == {"text", "label", "score", "scores"} and set(answer["scores"]) == {"neg", "pos"}
        assert answer["score"] == max(answer["scores"].values()) == answer["scores"][answer["label"]]
    (tmp_path / "t.txt").write_text("\n".join(texts) + "\n")
    write_csv(tmp_path / "t.csv", ["text", "more"], [[text, "x"] for text in texts])
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for name in ("t.txt", "t.csv", "t.jsonl"):
        assert slimbert("predict", toy / "run", "--file", tmp_path / name).lines == direct.lines, name


def test_predict_reads_standard_input(toy: Path, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch):
    many = PORTION + 3
    content = b"\xef\xbb\xbfgood\r\n\n" + b"bad phone\n" * many + b"last"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    answers = slimbert("predict", toy / "run").lines
    assert [a["text"] for a in answers] == ["good", "", *["bad phone"] * many, "last"]


def test_predict_pairs(toy: Path, slimbert: Slimbert):
    answer = slimbert("predict", toy / "pairs", "good phone", "bad phone").lines
    assert len(answer) == 1 and answer[0]["text"] == ["good phone", "bad phone"]
    assert len(slimbert("predict", toy / "pairs", "--file", toy / "pairs.csv").lines) == 60


def test_embed(toy: Path, slimbert: Slimbert):
    plain = slimbert("embed", toy / "lm", "--file", toy / "reviews.csv", "--device", "cpu").lines
    assert len(plain) == 60 and len(plain[0]["vector"]) == 16
    unit = slimbert("embed", toy / "lm", "good phone", "--normalise").lines
    assert sum(x * x for x in unit[0]["vector"]) == pytest.approx(1, abs=1e-5)


def test_evaluate_a_file_and_a_split(toy: Path, tmp_path: Path, slimbert: Slimbert):
    made = slimbert("evaluate", toy / "run", toy / "reviews.csv", "--json").json
    assert made["score"]["rows"] == 60 and [one["label"] for one in made["labels"]] == ["neg", "pos"]
    assert sum(one["rows"] for one in made["labels"]) == 60
    right = sum(round(one["recall"] * one["rows"]) for one in made["labels"])
    assert made["score"]["accuracy"] == pytest.approx(right / 60)
    for split, rows in (("validation", 10), ("test", 20)):
        (tmp_path / f"{split}.csv").write_text("\n".join((toy / "reviews.csv").read_text().splitlines()[: rows + 1]))
    made = slimbert("evaluate", toy / "run", tmp_path, "--split", "validation", "--json").json
    assert made["score"]["rows"] == 10 and made["split"] == "validation"
    assert "20 rows" in slimbert("evaluate", toy / "run", tmp_path).out


def test_evaluate_says_what_was_trained_on(toy: Path, tmp_path: Path, slimbert: Slimbert):
    known = slimbert("evaluate", toy / "run", toy / "reviews.csv", "--json").json["trained_on"]
    assert 0 < known < 60
    assert (
        f"{known} of these texts are training texts of the run"
        in slimbert("evaluate", toy / "run", toy / "reviews.csv").out
    )
    new = write_csv(tmp_path / "new.csv", ["text", "label"], [[f"some new phone {i}", "pos"] for i in range(5)])
    assert "training texts" not in slimbert("evaluate", toy / "run", new).out


def test_compare(toy: Path, slimbert: Slimbert):
    words = ("compare", toy / "run", toy / "run", toy / "reviews.csv")
    made = slimbert(*words, "--json").json
    assert [one["metric"] for one in made["differences"]] == ["accuracy", "f1"] and made["difference"] == 0
    shown = slimbert(*words).out
    for word in ("1 minus 2", "+0.0000 to +0.0000", "F1", "accuracy: no difference is shown by these rows"):
        assert word in shown
    refused = slimbert("compare", toy / "run", toy / "pairs", toy / "reviews.csv")
    assert refused.code == 2 and "fine-tuned for the same task" in refused.err


def test_arriving_lines_are_answered_at_once():
    """Whatever has come through a pipe is answered before the next line comes."""

    class Pipe(io.RawIOBase):
        chunks = [b"one\ntw", b"o\nthree\n", b"four"]

        def read1(self, size: int) -> bytes:
            return self.chunks.pop(0) if self.chunks else b""

    assert list(arriving(Pipe())) == [["one"], ["two", "three"], ["four"]]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"standard input:2: byte 2 of the line is not UTF-8"):
        list(arriving(io.BytesIO(b"one\nt\xff\n")))


def test_show_names_every_part_once(toy: Path, tmp_path: Path, slimbert: Slimbert):
    made = slimbert("show", "2{sf}:3{sf}", "--keep", 5, "--json").json
    assert made["layers"] == 5 and made["parameters"] == sum(part["parameters"] for part in made["parts"])
    shown = slimbert("show", "2{sf}:3{sf}", "--keep", 5).out
    wide, narrow = (["layers 0-1 attention", "layers 0-1 mlp"], ["layers 3-5 attention", "layers 3-5 mlp"])
    assert re.findall(r"layers? [\d-]+ [a-z]+", shown) == [*wide, "layer 2 narrow", *narrow]
    words = ("show", "f:sf", "--set", "dim=768", "vocab=50", "--keep", 32)  # absorbed in training alone
    both = slimbert(*words, "--json").json
    assert both["inference_macs"] > both["macs"] == sum(part["macs"] for part in both["parts"])
    assert f"of inference {both['inference_macs']:,}" in slimbert(*words).out
    for model in (toy / "run", toy / "recipe.yaml", toy / "init", "bert_tiny"):
        assert "head" in slimbert("show", model, "--length", 16).out
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.yaml").write_text((toy / "lm" / "recipe.yaml").read_text())  # not finished yet
    begun = slimbert("show", tmp_path / "begun", "--length", 16, "--json").json
    assert begun["parts"] == slimbert("show", toy / "lm", "--length", 16, "--json").json["parts"]


def test_convert_there_and_back(toy: Path, tmp_path: Path, slimbert: Slimbert):
    there = slimbert("convert", toy / "lm", "--to", "transformers", "--out", tmp_path / "theirs", "--json")
    assert there.code == 0 and json.loads((tmp_path / "theirs" / "config.json").read_text())["model_type"] == "bert"
    back = slimbert("convert", tmp_path / "theirs", "--out", tmp_path / "ours")
    assert back.code == 0 and "parameters" in back.out
    texts = ("good phone", "bad screen")
    old, new = (slimbert("embed", folder, *texts).lines for folder in (toy / "lm", tmp_path / "ours"))
    for a, b in zip(old, new, strict=True):
        assert b["vector"] == pytest.approx(a["vector"], abs=1e-5)  # float32, another order of sums
    refused = slimbert("convert", toy / "run", "--to", "transformers", "--out", tmp_path / "no")
    assert refused.code == 2 and "'mean' where the layout has 'cls'" in refused.err
    words = ("--to", "transformers", "--encoder-only", "--out", tmp_path / "bare", "--json")
    assert slimbert("convert", toy / "run", *words).json["head"] is None
    assert slimbert("convert", toy / "run", "--out", tmp_path / "copy").code == 0
    assert slimbert("predict", tmp_path / "copy", *texts).out == slimbert("predict", toy / "run", *texts).out


def test_list_and_doctor(slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch):
    made = slimbert("list", "--json").json
    assert {"name": "bert_base", "layers": 12, "dim": 768, "heads": 12}.items() <= {
        p["name"]: p for p in made["presets"]
    }["bert_base"].items()
    assert "attention" in made["kinds"]["mixer"] and made["letters"]["s"] == "attention"
    assert "bert_tiny_mlm" in made["recipes"]
    assert "bert_deep_small" in slimbert("list").out
    monkeypatch.setattr("slimbert.train.environment.gemm_tflops", lambda *args, **options: 0.5)
    found = slimbert("doctor", "--json").json
    assert {"cores", "instruction_sets", "gpu", "versions", "gemm_tflops", "best_dtype", "compile", "extras"} <= set(
        found
    )
    shown = slimbert("doctor").out
    for word in ("processor", "matrix product", "What is possible", "bfloat16", "torch.compile", "slimbert[demo]"):
        assert word in shown


def test_demo_shows_who_won_and_what_to_try_next(
    toy: Path, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from slimbert.jobs.demo import run
    from slimbert.jobs.demo.contest import Contender
    from slimbert.jobs.demo.result import Demo
    from slimbert.jobs.predict import Filled
    from slimbert.jobs.pretrain import Pretrained
    from slimbert.jobs.tasks.classification import Prediction

    def fake(out: Path, seed: int, device: str | None) -> Demo:
        return Demo(
            out=str(out),
            seconds=75.0,
            phases={"pretraining": 60.0},
            notes=("a note",),
            pretrained=Pretrained("runs/demo/pretrained", 10, 1000, 60.0, 5.0, 5.1),
            first_loss=8.3,
            filled=(run.Sentence("Return a [MASK].", (Filled("copy", 0.5), Filled("view", 0.2))),),
            contenders=(
                Contender("majority class", 0.2, 0.2, 0.2, (0.2, 0.2, 0.2), 0.0, None, None),
                Contender("MiniLM-L6", 0.57, 0.5, 0.64, (0.55, 0.57, 0.59), 40.0, 22_000_000, "runs/demo/finetuned"),
            ),
            verdict=("MiniLM-L6 is ahead.",),
            answers=(Prediction("Draw a legend.", "matplotlib", 0.9, {"matplotlib": 0.9, "numpy": 0.1}),),
            files={"report": "runs/demo/report.md"},
            next=("slimbert finetune runs/demo/minilm YOUR.csv --out runs/mine",),
        )

    monkeypatch.setattr(run, "demo", fake)
    shown = slimbert("demo", "--out", tmp_path).out
    for word in (
        "MiniLM-L6 is ahead.",
        "57.0%",
        "22,000,000",
        "-> copy, view",
        "matplotlib (90.0%)",
        "YOUR.csv",
        "1:15",
    ):
        assert word in shown
    assert shown.index("MiniLM-L6 ") < shown.index("majority class")  # the best first
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert slimbert("demo", "--json").json["first_loss"] == 8.3


def test_bench(slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch):
    found = {
        "stock": 1000.0,
        "stock_tuned": 2000.0,
        "handwritten": 4100.0,
        "slimbert": 4000.0,
        "ratio": 4.0,
        "spent": [1.0],
    }

    def fake(*, seconds: float, batch_size: int, tell: Callable[[str], object]) -> dict[str, object]:
        tell(f"{seconds:g} s, {batch_size} rows")
        print("a library talks")
        return found

    monkeypatch.setattr("slimbert.bench.pretrain.pretrain_benchmark", fake)
    made = slimbert("bench", "pretrain", "--seconds", 5, "--batch", 4, "--json")
    assert made.json == found and made.err == "5 s, 4 rows\na library talks\n"
    shown = slimbert("bench", "pretrain").out
    assert "4,000" in shown and "4.00" in shown and "ratio" in shown


def test_threads(slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch):
    import torch

    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    before = torch.get_num_threads()
    try:
        assert slimbert("init", "nothing", "--out", "x", "--threads", 2).code == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
