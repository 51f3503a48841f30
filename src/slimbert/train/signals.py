"""SIGINT and SIGTERM as a flag that the loop reads after each step.

The first signal asks: finish the step, write a checkpoint, raise Interrupted. A second one stops at once.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import Interrupted

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """False until a signal arrives; then true, and `name` is "SIGINT" or "SIGTERM"."""

    def __init__(self) -> None:
        self.name = ""

    def __bool__(self) -> bool:
        return bool(self.name)

    def heed(self, step: int) -> None:
        """Raises Interrupted where a signal came; `step` is checkpointed."""
        if self:
            raise Interrupted(f"{self.name}: stopped after step {step}; go on with --resume")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.name:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
        # os.write: a handler may run in the middle of a print, which must not be entered twice
        os.write(2, f"\n{self.name}: finishing this step, then a checkpoint; once more stops at once\n".encode())


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Watch the signals inside the block and restore the former handlers after it.

    Python delivers signals to the main thread only; in another thread the flag just stays false.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    former = {number: signal.signal(number, stop._handle) for number in WATCHED}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
