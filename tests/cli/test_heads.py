"""`slimbert show --heads`: a mixed encoder beside a plain one, and what does not go with it."""

from pathlib import Path

from cli.project import Slimbert
from cli.test_bad_input import refused


def test_half_of_the_heads_are_left_to_look(toy: Path, tmp_path: Path, slimbert: Slimbert):
    size = ("--set", "dim=16", "head_dim=4", "max_len=32")
    for name, pattern in (("plain", "2{sf}"), ("mixed", "2{mf}")):
        words = ("init", pattern, *size, "--tokenizer", toy / "tok", "--out", tmp_path / name)
        assert slimbert(*words).code == 0
    words = ("show", tmp_path / "mixed", "--heads", toy / "c.txt", "--beside", tmp_path / "plain")
    found = slimbert(*words, "--json")
    assert found.code == 0, found.err
    assert [[len(heads) for heads in one["layers"]] for one in found.json["encoders"]] == [[2, 2], [4, 4]]
    assert (tmp_path / "mixed" / "heads.png").read_bytes().startswith(b"\x89PNG")
    assert "mixed" in slimbert(*words).out


def test_options_that_would_be_ignored(toy: Path, slimbert: Slimbert):
    for more in (("--length", 128), ("--batch", 2), ("--keep", 1), ("--set", "dim=8")):
        refused(slimbert("show", toy / "lm", "--heads", toy / "c.txt", *more), more[0], "do not go with --heads")
    refused(slimbert("show", toy / "lm", "--beside", toy / "lm"), "--beside goes with --heads")
