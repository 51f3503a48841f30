"""Measurements on the user's machine, side by side in one run."""

__all__: list[str] = []
