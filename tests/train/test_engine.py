"""Device, precision and core of a run; compiled runs are one graph or an error, never silently eager."""

import os

import pytest
import torch
from torch import Tensor, nn

from slimbert.errors import InputError, RunError
from slimbert.model import ModelConfig, fresh, with_dropout
from slimbert.model.presets import from_pattern
from slimbert.parts.core import CoreName, Explicit, Flex, Sdpa
from slimbert.train.engine import choose_core, compiled, device_of, engine, is_first_process


@pytest.fixture
def eager_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile traces and guards as always, but generates no code: seconds instead of a minute."""
    import torch._dynamo

    torch._dynamo.reset()
    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: real(self, backend="eager", **options))


class Breaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x + 1
        torch._dynamo.graph_break()
        return x * 2


def test_a_graph_break_is_an_error(eager_backend: None):
    with pytest.raises(RunError, match=r"set train\.compile to false"):
        compiled(Breaks())(torch.ones(2))


class Doubles(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def test_too_many_recompilations_are_an_error(eager_backend: None):
    """torch alone would warn in a log and go on eagerly."""
    call, limit = compiled(Doubles()), torch._dynamo.config.recompile_limit
    for rows in range(1, limit + 1):
        call(torch.ones(rows, 2))
    with pytest.raises(RunError, match=r"set train\.compile to false"):
        call(torch.ones(limit + 1, 2))


def test_errors_of_the_module_itself_pass_through(eager_backend: None):
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(TypeError):
        compiled(Wrong())(torch.ones(2), torch.ones(2))


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "mps:0", ""])
def test_unknown_devices(name: str):
    with pytest.raises(InputError, match="--device"):
        device_of(name)


def test_a_gpu_that_is_not_there():
    with pytest.raises(InputError, match=f"torch sees {torch.cuda.device_count()} GPUs"):
        device_of(f"cuda:{torch.cuda.device_count()}")


@pytest.mark.parametrize(("precision", "expected"), [("float32", "no"), ("bfloat16", "bf16")])
def test_each_run_has_its_own_precision(precision: str, expected: str):
    assert engine(device="cpu", precision=precision).mixed_precision == expected


@pytest.mark.parametrize(("core", "expected"), [("explicit", Explicit), ("sdpa", Sdpa)])
def test_core(core: CoreName, expected: type):
    encoder = from_pattern("2{sf}", dim=16, head_dim=8).build()
    choose_core(encoder, core, device="cpu")
    assert {type(layer[0].mixer.core) for layer in encoder.layers} == {expected}


def test_first_process(monkeypatch: pytest.MonkeyPatch):
    assert is_first_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()


def test_flex_is_refused_where_it_cannot_train():
    plain = fresh(ModelConfig(encoder=from_pattern("1{sf}", dim=16, head_dim=8, vocab=20)), 0)
    with pytest.raises(InputError, match="no backward pass on a CPU"):
        choose_core(plain, "flex", device="cpu")
    dropping = fresh(with_dropout(plain.config, 0.1), 0)
    with pytest.raises(InputError, match="drops no attention weights"):
        choose_core(dropping, "flex", device="cuda")
    choose_core(plain, "flex", device="cuda")
    assert isinstance(plain.encoder.layers[0][0].mixer.core, Flex)


@pytest.mark.gpu
def test_each_run_has_its_own_device():
    for name in ("cpu", "cuda", "cpu", "cuda:0", "cuda"):
        assert engine(device=name).device.type == name.partition(":")[0]
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ
