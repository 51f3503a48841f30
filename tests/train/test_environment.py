"""What a machine is: true where it can be checked, silent about its name and its paths."""

import json
import os
import socket
import time
from pathlib import Path

import pytest
import torch

from slimbert.train import environment as env
from slimbert.train.run import RunFolder


def test_environment_is_json_and_names_no_machine(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_environment()
    text = (tmp_path / "environment.json").read_text()
    found = json.loads(text)
    assert found["versions"]["torch"] == torch.__version__
    assert 1 <= found["cores"] <= (os.cpu_count() or 1)
    assert found["memory_gb"] > 0.1
    assert found["best_dtype"] in {"float32", "bfloat16"}
    assert found["compile"] == ("compile_problem" not in found)
    assert "gemm_tflops" not in found
    assert socket.gethostname() not in text
    assert not [word for word in text.split('"') if word.startswith("/")]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_rate_of_products_is_measured_within_its_time(dtype: str) -> None:
    start = time.perf_counter()
    rate = env.gemm_tflops(dtype, seconds=0.3)
    assert 0 < rate < 1e4
    assert (
        time.perf_counter() - start < 10
    )  # 0.3 s where the machine is free; emulated bfloat16 needs its first product


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("fma avx2", "float32"),
        ("avx2 avx512f avx512_vnni", "float32"),
        ("avx512f avx512_bf16", "bfloat16"),
        ("amx_tile amx_bf16 avx512_bf16", "bfloat16"),
    ],
)
def test_bfloat16_only_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, dtype: str
) -> None:
    monkeypatch.setattr(
        env, "_cpuinfo", lambda: f"model name\t: Some CPU\nflags\t\t: {flags}\n\nmodel name\t: Some CPU\n"
    )
    assert env.best_dtype("cpu") == dtype
    assert env.cpu_model() == "Some CPU"
    assert set(env.instruction_sets()) <= set(flags.split())


@pytest.mark.gpu
def test_a_gpu_is_named_and_measured() -> None:
    assert env.gpus()[0]["memory_gb"] > 1
    assert env.gemm_tflops(env.best_dtype("cuda"), device="cuda", seconds=1.0) > 1


def test_without_a_compiler_compiling_is_impossible_and_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert env.compiler() is None
    assert env.compile_problem("cpu") == "torch.compile needs a C++ compiler: install g++"
