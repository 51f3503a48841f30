"""JSON files: UTF-8 for every reader, and what was written for ours."""

import json
from pathlib import Path

import pytest

from slimbert.atomic import write_json


@pytest.mark.parametrize("indent", [None, 1, 2])
@pytest.mark.parametrize(
    "name", ["naïve 词", "caf\udce9.txt", '"\\', "\ud83d"], ids=["words", "bytes", "marks", "half"]
)
def test_json_of_any_name_is_read_back(tmp_path: Path, name: str, indent: int | None) -> None:
    data = {name: [name, 1.5, None]}
    write_json(tmp_path / "a.json", data, indent=indent)
    written = (tmp_path / "a.json").read_bytes()
    assert json.loads(written.decode("utf-8")) == json.loads(written) == data
    assert written.endswith(b"}\n")
