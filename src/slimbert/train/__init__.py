"""Training as a loop that one iterates: objectives, optimizer, loop, evaluation, and what keeps a run safe on disk.

Import the module you need.
"""

__all__: list[str] = []
