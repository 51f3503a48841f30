"""What a run computes on: Accelerate with the device, the precision and the attention core that a recipe asks for."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import InputError, RunError
from ..parts.core import CoreName, use_core
from .environment import best_dtype, compile_problem
from .recipe import Precision


def device_of(name: str | None) -> str:
    """`cpu`, `cuda` or `cuda:1`; None: the GPU where there is one. Raises InputError where it is not there."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise InputError("--device", f"{name!r} is not a device", "give cpu, cuda or cuda:N")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise InputError("--device", f"{name!r}: torch sees {torch.cuda.device_count()} GPUs", "use --device cpu")
    return name


def engine(*, device: str | None = None, precision: Precision = "auto", accumulate: int = 1) -> Accelerator:
    """An Accelerator; processes are those of `accelerate launch` or `torchrun`. bf16 only where the hardware has it."""
    name = device_of(device)
    dtype = best_dtype(name) if precision == "auto" else precision
    # its state is shared by the process, and this run may differ from the last one (but not in its process group)
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    with patch_environment(ACCELERATE_TORCH_DEVICE=name) if name.startswith("cuda:") else nullcontext():
        return Accelerator(
            mixed_precision="bf16" if dtype == "bfloat16" else "no",
            cpu=name == "cpu",
            gradient_accumulation_steps=accumulate,
        )


def choose_core(model: nn.Module, core: CoreName, *, device: str) -> None:
    """Set the attention core. Raises InputError where FlexAttention cannot do what is asked."""
    dropped = any(hasattr(module, "core") and getattr(module, "dropout", 0.0) for module in model.modules())
    if core == "flex" and (device == "cpu" or dropped):
        problem = "drops no attention weights" if dropped else "has no backward pass on a CPU"
        raise InputError("train.core", f"flex {problem}", "--set train.core=sdpa")
    use_core(model, core)


def check_compile(device: str) -> None:
    """Raises InputError where torch.compile cannot work."""
    if problem := compile_problem(device):
        raise InputError("train.compile", problem, "--set train.compile=false")


def compiled(module: nn.Module) -> Callable[..., Any]:
    """`module` compiled in place (inside what makes it data-parallel), one whole graph for each shape of batch.

    torch itself runs eagerly, without a word, behind a graph break and beyond a number of recompilations; here both are
    a RunError.
    """
    inner = module.module if isinstance(module, DistributedDataParallel) else module
    inner.compile(dynamic=False, fullgraph=True)

    def call(*batch: Any) -> Any:
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException  # imports for seconds

        try:
            return module(*batch)
        except (FailOnRecompileLimitHit, TorchDynamoException) as error:
            cause = " ".join(str(error.__cause__ or error).strip().splitlines()[:2])
            problem = f"torch.compile cannot make one graph of this ({cause})"
            raise RunError(f"{problem}; set train.compile to false") from error

    return call


def is_first_process() -> bool:
    """Whether this is the process that writes, of those that `accelerate launch` or `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


def anywhere(accelerator: Accelerator, here: bool) -> bool:
    """Whether it is so in any process: all must stop at the same step."""
    if accelerator.num_processes == 1:
        return here
    flag = torch.tensor([float(here)], device=accelerator.device)
    return bool(accelerator.reduce(flag, reduction="sum") > 0)
