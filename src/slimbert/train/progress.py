"""Progress on standard error: one live line on a terminal, a plain line now and then elsewhere.

step 1,200/20,000  loss 3.4120  8.1k tokens/s  2:03  ETA 31:10  1.2 GB
"""

import sys
import time
from typing import Self

import psutil
from rich.console import Console
from rich.live import Live
from rich.text import Text

Value = float | int | str
SECONDS = {"live": 0.2, "plain": 10.0}  # between two lines


class Progress:
    """Shows how far a job is. Use it in a `with`; `update` is cheap enough to be called after every step.

    total: units until the end, or None where the end is a time; budget: that time in seconds from now; start: units
    done before (a resumed run). ETA rests on the speed since the first update: the time of compiling does not count.
    """

    def __init__(
        self,
        total: int | None,
        unit: str = "step",
        *,
        start: int = 0,
        budget: float | None = None,
        console: Console | None = None,
        enabled: bool = True,
    ) -> None:
        self.total, self.unit, self.budget, self.enabled = total, unit, budget, enabled
        self.console = console or Console(stderr=True)
        shown_live = self.console.is_terminal and enabled
        # standard output stays as it is: it may carry JSON
        self.live = Live(console=self.console, auto_refresh=False, redirect_stdout=False) if shown_live else None
        self.begin = time.perf_counter()
        self._every = SECONDS["live" if self.live else "plain"]
        self._last = -1e9
        self._done, self._stale = start, False
        self._first: tuple[int, float] | None = None  # units done at the first update, and when that was
        self._shown: dict[str, Value] = {}
        self._process = psutil.Process()

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
            self._stale = True
            self._show()  # the first step may compile for a minute
        return self

    def __exit__(self, *_: object) -> None:
        self._show()
        if self.live:
            self.live.stop()

    def update(self, n: int, **shown: Value) -> None:
        """`n` units are done. `shown`: anything short (loss=3.4, tokens_per_second=8100.0), kept until replaced."""
        self._done = n
        if self._first is None:
            self._first = (n, time.perf_counter() - self.begin)
        self._shown |= shown
        self._stale = True
        if time.perf_counter() - self._last >= self._every or n == self.total:
            self._show()

    def note(self, message: str) -> None:
        """A whole line of its own, above the live one."""
        if self.enabled:
            self.console.print(Text(message), soft_wrap=True)

    def _show(self) -> None:
        if not (self._stale and self.enabled):
            return
        self._stale, self._last = False, time.perf_counter()
        parts = self._parts(self._done)
        if self.live:
            line = "  ".join(fitting(parts, self.console.width - 1))
            self.live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self.console.print(Text("  ".join(text for _, text in parts)), soft_wrap=True)

    def _parts(self, n: int) -> list[tuple[int, str]]:
        """(rank, text) of each field in the order shown; the highest rank goes first where the line is too long."""
        elapsed = time.perf_counter() - self.begin
        parts = [(0, f"{self.unit} {n:,}" + (f"/{self.total:,}" if self.total else ""))]
        parts += [(2 + place, field(name, value)) for place, (name, value) in enumerate(self._shown.items())]
        parts.append((1, clock(elapsed)))
        left = self._left(n, elapsed)
        if left is not None:
            parts.append((1, f"ETA {clock(left)}"))
        parts.append((90, self._memory()))
        return parts

    def _left(self, n: int, elapsed: float) -> float | None:
        """Seconds to the end, or None where it cannot be told yet."""
        lefts = [] if self.budget is None else [max(0.0, self.budget - elapsed)]
        if self.total is not None and self._first is not None and n > self._first[0]:
            speed = (n - self._first[0]) / max(elapsed - self._first[1], 1e-9)  # units/s
            lefts.append(max(0, self.total - n) / speed)
        return min(lefts, default=None)

    def _memory(self) -> str:
        text = f"{self._process.memory_info().rss / 1e9:.1f} GB"
        torch = sys.modules.get("torch")  # never imported for this line
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            text += f", GPU {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
        return text


def fitting(parts: list[tuple[int, str]], width: int) -> list[str]:
    """The texts that fit into `width` columns with two spaces between; those of the highest rank are left out first."""
    parts = list(parts)
    while len(parts) > 1 and sum(len(text) + 2 for _, text in parts) - 2 > width:
        parts.remove(max(parts, key=lambda part: part[0]))
    return [text for _, text in parts]


def field(name: str, value: Value) -> str:
    """loss=3.41234 -> "loss 3.4123"; tokens_per_second=8123.4 -> "8.1k tokens/s"."""
    if name.endswith("_per_second") and not isinstance(value, str):
        return f"{short(value)} {name.removesuffix('_per_second')}/s"
    words = name.replace("_", " ")
    if isinstance(value, float):
        return f"{words} {value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{words} {value:.2e}"
    return f"{words} {value:,}" if isinstance(value, int) else f"{words} {value}"


def short(value: float) -> str:
    """A large number in at most five characters: 812, 8.1k, 16k, 1.2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}" if value < 10 * size else f"{value / size:.0f}{letter}"
    return f"{value:.0f}"


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
