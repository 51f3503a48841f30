"""Search: a corpus as an index of vectors and words, and its answers to queries."""

__all__: list[str] = []
