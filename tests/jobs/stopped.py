"""Pretraining runs that stop on the way, and compiled ones whose graphs are counted."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from slimbert.jobs.pretrain import pretrain
from slimbert.train.run import RunFolder

HERE = {"device": "cpu", "quiet": True}


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, act: Any) -> None:
    """Do something right after the row of `step` was written."""
    real = RunFolder.append

    def append(self: RunFolder, row: dict[str, Any]) -> None:
        real(self, row)
        if row["step"] == step and "loss" in row:
            act()

    monkeypatch.setattr(RunFolder, "append", append)


def crash() -> None:
    raise OSError("as if killed")


def crashed(monkeypatch: pytest.MonkeyPatch, out: Path, plain: dict[str, Any], data: Path, step: int) -> None:
    """Pretrain in `out` until an error at `step`, as if killed there."""
    with monkeypatch.context() as patch:
        stop_at(patch, step, crash)
        with pytest.raises(OSError, match="as if killed"):
            pretrain(plain, data=data, out=out, **HERE)


def counted(monkeypatch: pytest.MonkeyPatch, backend: str) -> Any:
    """torch.compile with `backend`, and dynamo's counters from zero."""
    import torch._dynamo
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: real(self, backend=backend, **options))
    return counters
