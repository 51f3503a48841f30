"""The demo: the whole main job on the docstrings of the installed packages. `run` is the job, the rest serves it."""

__all__: list[str] = []
