"""Whole jobs, one function each; a command parses, calls one of them, and prints. Import the module you need."""

__all__: list[str] = []
