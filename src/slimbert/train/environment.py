"""What a run ran on: versions, processor, memory, GPU, and what the hardware can do.

No figure means anything without the machine's matrix-product rate beside it. Nothing here names the machine: no host,
no path. torch is imported inside the functions that need it.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimbert import __version__

from ..machine import cores, memory_bytes

if TYPE_CHECKING:
    import torch

LIBRARIES = ("torch", "accelerate", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow")
# as /proc/cpuinfo names them; x86, then Arm
INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16"),
    *("asimd", "sve", "sve2", "bf16", "i8mm", "svebf16"),
)
MULTIPLIES_BF16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}


def environment(*, measure: bool = False) -> dict[str, Any]:
    """Everything about the machine that a figure depends on, ready for JSON; sizes in GB (1e9 bytes).

    measure: also run `gemm_tflops` in float32 and bfloat16 (about 3 s each) and report TFLOP/s.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    problem = compile_problem(device)
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "cpu": cpu_model(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "instruction_sets": list(instruction_sets()),
        "memory_gb": round(memory_bytes() / 1e9, 1),
        "gpu": gpus(),
        "best_dtype": best_dtype(device),
        "compiler": compiler(),
        "compile": problem is None,
    }
    if problem:
        found["compile_problem"] = problem
    if measure:
        found["gemm_tflops"] = {name: gemm_tflops(name, device=device) for name in ("float32", "bfloat16")}
    return found


def versions() -> dict[str, str]:
    """Installed versions of the libraries that results depend on; those not installed are left out."""
    found = {"slimbert": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """The processor's name, as it tells it."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _cpuinfo(), flags=re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """Those of INSTRUCTIONS that the processor has; empty where the system does not say (only Linux does)."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), flags=re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    return tuple(name for name in INSTRUCTIONS if name in flags)


def gpus() -> list[dict[str, Any]]:
    """Name, memory in GB and compute capability of each CUDA device."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory = round(device.total_memory / 1e9, 1)
        found.append({"name": device.name, "memory_gb": memory, "capability": f"{device.major}.{device.minor}"})
    return found


def best_dtype(device: "torch.device | str") -> str:
    """ "bfloat16" where the hardware multiplies it, else "float32": emulated, it is many times slower."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = kind == "cpu" and not MULTIPLIES_BF16.isdisjoint(instruction_sets())
    return "bfloat16" if native else "float32"


def compiler() -> str | None:
    """The C++ compiler that torch.compile would call, with its version, or None."""
    name = os.environ.get("CXX") or next((name for name in ("g++", "clang++") if shutil.which(name)), None)
    if not name or not shutil.which(name):
        return None
    answer = subprocess.run([name, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True, check=False)
    return f"{Path(name).name} {answer.stdout.split()[0] if answer.stdout.split() else ''}".strip()


def compile_problem(device: "torch.device | str") -> str | None:
    """Why torch.compile cannot work here, with the remedy; None where it can. Looks for what it needs only."""
    import torch

    if sys.platform == "win32":
        return "torch.compile is not supported by slimbert on Windows"
    if not compiler():
        return "torch.compile needs a C++ compiler: install g++"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "torch.compile needs the C headers of Python: install python3-dev (or python3-devel)"
    if torch.device(device).type == "cuda":
        try:
            version("triton")
        except PackageNotFoundError:
            return "torch.compile on a GPU needs triton: pip install triton"
    return None


def gemm_tflops(dtype: str, *, device: "torch.device | str" = "cpu", seconds: float = 3.0) -> float:
    """Rate of a large square matrix product in TFLOP/s (2 n^3 operations), the best of several runs.

    n doubles from 256 while the next size still fits into `seconds`: emulated bfloat16 stays small, a GPU reaches 8192.
    """
    import torch

    def once(x: "torch.Tensor") -> float:
        start = time.perf_counter()
        torch.mm(x, x)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        return time.perf_counter() - start

    largest = 8192 if torch.device(device).type == "cuda" else 4096
    n, begin = 256, time.perf_counter()
    while True:
        x = torch.rand(n, n, device=device, generator=torch.Generator(device).manual_seed(0)).to(getattr(torch, dtype))
        # the first product at 256 pays for threads and kernels; it is left out unless it ate the whole time
        times = [once(x)]
        if time.perf_counter() - begin < seconds / 2:
            times = [once(x)]
        left = seconds - (time.perf_counter() - begin)
        if n >= largest or 8 * 3 * times[0] > left:
            break
        n *= 2
    while time.perf_counter() - begin + times[0] < seconds and len(times) < 20:
        times.append(once(x))
    return float(f"{2 * n**3 / min(times) / 1e12:.3g}")


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(errors="replace") if path.is_file() else ""
