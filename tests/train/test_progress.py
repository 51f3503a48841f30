"""The progress line fits its terminal; elsewhere plain lines come now and then. Signals become a flag."""

import io
import os
import re
import signal
import threading

import pytest
from rich.console import Console

from slimbert.train.progress import Progress, clock, field, fitting, short
from slimbert.train.signals import stop_on_signal


def written(*, terminal: bool, updates: int = 3, total: int | None = 100_000, **options: float) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80, legacy_windows=False)
    with Progress(total, console=console, **options) as progress:  # type: ignore[arg-type]
        for n in range(12_345, 12_345 + updates):
            progress.update(n, loss=10.4321, tokens_per_second=123_456.0, learning_rate=1e-4)
        progress.note("validation")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_on_a_terminal_one_line_of_at_most_80_columns() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", written(terminal=True))
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert max(map(len, lines)) < 80
    assert "validation" in lines
    assert "12,347/100,000" in lines[-1]  # the last state is shown, though it came before its time
    for part in ("step ", "loss 10.4321", "123k tokens/s", "ETA "):
        assert part in lines[-1]


def test_elsewhere_plain_lines_the_first_and_the_last() -> None:
    lines = written(terminal=False, updates=500).splitlines()
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
    assert lines[0].startswith("step 12,345/100,000  loss 10.4321  123k tokens/s  learning rate 1.00e-04  0:00  ")
    assert lines[0].endswith(" GB")
    assert lines[1] == "validation"
    assert lines[2].startswith("step 12,844/100,000")
    assert "ETA " in lines[2]


def test_a_time_budget_gives_the_eta(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ETA 1:30:00" in written(terminal=False, total=None, budget=5400.0)
    assert "step 12,345  loss" in written(terminal=False, total=None)
    assert "ETA" not in written(terminal=False, total=None)
    assert "ETA" not in written(terminal=False, updates=1)  # no speed is known yet


def test_silence_where_disabled() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with Progress(10, console=console, enabled=False) as progress:
        progress.update(10, loss=1.0)
        progress.note("nothing")
    assert isinstance(console.file, io.StringIO)
    assert not console.file.getvalue()


def test_the_least_important_goes_first() -> None:
    parts = [(0, "step 1"), (2, "loss 3"), (1, "0:01"), (90, "1 GB")]
    assert fitting(parts, 80) == ["step 1", "loss 3", "0:01", "1 GB"]
    assert fitting(parts, 20) == ["step 1", "loss 3", "0:01"]
    assert fitting(parts, 2) == ["step 1"]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (clock(59.6), "1:00"),
        (clock(3723), "1:02:03"),
        (short(812.4), "812"),
        (short(8123.0), "8.1k"),
        (short(9999.0), "10.0k"),
        (short(1.6e6), "1.6M"),
        (field("loss", 3.41234), "loss 3.4123"),
        (field("lr", 2e-5), "lr 2.00e-05"),
        (field("loss", float("nan")), "loss nan"),
        (field("epoch", 1200), "epoch 1,200"),
        (field("phase", "warm-up"), "phase warm-up"),
    ],
)
def test_numbers_are_short(shown: str, text: str) -> None:
    assert shown == text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_second_stops(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    former = signal.getsignal(number)
    with stop_on_signal() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.name == number.name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is former
    assert "finishing this step, then a checkpoint" in capfd.readouterr().err


def test_outside_the_main_thread_the_flag_stays_false() -> None:
    seen: list[bool] = []

    def work() -> None:
        with stop_on_signal() as stop:
            seen.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
