"""`slimbert narrow`: a model in its narrow form, and every place that cannot be as one line."""

from pathlib import Path

from cli.project import QUICK, Slimbert
from cli.test_bad_input import refused


def test_narrow_says_what_it_made(toy: Path, tmp_path: Path, slimbert: Slimbert):
    made = slimbert("narrow", toy / "lm", "--exact", "--out", tmp_path / "exact", "--json")
    assert made.code == 0 and made.json["tokenizer"] and made.json["head"] == "masked_lm"
    assert made.json["notes"] == ["narrows before layer 0: the answers are those of the whole model"]
    shown = slimbert("show", tmp_path / "exact", "--length", 16, "--keep", 1).out
    assert "layer 0 narrow" in shown
    size = ("--set", "dim=16", "head_dim=8", "max_len=32")
    assert slimbert("init", "3{sf}", *size, "--tokenizer", toy / "tok", "--out", tmp_path / "three").code == 0
    made = slimbert("narrow", tmp_path / "three", "--at", 1, "--out", tmp_path / "warm")
    assert made.code == 0 and "a warm start" in made.out and f"slimbert show {tmp_path / 'warm'} --keep 1" in made.out
    run = slimbert("finetune", tmp_path / "warm", toy / "reviews.csv", "--out", tmp_path / "run", *QUICK)
    assert run.code == 0
    assert slimbert("predict", tmp_path / "run", "good phone", "bad phone").code == 0


def test_places_that_cannot_be(toy: Path, tmp_path: Path, slimbert: Slimbert):
    words = ("--out", tmp_path / "m")
    refused(slimbert("narrow", toy / "lm", *words), "--at: is missing", "--exact")
    refused(slimbert("narrow", toy / "lm", "--at", 1, "--exact", *words), "exclude each other")
    refused(slimbert("narrow", toy / "lm", "--at", 2, *words), "2, the encoder has 1 layers", "give 0 to 1")
    refused(slimbert("narrow", toy / "lm", "--at", -1, *words), "--at")
    refused(slimbert("narrow", toy / "run", "--exact", *words), "config.head.pool", "pool=cls")
    refused(slimbert("narrow", toy / "nothing", "--exact", *words), "nothing")
    assert not (tmp_path / "m").exists()
    refused(slimbert("narrow", toy / "lm", "--exact", "--out", toy / "run"), "not empty")
    assert slimbert("narrow", toy / "lm", "--exact", *words).code == 0
    refused(slimbert("narrow", tmp_path / "m", "--exact", "--out", tmp_path / "n"), "layers[0]", "narrows already")


def test_a_narrowing_that_leaves_a_head_without_its_rows(toy: Path, tmp_path: Path, slimbert: Slimbert):
    assert slimbert("narrow", toy / "lm", "--exact", "--out", tmp_path / "m").code == 0
    words = ("finetune", tmp_path / "m", toy / "reviews.csv", "--out", tmp_path / "r", *QUICK, "--set", "pool=mean")
    refused(slimbert(*words), "--set pool", "narrows to the first token", "give cls")


def test_the_published_layouts(toy: Path, tmp_path: Path, slimbert: Slimbert):
    assert slimbert("narrow", toy / "lm", "--exact", "--out", tmp_path / "m").code == 0
    for layout in ("narrow_bert", "narrowbert"):
        words = ("--to", "transformers", "--layout", layout, "--out", tmp_path / layout)
        assert slimbert("convert", tmp_path / "m", *words).code == 0
        assert slimbert("convert", tmp_path / layout, "--out", tmp_path / f"{layout} back").code == 0
    words = ("--to", "transformers", "--layout", "bert", "--out", tmp_path / "no")
    refused(slimbert("convert", tmp_path / "m", *words), "layer 0 is a narrowing", "the layout bert has none")
