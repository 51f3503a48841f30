"""The check of labelled data before it is learnt from. `run` is the job; one file holds the findings of one sort."""

__all__: list[str] = []
