"""What every test shares: one thread per worker, no network, the GPU and data markers, the folder of real corpora."""

import itertools
import os
import time
from pathlib import Path

# Two workers on two cores beat two threads in one worker at toy size; a child process inherits the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
settings.register_profile("slimbert", deadline=None)  # shared cores: the time of one example says nothing
settings.load_profile("slimbert")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu are skipped, with the reason, where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; this machine has none"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by 0.01 s whenever it is looked at: a budget of time ends at the same update anywhere."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) / 100)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real corpora that SLIMBERT_DATA names; the test is skipped where it is not set."""
    name = os.environ.get("SLIMBERT_DATA")
    if not name:
        pytest.skip("SLIMBERT_DATA is not set: it names the folder of real corpora (wiki_en, sst2, ...)")
    folder = Path(name)
    if not folder.is_dir():
        pytest.skip(f"SLIMBERT_DATA={name} is not a folder")
    return folder
